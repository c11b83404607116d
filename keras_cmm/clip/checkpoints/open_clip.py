"""CLIP models as OpenCLIP and OpenAI save them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.resnet import ResNetSettings, build_resnet_backbone
from keras_cmm.clip.backbones.vit import TowerSettings, ViTSettings, build_vit_backbone
from keras_cmm.clip.backbones.weight_assignment import Weights
from keras_cmm.clip.checkpoints.image_settings import (
    make_image_converter,
    read_open_clip_image_converter,
)
from keras_cmm.clip.checkpoints.openai_names import has_resnet_tower, with_transformers_names
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs.bpe_tokenizer import openai_tokenizer, read_tokenizer
from keras_cmm.errors import InputError
from keras_cmm.utils.files import read_json_object

CONFIG_FILE = "open_clip_config.json"
_HEAD_DIM = 64  # OpenAI's, in every tower.
_RESNET_STRIDE = 32  # Pixels that one position of the last feature map stands for.

# What OpenCLIP takes where a config says nothing.
_VISION_DEFAULTS = {
    "width": 768,
    "layers": 12,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "image_size": 224,
}
_TEXT_DEFAULTS = {
    "width": 512,
    "layers": 12,
    "heads": 8,
    "mlp_ratio": 4.0,
    "context_length": 77,
    "vocab_size": 49408,
}
# Settings that change nothing here: of training, of other towers, or of the tokenizer of one.
_IDLE = {
    "attn_pooler_heads",
    "attn_pooler_queries",
    "cast_dtype",
    "eos_id",
    "hf_model_pretrained",
    "hf_pooler_type",
    "hf_proj_type",
    "init_logit_bias",
    "init_logit_scale",
    "output_dict",
    "output_tokens",
    "pad_id",
    "patch_dropout",
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
}
# Any other setting makes the model something else, unless it is off or has one of these values.
_PLAIN = {
    "block_type": ("default",),
    "pool_type": ("tok", "argmax"),
    "pos_embed_type": ("learnable",),
    "proj_type": ("linear",),
}


def load_open_clip(folder: Path, dtype: Any = None) -> CLIPModel:
    """Loads a CLIP model that OpenCLIP saved.

    Args:
        folder: the folder, with `open_clip_config.json` and the weights as OpenCLIP's
            `save_for_hf` or `push_to_hf_hub` name them. Tokenizer files beside them count;
            without, the tokenizer is OpenAI's.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        Backbone, tokenizer and image converter. Images are cropped as transformers does it, for
        every kind of checkpoint: where it rounds half of what is cut off down, torchvision in
        OpenCLIP and OpenAI's code rounds to the even number, which cuts one pixel later where 3, 7,
        11... pixels are cut off. All else is the same to the bit.

    Raises:
        InputError: If a file is missing or damaged, or the model is not a plain CLIP: with towers
            of timm or transformers, CoCa, SigLIP and others.

    References:
        https://github.com/mlfoundations/open_clip, src/open_clip/model.py.
    """
    path = folder / CONFIG_FILE
    content = read_json_object(path)
    config = content.get("model_cfg")
    if not isinstance(config, dict):
        raise InputError(f"{path}: has no model_cfg; the file is damaged.")
    _refuse_settings(
        path, "model_cfg", set(config) - {"embed_dim", "vision_cfg", "text_cfg"}, config
    )
    vision = _section(path, config, "vision_cfg", _VISION_DEFAULTS)
    text = _section(path, config, "text_cfg", _TEXT_DEFAULTS)
    settings = _settings_of_config(path, config, vision, text)
    weights_file = find_weights(folder, ("open_clip_model", "open_clip_pytorch_model", "model"))
    converter = read_open_clip_image_converter(
        path, content.get("preprocess_cfg"), settings.image_size
    )
    has_tokenizer = any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json"))
    tokenizer = read_tokenizer(folder) if has_tokenizer else openai_tokenizer()
    if tokenizer.vocabulary_size() > settings.vocabulary_size:
        raise InputError(
            f"{folder}: its tokenizer has {tokenizer.vocabulary_size()} tokens, its model only "
            f"{settings.vocabulary_size}; give the folder the tokenizer of the model."
        )
    weights = read_weights(weights_file)
    try:
        backbone = _build_backbone(settings, weights, dtype)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return CLIPModel(backbone, tokenizer, converter)


def load_state_dict(path: Path, dtype: Any = None) -> CLIPModel:
    """Loads the state dict of one of OpenAI's CLIP models.

    Sizes follow from the shapes of the tensors, as in OpenAI's code; the activation is OpenAI's
    quick GELU, tokenizer and image settings are OpenAI's. A file of OpenCLIP beside its
    `open_clip_config.json` is loaded by that instead.

    Args:
        path: a `.safetensors` file or a pickled state dict.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If it cannot be read or is not of such a model.

    References:
        https://github.com/openai/CLIP, clip/model.py, `build_model`.
    """
    if (path.parent / CONFIG_FILE).is_file():
        return load_open_clip(path.parent, dtype)
    weights = read_weights(path)
    try:
        settings = _settings_of_shapes(weights)
        backbone = _build_backbone(settings, weights, dtype)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return CLIPModel(backbone, openai_tokenizer(), make_image_converter(settings.image_size))


def _build_backbone(
    settings: ViTSettings | ResNetSettings, weights: Weights, dtype: Any = None
) -> Any:
    renamed = with_transformers_names(weights)
    if isinstance(settings, ResNetSettings):
        return build_resnet_backbone(settings, renamed, dtype)
    return build_vit_backbone(settings, renamed, dtype)


def _section(
    path: Path, config: dict[str, Any], name: str, defaults: dict[str, Any]
) -> dict[str, Any]:
    section = config.get(name)
    if not isinstance(section, dict):
        raise InputError(f"{path}: has no {name}; the file is damaged.")
    if tower := section.get("timm_model_name") or section.get("hf_model_name"):
        raise InputError(
            f"{path}: its {name} is the model {tower!r} of another library; only CLIP's own towers "
            "can be loaded."
        )
    _refuse_settings(path, name, set(section).difference(defaults), section)
    return defaults | section


def _refuse_settings(path: Path, name: str, keys: set[str], section: dict[str, Any]) -> None:
    """Refuses settings that make a model something other than a plain CLIP."""
    for key in sorted(keys.difference(_IDLE, {"quick_gelu"})):
        value = section[key]
        if value and value not in _PLAIN.get(key, ()):
            raise InputError(f"{path}: has {name}.{key}={value!r}; only plain CLIP can be loaded.")


def _settings_of_config(
    path: Path, config: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]
) -> ViTSettings | ResNetSettings:
    image_size = vision["image_size"]
    if isinstance(image_size, list) and len(set(image_size)) == 1:
        image_size = image_size[0]
    sizes = {
        "embed_dim": config.get("embed_dim"),
        "vision_cfg.image_size": image_size,
        **{f"vision_cfg.{key}": vision[key] for key in ("width", "head_width")},
        **{f"text_cfg.{key}": text[key] for key in ("width", "layers", "heads")},
        **{f"text_cfg.{key}": text[key] for key in ("context_length", "vocab_size")},
    }
    # The blocks of each stage, by which OpenCLIP too tells a ResNet.
    is_resnet = isinstance(vision["layers"], list)
    if is_resnet:
        sizes |= {f"vision_cfg.layers[{stage}]": n for stage, n in enumerate(vision["layers"])}
    else:
        sizes |= {f"vision_cfg.{key}": vision[key] for key in ("layers", "patch_size")}
    for key, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise InputError(f"{path}: has {key}={size!r}; expected a whole number >= 1.")
    for name, section in (("vision_cfg", vision), ("text_cfg", text)):
        ratio = section["mlp_ratio"]
        if not isinstance(ratio, int | float) or ratio <= 0:
            raise InputError(f"{path}: has {name}.mlp_ratio={ratio!r}; expected a number > 0.")
    # Of a ResNet the heads share more features than its `width`; the encoder checks them.
    vision_fits = is_resnet or vision["width"] % vision["head_width"] == 0
    if not vision_fits or text["width"] % text["heads"]:
        raise InputError(
            f"{path}: a width must be a multiple of the head width or the heads. Received: "
            f"{vision['width']} and {vision['head_width']}, {text['width']} and {text['heads']}"
        )
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    common: dict[str, Any] = {
        "text": TowerSettings(
            text["width"],
            text["layers"],
            text["heads"],
            int(text["width"] * text["mlp_ratio"]),
            activation,
        ),
        "image_size": image_size,
        "vocabulary_size": text["vocab_size"],
        "context_length": text["context_length"],
        "projection_dim": config["embed_dim"],
    }
    width = vision["width"]
    if is_resnet:
        return ResNetSettings(tuple(vision["layers"]), width, vision["head_width"], **common)
    tower = TowerSettings(
        width,
        vision["layers"],
        width // vision["head_width"],
        int(width * vision["mlp_ratio"]),
        activation,
    )
    return ViTSettings(tower, patch_size=vision["patch_size"], **common)


def _settings_of_shapes(weights: Weights) -> ViTSettings | ResNetSettings:
    if any(name.startswith("vision_model.") for name in weights):
        raise InputError("is of transformers; give its folder, with config and tokenizer.")
    context_length, text_width = _shape(weights, "positional_embedding", 2)
    common: dict[str, Any] = {
        "text": _tower_of_shapes(weights, "transformer", text_width),
        "vocabulary_size": _shape(weights, "token_embedding.weight", 2)[0],
        "context_length": context_length,
        "projection_dim": _shape(weights, "text_projection", 2)[1],
    }
    if has_resnet_tower(weights):
        width = _shape(weights, "visual.layer1.0.conv1.weight", 4)[0]
        positions, _ = _shape(weights, "visual.attnpool.positional_embedding", 2)
        return ResNetSettings(
            tuple(_count(weights, f"visual.layer{stage}") for stage in (1, 2, 3, 4)),
            width,
            _HEAD_DIM,
            image_size=_RESNET_STRIDE * math.isqrt(positions - 1),
            **common,
        )
    patches = _shape(weights, "visual.conv1.weight", 4)
    positions, _ = _shape(weights, "visual.positional_embedding", 2)
    return ViTSettings(
        _tower_of_shapes(weights, "visual.transformer", patches[0]),
        image_size=patches[2] * math.isqrt(positions - 1),
        patch_size=patches[2],
        **common,
    )


def _tower_of_shapes(weights: Weights, name: str, width: int) -> TowerSettings:
    if width % _HEAD_DIM:
        raise InputError(
            f"has a tower {width} wide, which is no multiple of the {_HEAD_DIM} of OpenAI's heads; "
            f"put the model's {CONFIG_FILE} beside it."
        )
    dense_width, _ = _shape(weights, f"{name}.resblocks.0.mlp.c_fc.weight", 2)
    blocks = _count(weights, f"{name}.resblocks")
    return TowerSettings(width, blocks, width // _HEAD_DIM, dense_width, "quick_gelu")


def _count(weights: Weights, name: str) -> int:
    """Returns how many numbered parts a part of the model has."""
    prefix = f"{name}."
    parts = [key.removeprefix(prefix) for key in weights if key.startswith(prefix)]
    return len({part.partition(".")[0] for part in parts})


def _shape(weights: Weights, name: str, rank: int) -> tuple[int, ...]:
    shape = tuple(weights[name].shape) if name in weights else ()
    if len(shape) != rank:
        raise InputError(
            f"is no state dict of a CLIP model: it has no tensor {name!r} of {rank} axes."
        )
    return shape
