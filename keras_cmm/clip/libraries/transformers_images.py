"""The image settings of models that transformers runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_cmm.clip.checkpoints.image_settings import make_image_converter
from keras_cmm.clip.libraries.library_model import import_library, square_size
from keras_cmm.clip.libraries.torch_image_converter import TorchImageConverter
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor
from keras_cmm_runtime.utils.files import read_json_object

# Keras's names of PIL's filters, by PIL's numbers.
_RESAMPLING = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic"}
# Levels of 256. torchvision rounds no pixel between its steps, and PIL does.
_TOLERANCE = 2.0
# ConvNeXt's processor squeezes images of this size and crops smaller ones.
_SQUEEZED = 384


def read_image_processor(folder: Path) -> TorchImageConverter:
    """Reads the image processor that transformers saved with a model.

    What the file leaves out are the defaults of its class, which transformers knows. Two pictures
    are then preprocessed by both, so that a processor that does anything else is refused.

    Args:
        folder: the folder, with `preprocessor_config.json`.

    Returns:
        The image converter.

    Raises:
        InputError: If the file is missing or damaged, or its images are made by other steps than
            a resize, a crop at the centre and a normalisation.
    """
    path = folder / "preprocessor_config.json"
    settings = read_json_object(path)
    processor = _processor(folder)
    if processor is not None:
        settings = {**settings, **processor.to_dict()}
    try:
        converter = _converter(settings)
        ours = ImagePreprocessor.from_image_converter(converter)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: does not say how images are resized, cropped and normalised ({error})."
        ) from error
    if processor is not None and not _agree(processor, ours):
        raise InputError(
            f"{path}: its {settings.get('image_processor_type', 'image processor')} does more than "
            "to resize images, to crop their centre and to normalise them, which cannot be done "
            "here."
        )
    return converter


def _processor(folder: Path) -> Any:
    """Returns transformers' own processor, or `None`: some need a torchvision that is not there."""
    import_library("transformers")
    try:
        # By its name in `transformers`, older versions ask for torchvision.
        auto: Any = importlib.import_module("transformers.models.auto.image_processing_auto")
        return auto.AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    # It raises errors of many kinds. The file itself may say enough.
    except Exception:
        return None


def _converter(settings: Mapping[str, Any]) -> TorchImageConverter:
    image_size, resize_size = _sizes(settings)
    normalizes = settings.get("do_normalize", True)
    converter = make_image_converter(
        image_size,
        settings["image_mean"] if normalizes else (0.0, 0.0, 0.0),
        settings["image_std"] if normalizes else (1.0, 1.0, 1.0),
        _RESAMPLING[settings["resample"]],
        crop=resize_size is not None,
    )
    return TorchImageConverter.of(converter, resize_size=resize_size)


def _sizes(settings: Mapping[str, Any]) -> tuple[int, int | None]:
    """Returns the size of an image and the shorter side before a crop, `None` without a crop."""
    if not settings.get("do_resize", True):
        raise InputError("does not resize images, and they must have one size.")
    size = settings["size"]
    crop = _square(settings["crop_size"]) if settings.get("do_center_crop") else None
    if isinstance(size, int):  # of files of 2021
        size = {"shortest_edge": size} if crop else {"height": size, "width": size}
    size = {name: value for name, value in size.items() if value is not None}
    if not ({"height", "width"} <= set(size) or set(size) == {"shortest_edge"}):
        raise InputError(
            "images must be resized to size.height and size.width, or by size.shortest_edge, and "
            f"then be square. Received: size={size}"
        )
    edge = size.get("shortest_edge")
    if edge is None:
        if crop not in (None, _square(size)):
            raise InputError(
                f"images are squeezed into {size['height']} x {size['width']} pixels and then "
                f"cropped to {crop}, which cannot be done here."
            )
        return _square(size), None
    if crop is not None:
        return crop, int(edge)
    if not settings.get("crop_pct"):
        raise InputError("size.shortest_edge without a crop makes images that are not square.")
    return int(edge), int(edge / settings["crop_pct"]) if edge < _SQUEEZED else None


def _square(size: Any) -> int:
    return square_size(size if isinstance(size, int) else [size["height"], size["width"]])


def _agree(processor: Any, ours: ImagePreprocessor) -> bool:
    """Returns whether two preprocessors make the same pixels, of a wide and of a high picture."""
    noise = np.random.default_rng(0).integers(80, 176, (61, 84, 3), "uint8")
    for values in (noise, noise.transpose(1, 0, 2)):
        picture = Image.fromarray(np.ascontiguousarray(values))
        try:
            theirs = np.asarray(processor(picture, return_tensors="np")["pixel_values"])[0]
        # Any error says that it does something else.
        except Exception:
            return False
        pixels = ours(picture).transpose(2, 0, 1)
        levels = np.array(ours.std).reshape(3, 1, 1) * 255
        if theirs.shape != pixels.shape or np.abs((theirs - pixels) * levels).max() > _TOLERANCE:
            return False
    return True
