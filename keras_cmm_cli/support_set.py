"""Drawing the support set of `keras-cmm fit` and embedding it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import click

from keras_cmm_cli.images import embed_images
from keras_cmm_cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keras_cmm.clip import ImageEmbedder
    from keras_cmm.data import FewShotSample, ImageSource


def draw_support_set(
    terminal: Terminal,
    embedder: ImageEmbedder,
    images: ImageSource,
    shots: int | Literal["all"],
    seed: int,
    strict: bool,
    broken: list[int],
    views: int = 0,
) -> tuple[FewShotSample, npt.NDArray[np.float32]]:
    """Draws few-shot images and embeds them. Others replace those that cannot be read.

    Args:
        terminal: Where the progress is shown.
        embedder: The embedder.
        images: The images to draw from.
        shots: Images a class, or "all".
        seed: Seed of the draw.
        strict: Whether an image that cannot be read is an error.
        broken: Numbers of the images that cannot be read; those that are found are added.
        views: Augmented views of each image that are embedded too.

    Returns:
        The sample, and the embeddings of its images, `(images, dim)`.
    """
    import numpy as np

    from keras_cmm.data import sample_few_shot
    from keras_cmm_runtime.utils import listed

    embedded: dict[int, npt.NDArray[np.float32]] = {}
    while True:
        with warnings.catch_warnings():
            # It knows class ids only; the warning below has the names, once the draw is final.
            warnings.simplefilter("ignore", UserWarning)
            sample = sample_few_shot(
                images.labels, shots, seed=seed, keys=images.keys(), exclude=broken
            )
        rows = sample.indices.tolist()
        new = [row for row in rows if row not in embedded]
        if not new:
            break
        embeddings, kept = embed_images(terminal, embedder, images.take(new).images, strict, views)
        good = [new[position] for position in kept.tolist()]
        embedded.update(zip(good, embeddings, strict=True))
        broken += set(new).difference(good)
    names = images.class_names
    empty = set(images.labels.tolist()).difference(images.labels[rows].tolist())
    if empty:
        raise click.ClickException(
            f"class {names[min(empty)]!r} has no image that can be read; add some or remove the "
            "class."
        )
    if sample.short:
        short = [f"{names[label]!r} ({count})" for label, count in sample.short.items()]
        warnings.warn(
            f"fewer than {shots} images, so all are taken: {listed(short, 10, str)}.", stacklevel=2
        )
    return sample, np.stack([embedded[row] for row in rows])


def warn_of_copies(images: list[dict[str, Any]]) -> None:
    """Warns of pictures that were drawn for two classes: one of the labels is wrong.

    Args:
        images: What `image_records` returned.
    """
    first: dict[str, dict[str, Any]] = {}
    pairs = [(first.setdefault(image["sha256"], image), image) for image in images]
    pairs = [(one, other) for one, other in pairs if one["label"] != other["label"]]
    if pairs:
        one, other = pairs[0]
        more = f" ({len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
        warnings.warn(
            f"{one['name']} of class {one['label']!r} and {other['name']} of class "
            f"{other['label']!r} are the same picture{more}; keep only those of the right class.",
            stacklevel=2,
        )
