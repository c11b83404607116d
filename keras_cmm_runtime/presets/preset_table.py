"""The table of presets."""

from __future__ import annotations

import csv
import difflib
import functools
import re
from collections.abc import Iterable
from pathlib import Path

from keras_cmm_runtime.presets.preset import Preset

_TABLE = Path(__file__).parent / "presets.csv"
_SCHEME = re.compile(r"^(hf|kaggle)://(keras/\w+/keras/)?")
_SEPARATORS = re.compile(r"[\W_]+")
_LONGEST = 200  # characters of a name; difflib takes quadratic time


@functools.cache
def known_presets() -> tuple[Preset, ...]:
    """Returns the models that can be named, in the order in which they are shown.

    There are more: any CLIP, SigLIP or MetaCLIP 2 on the Hugging Face hub can be named too.

    Example:
        >>> from keras_cmm_runtime.presets import known_presets
        >>> {preset.source for preset in known_presets()} == {
        ...     "bundled", "keras-hub", "transformers", "OpenCLIP"
        ... }
        True
    """
    with _TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        Preset(
            row["name"],
            row["source"],
            float(row["parameters_millions"]) if row["parameters_millions"] else None,
            int(row["image_size"]),
            int(row["embedding_dim"]) if row["embedding_dim"] else None,
            row["licence"],
            float(row["imagenet_top1"]) if row["imagenet_top1"] else None,
            row["imagenet_source"],
            row["good_for"],
        )
        for row in rows
    )


def near_presets(name: str, more: Iterable[str] = ()) -> list[str]:
    """Returns up to three known names that are near to a wrong one, the nearest first.

    Args:
        name: what was given.
        more: names that are known besides those of the table.

    Returns:
        The names; none if `name` itself is known, or is near to none.

    Example:
        >>> near_presets("clip_vit_base_pach16")[0]
        'clip_vit_base_patch16'
        >>> near_presets("openai/clip-vit-base-patch16")
        []
    """
    names = list(dict.fromkeys([*(preset.name for preset in known_presets()), *more]))
    given = _SCHEME.sub("", name)[:_LONGEST]
    if given in names:
        return []
    plain = {known: _plain(known) for known in names}
    nearest = difflib.get_close_matches(_plain(given), plain.values(), n=3, cutoff=0.75)
    found = [known for near in nearest for known in names if plain[known] == near]
    # A part of a name, such as "ViT-B-16-DataComp".
    part = _plain(given)
    if len(part) > 3:
        found += [known for known in names if part in plain[known]]
    return list(dict.fromkeys(found))[:3]


def _plain(name: str) -> str:
    return _SEPARATORS.sub("-", name).strip("-").casefold()
