"""Image converters from the preprocessing settings of checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm.clip.inputs.image_preprocessor import OPENAI_MEAN, OPENAI_STD
from keras_cmm.errors import InputError
from keras_cmm.utils.files import read_json_object

# PIL's numbers of the filters, by the names that Keras has for them.
_RESAMPLING = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic"}


def make_image_converter(
    image_size: int,
    mean: Sequence[float] = OPENAI_MEAN,
    std: Sequence[float] = OPENAI_STD,
    interpolation: str = "bicubic",
    crop: bool = True,
) -> Any:
    """Makes a `keras_hub.layers.CLIPImageConverter`.

    Args:
        image_size: int, pixels.
        mean: three floats, the channel means of values in [0, 1].
        std: three floats, the channel standard deviations of values in [0, 1].
        interpolation: as Keras names it.
        crop: whether the shorter side is scaled to `image_size` and the centre cut out; otherwise
            the whole image is squeezed into the square.

    Returns:
        The converter.
    """
    import keras_hub

    return keras_hub.layers.CLIPImageConverter(
        image_size=(image_size, image_size),
        scale=[1 / (255 * deviation) for deviation in std],
        offset=[-average / deviation for average, deviation in zip(mean, std, strict=True)],
        interpolation=interpolation,
        antialias=True,
        crop_to_aspect_ratio=crop,
    )


def read_transformers_image_converter(folder: Path, image_size: int) -> Any:
    """Reads the image processor that transformers saved beside a model.

    Args:
        folder: the folder of the model. Without a `preprocessor_config.json` or
            `processor_config.json` the settings of OpenAI's models are taken.
        image_size: int, pixels. What the model's config says.

    Returns:
        A `keras_hub.layers.CLIPImageConverter`.

    Raises:
        InputError: If a file is damaged, or asks for what CLIP's preprocessing does not do.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            content = read_json_object(path)
            settings = content.get("image_processor", content)
            if isinstance(settings, dict):
                return _from_transformers(path, settings, image_size)
    return make_image_converter(image_size)


def read_open_clip_image_converter(path: Path, settings: Any, image_size: int) -> Any:
    """Makes the converter of an OpenCLIP model.

    Args:
        path: the file that the settings are from, for messages.
        settings: the `preprocess_cfg` of `open_clip_config.json`, or `None`.
        image_size: int, pixels.

    Returns:
        A `keras_hub.layers.CLIPImageConverter`.

    Raises:
        InputError: If it asks for what CLIP's preprocessing does not do.
    """
    if settings is None:
        settings = {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: its preprocess_cfg is not an object; the file is damaged.")
    mode = settings.get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        raise InputError(
            f"{path}: resizes images in the mode {mode!r}; only 'shortest' and 'squash' can be "
            "loaded."
        )
    interpolation = settings.get("interpolation") or "bicubic"
    if interpolation not in ("bicubic", "bilinear"):
        raise InputError(
            f"{path}: resizes images with {interpolation!r}; only 'bicubic' and 'bilinear' can be "
            "loaded."
        )
    _check_size(path, settings.get("size", image_size), image_size)
    mean = _three_floats(path, settings, "mean", OPENAI_MEAN)
    std = _three_floats(path, settings, "std", OPENAI_STD)
    return make_image_converter(image_size, mean, std, interpolation, mode == "shortest")


def _from_transformers(path: Path, settings: Mapping[str, Any], image_size: int) -> Any:
    for step in ("do_resize", "do_rescale"):
        if settings.get(step, True) is not True:
            raise InputError(f"{path}: has {step} off; CLIP models need it on.")
    factor = settings.get("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise InputError(f"{path}: has rescale_factor={factor!r}; only 1/255 can be loaded.")
    size = settings.get("size", {"shortest_edge": image_size})
    squash = isinstance(size, dict) and "height" in size
    if not squash and settings.get("do_center_crop", True) is not True:
        raise InputError(f"{path}: leaves images uncropped; expected do_center_crop or a height.")
    edge = size.get("shortest_edge") if isinstance(size, dict) and not squash else size
    _check_size(path, edge, image_size)
    if settings.get("do_center_crop", True):
        _check_size(path, settings.get("crop_size", edge), image_size)
    resample = settings.get("resample", 3)
    if not isinstance(resample, int) or resample not in _RESAMPLING:
        raise InputError(
            f"{path}: has resample={resample!r}; expected one of {sorted(_RESAMPLING)}."
        )
    mean = _three_floats(path, settings, "image_mean", OPENAI_MEAN)
    std = _three_floats(path, settings, "image_std", OPENAI_STD)
    if settings.get("do_normalize", True) is not True:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return make_image_converter(image_size, mean, std, _RESAMPLING[resample], not squash)


def _check_size(path: Path, size: Any, image_size: int) -> None:
    sides = size
    if isinstance(size, dict):
        sides = [size.get("height"), size.get("width")]
    if sides not in (image_size, [image_size], [image_size, image_size]):
        raise InputError(
            f"{path}: makes images of the size {size}, where the model takes {image_size} pixels."
        )


def _three_floats(
    path: Path, settings: Mapping[str, Any], name: str, default: Sequence[float]
) -> Sequence[float]:
    values = settings.get(name) or default
    if (
        not isinstance(values, list | tuple)
        or len(values) != 3
        or not all(isinstance(value, int | float) for value in values)
        or ("std" in name and min(values) <= 0)
    ):
        raise InputError(f"{path}: has {name}={values!r}; expected three numbers.")
    return [float(value) for value in values]
