"""Loading CLIP models."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import keras

from keras_cmm.clip.backbones import check_finite_weights, prepare_backbone
from keras_cmm.clip.checkpoints import (
    CONFIG_FILE,
    check_model_type,
    fetch_from_hub,
    find_towers,
    is_hub_id,
    is_hugging_face,
    is_image_encoder,
    is_plain_clip,
    is_timm,
    load_hugging_face,
    load_open_clip,
    load_state_dict,
)
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import mend_clip_tokenizer
from keras_cmm.clip.preset_checks import check_preset, check_sizes, check_weights
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.presets import near_presets
from keras_cmm_runtime.utils import check_digests, refuse_special_file, refuse_special_files

_ASSETS = Path(__file__).parent.parent / "assets"
BUNDLED_PRESETS = {"emoji_clip_tiny": _ASSETS / "emoji_clip_tiny"}
"""The folders of the presets inside this package, by name."""


def preset_path(source: str | os.PathLike[str]) -> str:
    """Returns the path of a model, or a name that keras-hub knows.

    Args:
        source: what `load` takes. If it names a model on the Hugging Face hub that is not a
            keras-hub preset, the files of the model are fetched.

    Returns:
        The folder of a bundled preset or of fetched files. Otherwise `source` itself, or its
        handle.

    Raises:
        InputError: If `source` is a folder that holds no model, or a model that cannot be fetched,
            or if Keras's image data format is not "channels_last".

    Example:
        >>> preset_path("clip_vit_base_patch16")
        'clip_vit_base_patch16'
    """
    # Checked here, since saved classifiers also call this function before keras-hub loads them.
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "Keras's `image_data_format` must be 'channels_last' for CLIP models. Received: "
            f"{keras.config.image_data_format()!r}; change it in Keras's keras.json or call "
            '`keras.config.set_image_data_format("channels_last")`.'
        )
    name = os.fspath(source)
    if name in BUNDLED_PRESETS:
        return str(BUNDLED_PRESETS[name])
    refuse_special_file(name)
    refuse_special_files(name)
    if is_hub_id(name):
        return fetch_from_hub(name)
    path = Path(name)
    has_config = any((path / file).is_file() for file in ("config.json", CONFIG_FILE))
    if path.is_dir() and not has_config and find_towers(path) is None:
        raise InputError(
            f"{name}: holds no model; expected config.json (a keras-hub preset or a Hugging Face "
            f"model), {CONFIG_FILE} (an OpenCLIP model), or the folders vision and text (two "
            "towers of transformers)."
        )
    return name


def load(
    source: str | os.PathLike[str],
    dtype: Any = None,
    *,
    open_clip_model: str | None = None,
    activation: str | None = None,
) -> CLIPModel:
    """Loads a CLIP model from a preset or a checkpoint.

    Args:
        source: one of
            - a preset bundled with this package (`"emoji_clip_tiny"`), a keras-hub preset name
              (`"clip_vit_base_patch16"`), a `kaggle://` or `hf://` handle, or a preset folder, of
              a CLIP, SigLIP, MetaCLIP 2, DINOv2 or DINOv3 model;
            - a CLIP, SigLIP, SigLIP 2 or MetaCLIP 2 model of transformers: its folder, or its name
              on the Hugging Face hub (`"openai/clip-vit-base-patch32"`);
            - a folder with two towers of transformers' CLIP, in its folders `vision` and `text`, or
              as diffusers writes them in `image_encoder` and `text_encoder`;
            - a model of OpenCLIP: its folder, with `open_clip_config.json`, or its name on the hub
              (`"hf://laion/CLIP-ViT-B-32-laion2B-s34B-b79K"`). A plain CLIP is loaded into
              keras-hub. OpenCLIP itself runs all others (PE-Core, MobileCLIP 2, SigLIP, EVA), on
              the torch backend, with the extra `open-clip`;
            - an image encoder without a text tower: a model of timm, or any that transformers has
              (DINOv3, ViT, Swin, ConvNeXt), by its folder or its name on the hub
              (`"timm/vit_small_..."`, `"facebook/dinov2-base"`), with the same extra. Its tokenizer
              is `None`;
            - a file with the state dict of one of OpenAI's models, or of another model under
              OpenAI's names, if its `open_clip_config.json` lies beside it or the next arguments
              tell what it is.
        dtype: dtype or dtype policy of the backbone, such as `"bfloat16"`. `None` for Keras's.
        open_clip_model: for a file that does not say what it is, OpenCLIP's name of the model, such
            as `"ViT-B-32"`. The tensors show neither the activation nor the number of heads.
        activation: instead of `open_clip_model`, `"gelu"` or `"quick_gelu"`, for a model whose
            other settings are those of OpenAI's models.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If there is no such model, it cannot be fetched or read, it is not a CLIP, or
            its files are not whole; if a file does not say what its model is; or if a source that
            says it is given `open_clip_model` or `activation`.

    Example:
        >>> from keras_cmm import clip
        >>> model = clip.load("emoji_clip_tiny")  # doctest: +SKIP
        >>> model.backbone.projection_dim  # doctest: +SKIP
        192
    """
    name = preset_path(source)
    path = Path(name)
    hide_gpus_from_tensorflow()
    if path.is_dir():
        check_digests(path)
    if path.is_file() and open_clip_model is None and activation is None and _needs_open_clip(path):
        model = _load_through_open_clip(path.parent, dtype, path)
    elif path.is_file():
        model = load_state_dict(path, dtype, open_clip_model, activation)
    elif open_clip_model is not None or activation is not None:
        raise InputError(
            f"{os.fspath(source)!r} says what its model is; `open_clip_model` and `activation` are "
            "for files of weights alone. Leave them out."
        )
    elif path.is_dir() and is_hugging_face(path):
        model = load_hugging_face(path, dtype)
    elif path.is_dir() and (path / CONFIG_FILE).is_file():
        if is_plain_clip(path):
            model = load_open_clip(path, dtype)
        else:
            model = _load_through_open_clip(path, dtype)
    elif path.is_dir() and (is_timm(path) or is_image_encoder(path)):
        model = _load_image_encoder(path, dtype)
    else:
        if path.is_dir():
            check_model_type(path)
        model = _load_preset(name, os.fspath(source), dtype)
    check_finite_weights(model.backbone, os.fspath(source))
    return model._replace(backbone=prepare_backbone(model.backbone))


def _needs_open_clip(weights: Path) -> bool:
    """Returns whether the config beside a file of weights is of a model that OpenCLIP runs."""
    folder = weights.parent
    return (folder / CONFIG_FILE).is_file() and not is_plain_clip(folder)


def _load_through_open_clip(folder: Path, dtype: Any, weights: Path | None = None) -> CLIPModel:
    from keras_cmm.clip.libraries import load_through_open_clip

    return load_through_open_clip(folder, dtype, weights)


def _load_image_encoder(folder: Path, dtype: Any) -> CLIPModel:
    from keras_cmm.clip.libraries import load_timm, load_transformers

    return load_timm(folder, dtype) if is_timm(folder) else load_transformers(folder, dtype)


def _load_preset(preset: str, source: str, dtype: Any) -> CLIPModel:
    import keras_hub

    import keras_cmm.clip.backbones.resnet_vision_encoder
    import keras_cmm.clip.libraries.torch_preprocessor  # noqa: F401 - a preset may need these
    from keras_cmm.clip.backbones.image_backbone import KINDS, ImageBackbone, for_images_of

    mend_clip_tokenizer()
    folder = Path(preset)
    if folder.is_dir():
        check_sizes(folder)
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset)
        is_dino = type(backbone).__name__ in KINDS
        # An image encoder of another library has none.
        has_texts = not is_dino and getattr(backbone, "text_encoder", "") is not None
        tokenizer = keras_hub.models.Tokenizer.from_preset(preset) if has_texts else None
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    # keras-hub, kagglehub and the network each raise errors of their own.
    except Exception as error:
        raise InputError(
            f"the preset {source!r} cannot be loaded ({_reason(error)}); {_near(error, source)}"
            f"give a bundled preset ({', '.join(BUNDLED_PRESETS)}), a keras-hub preset that can be "
            "downloaded, or the folder of a preset or a CLIP checkpoint."
        ) from error
    if folder.is_dir():
        if not is_dino:
            # Raises if the backbone is of another kind, which has no such parts to check.
            prepare_backbone(backbone)
        check_weights(folder, backbone)
    if is_dino:
        backbone = ImageBackbone(for_images_of(converter, backbone, preset))
    if folder.is_dir():
        check_preset(folder, CLIPModel(backbone, tokenizer, converter))
    model = CLIPModel(backbone, tokenizer, converter)
    return model._replace(backbone=_in_dtype(backbone, dtype))


def _in_dtype(backbone: Any, dtype: Any) -> Any:
    """Returns the backbone in another dtype. keras-hub itself does not change the towers."""
    config = backbone.get_config()
    towers = [name for name in ("vision_encoder", "text_encoder") if name in config]
    if dtype is None or not (towers or "architecture" in config):
        return backbone
    policy = keras.saving.serialize_keras_object(keras.dtype_policies.get(dtype))
    config["dtype"] = policy
    for name in towers:
        config[name]["config"]["dtype"] = policy
    converted = type(backbone).from_config(config)
    for weight, value in zip(converted.weights, backbone.weights, strict=True):
        weight.assign(value)
    return converted


def hide_gpus_from_tensorflow() -> None:
    """Hides the GPUs from TensorFlow, unless it is the backend.

    keras-hub tokenizes with TensorFlow on every backend, and TensorFlow would take all memory of a
    GPU.
    """
    tensorflow = sys.modules.get("tensorflow")
    if keras.backend.backend() == "tensorflow" or tensorflow is None:
        return
    # Raised if TensorFlow has already started, so that nothing can be hidden any more.
    with contextlib.suppress(RuntimeError):
        tensorflow.config.set_visible_devices([], "GPU")


def _is_unknown(error: Exception) -> bool:
    return str(error).strip().startswith("Unknown preset identifier")


def _near(error: Exception, source: str) -> str:
    """Returns a hint at names like one that keras-hub does not know, or no text."""
    if not _is_unknown(error):
        return ""
    import keras_hub

    models = keras_hub.models
    kinds = (
        *(models.CLIPBackbone, models.SigLIPBackbone, models.MetaCLIP2Backbone),
        *(models.DINOV2Backbone, models.DINOV3Backbone),
    )
    # The user's keras-hub may have presets that the table lacks.
    near = near_presets(source, (name for kind in kinds for name in kind.presets))
    return f"did you mean {' or '.join(near)}? Or " if near else ""


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if type(error).__name__ == "ConnectionError":  # of requests or httpx, pages long
        return "there is no connection to its hub"
    if _is_unknown(error):
        return "there is no preset of that name and no such folder"
    return lines[0]
