"""From the image settings of a checkpoint to a keras-hub image converter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cmm.clip.checkpoints.checks import check_choice
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import OPENAI_MEAN, OPENAI_STD
from keras_cmm_runtime.utils.files import read_json_object
from keras_cmm_runtime.utils.warn import warn

IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""Files in which transformers saves the settings of images."""

_SETTINGS = ("do_center_crop", "do_normalize", "image_mean", "image_std", "resample", "size")
# What SigLIP's image processor does unless its file says otherwise. It squeezes images.
_SIGLIP_MEAN = _SIGLIP_STD = (0.5, 0.5, 0.5)
_SIGLIP_DEFAULTS = {
    "do_center_crop": False,
    "image_mean": _SIGLIP_MEAN,
    "image_std": _SIGLIP_STD,
    "resample": 3,
    "size": {"height": 224, "width": 224},
}
# Keras's names of PIL's filters, by PIL's numbers.
_RESAMPLING = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic"}


def make_image_converter(
    image_size: int,
    mean: Sequence[float] = OPENAI_MEAN,
    std: Sequence[float] = OPENAI_STD,
    interpolation: str = "bicubic",
    crop: bool = True,
    family: str = "CLIP",
    pad: bool = False,
) -> Any:
    """Makes an image converter of keras-hub, such as a `keras_hub.layers.CLIPImageConverter`.

    Args:
        image_size: int, pixels.
        mean: three floats, the channel means of values in [0, 1].
        std: three floats, the channel standard deviations of values in [0, 1].
        interpolation: Keras's name of the filter.
        crop: bool. If `True`, the shorter side is scaled to `image_size` and the centre is cut out.
            If `False`, the whole image is squeezed into the square.
        family: `"CLIP"`, `"MetaCLIP2"` or `"SigLIP"`. The class of the converter; all do the same.
        pad: bool, with `crop=False`. If `True`, the longer side is scaled to `image_size` and the
            rest of the square is black.

    Returns:
        The converter.
    """
    import keras_hub

    return getattr(keras_hub.layers, f"{family}ImageConverter")(
        image_size=(image_size, image_size),
        scale=[1 / (255 * deviation) for deviation in std],
        offset=[-average / deviation for average, deviation in zip(mean, std, strict=True)],
        interpolation=interpolation,
        antialias=True,
        crop_to_aspect_ratio=crop,
        pad_to_aspect_ratio=pad,
    )


def read_transformers_image_converter(folder: Path, image_size: int, family: str = "CLIP") -> Any:
    """Reads the image processor that transformers saved with a model.

    Args:
        folder: the folder of the model. If it has none of `IMAGE_PROCESSOR_FILES`, SigLIP's
            settings are used for a SigLIP and OpenAI's for all others, with a warning.
        image_size: int, pixels, from the config of the model.
        family: as `make_image_converter` takes it.

    Returns:
        The image converter of the family.

    Raises:
        InputError: If a file is damaged, or has a setting that CLIP's preprocessing lacks.
    """
    for name in IMAGE_PROCESSOR_FILES:
        path = folder / name
        if path.is_file():
            content = read_json_object(path)
            settings = content.get("image_processor", content)
            if isinstance(settings, dict):
                return _from_transformers(path, settings, image_size, family)
    is_siglip = family == "SigLIP"
    warn(
        f"{folder}: has no preprocessor_config.json, so {'SigLIP' if is_siglip else 'OpenAI'}'s "
        "image settings are used; add the file if the model has others."
    )
    if is_siglip:
        return make_image_converter(
            image_size, _SIGLIP_MEAN, _SIGLIP_STD, crop=False, family=family
        )
    return make_image_converter(image_size, family=family)


def read_open_clip_image_converter(path: Path, settings: Any, image_size: int) -> Any:
    """Makes the converter of an OpenCLIP model.

    Args:
        path: the file with the settings, for messages.
        settings: the `preprocess_cfg` of `open_clip_config.json`, or `None`.
        image_size: int, pixels.

    Returns:
        A `keras_hub.layers.CLIPImageConverter`.

    Raises:
        InputError: If it has a setting that CLIP's preprocessing lacks.
    """
    if settings is None:
        settings = {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: its preprocess_cfg is not an object; the file is damaged.")
    mode = settings.get("resize_mode") or "shortest"
    check_choice(path, "resize_mode", mode, ("shortest", "longest", "squash"))
    if mode == "longest":
        check_choice(path, "fill_color", settings.get("fill_color") or 0, (0,))
    interpolation = settings.get("interpolation") or "bicubic"
    check_choice(path, "interpolation", interpolation, ("bicubic", "bilinear"))
    _check_size(path, settings.get("size", image_size), image_size)
    mean = _three_floats(path, settings, "mean", OPENAI_MEAN)
    std = _three_floats(path, settings, "std", OPENAI_STD)
    crops, pads = mode == "shortest", mode == "longest"
    return make_image_converter(image_size, mean, std, interpolation, crops, pad=pads)


def _from_transformers(
    path: Path, settings: Mapping[str, Any], image_size: int, family: str
) -> Any:
    kind = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if str(kind).startswith("Siglip"):
        given = {name: value for name, value in settings.items() if value is not None}
        settings = {"do_normalize": True, **_SIGLIP_DEFAULTS, **given}
    # What such a file leaves out is a default of its processor.
    missing = [key for key in _SETTINGS if key not in settings]
    if kind is not None and not str(kind).startswith("CLIP") and missing:
        raise InputError(
            f"{path}: is of a {kind}, whose defaults are not CLIP's; add {', '.join(missing)}."
        )
    for step in ("do_resize", "do_rescale"):
        check_choice(path, step, settings.get(step, True), (True,))
    factor = settings.get("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise InputError(
            f"{path}: `rescale_factor` must be 1/255. Received: rescale_factor={factor!r}"
        )
    size = settings.get("size", {"shortest_edge": image_size})
    squash = isinstance(size, dict) and "height" in size
    if not squash and settings.get("do_center_crop", True) is not True:
        raise InputError(
            f"{path}: does not make images square; expected do_center_crop=true or size.height."
        )
    edge = size.get("shortest_edge") if isinstance(size, dict) and not squash else size
    _check_size(path, edge, image_size)
    if settings.get("do_center_crop", True):
        _check_size(path, settings.get("crop_size", edge), image_size)
    resample = settings.get("resample", 3)
    check_choice(path, "resample", resample, tuple(_RESAMPLING))
    mean = _three_floats(path, settings, "image_mean", OPENAI_MEAN)
    std = _three_floats(path, settings, "image_std", OPENAI_STD)
    if settings.get("do_normalize", True) is not True:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return make_image_converter(image_size, mean, std, _RESAMPLING[resample], not squash, family)


def _check_size(path: Path, size: Any, image_size: int) -> None:
    sides = size
    if isinstance(size, dict):
        sides = [size.get("height"), size.get("width")]
    if sides not in (image_size, [image_size], [image_size, image_size]):
        raise InputError(
            f"{path}: makes images of the size {size}, but the model takes {image_size} pixels."
        )


def _three_floats(
    path: Path, settings: Mapping[str, Any], name: str, default: Sequence[float]
) -> Sequence[float]:
    values = settings.get(name) or default
    if (
        not isinstance(values, list | tuple)
        or len(values) != 3
        or not all(isinstance(value, int | float) and math.isfinite(value) for value in values)
        or ("std" in name and min(values) <= 0)
    ):
        above = " > 0" if "std" in name else ""
        raise InputError(
            f"{path}: `{name}` must be three numbers{above}. Received: {name}={values!r}"
        )
    return [float(value) for value in values]
