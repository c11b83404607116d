"""The licences of the weights that presets hold."""

from __future__ import annotations

import re
from typing import NamedTuple


class Licence(NamedTuple):
    """The licence of weights.

    Args:
        identifier: as the Hugging Face hub writes it.
        text: what a reader is told.
    """

    identifier: str
    text: str


UNKNOWN = Licence("unknown", "unknown: ask its authors")
_OPENAI = Licence("mit", "MIT, of OpenAI's CLIP")
_LAION = Licence("mit", "MIT, of LAION's models of OpenCLIP")
_SIGLIP = Licence("apache-2.0", "Apache 2.0, of Google's SigLIP")
_META = Licence("cc-by-nc-4.0", "CC BY-NC 4.0, of Meta's MetaCLIP: no commercial use")
_EMOJI = Licence("apache-2.0", "Apache 2.0, of keras-cmm")
_LICENCES = (
    (r"emoji_clip_tiny", _EMOJI),
    (r"clip_vit_(base|large)_patch\d+(_336)?", _OPENAI),
    (r"clip_vit_\w+_laion2b_\w+", _LAION),
    (r"siglip2?_\w+", _SIGLIP),
    (r"metaclip_2_\w+", _META),
    (r"openai/clip-[\w-]+", _OPENAI),
    (r"laion/CLIP-[\w-]+-(laion2B|DataComp)[\w.-]+", _LAION),
    (r"google/siglip2?-[\w-]+", _SIGLIP),
    (r"facebook/metaclip-[\w.-]+", _META),
)


def licence_of(preset: str | None) -> Licence:
    """Returns the licence of a preset's weights, by its name.

    The names are those of keras-hub and of the Hugging Face hub. A folder may hold anything, so its
    licence is unknown.

    Args:
        preset: what `keras_cmm.clip.load` takes.

    Example:
        >>> licence_of("clip_vit_base_patch16").identifier
        'mit'
        >>> licence_of("my_folder").text
        'unknown: ask its authors'
    """
    name = re.sub(r"^(hf|kaggle)://(keras/|keras/\w+/keras/)?", "", preset or "")
    for pattern, licence in _LICENCES:
        if re.fullmatch(pattern, name):
            return licence
    return UNKNOWN
