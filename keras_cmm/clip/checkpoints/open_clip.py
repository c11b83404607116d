"""CLIP models as OpenCLIP saves them, with their config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import (
    CLIPSettings,
    ResNetSettings,
    TowerSettings,
    ViTSettings,
    build_backbone,
)
from keras_cmm.clip.checkpoints.checks import check_sizes
from keras_cmm.clip.checkpoints.image_settings import read_open_clip_image_converter
from keras_cmm.clip.checkpoints.openai_names import with_transformers_names
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.inputs import check_tokenizer, openai_tokenizer, read_tokenizer
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object

CONFIG_FILE = "open_clip_config.json"

# What OpenCLIP takes for a setting that a config does not have.
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
# Settings of training, of other kinds of towers and of their tokenizers: none changes a plain CLIP.
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
# Any other setting makes another model, unless it is off or has one of these values.
_PLAIN = {
    "block_type": ("default",),
    "pool_type": ("tok", "argmax"),
    "pos_embed_type": ("learnable",),
    "proj_type": ("linear",),
}


def load_open_clip(folder: Path, dtype: Any = None, weights_file: Path | None = None) -> CLIPModel:
    """Loads a CLIP model that OpenCLIP saved.

    Images are cropped as transformers crops them, for checkpoints of every kind. If the number of
    pixels to cut off is odd, transformers rounds half of it down, and OpenCLIP and OpenAI's code
    round it to the even number. Their crop therefore lies one pixel further where 3, 7, 11 and so
    on pixels are cut off. All else agrees to the bit.

    Args:
        folder: the folder, with `open_clip_config.json` and the weights, under the names that
            OpenCLIP's `save_for_hf` and `push_to_hf_hub` give them. If it has tokenizer files, they
            are used; otherwise the tokenizer is OpenAI's.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.
        weights_file: the weights, if they have another name.

    Returns:
        Backbone, tokenizer and image converter.

    Raises:
        InputError: If a file is missing or damaged, or the model is not a plain CLIP: it has towers
            of timm or transformers, or is a CoCa or a SigLIP, for instance.

    References:
        https://github.com/mlfoundations/open_clip, src/open_clip/model.py.
    """
    path = folder / CONFIG_FILE
    content = read_json_object(path)
    config = content.get("model_cfg")
    if not isinstance(config, dict):
        raise InputError(f"{path}: has no model_cfg; the file is damaged.")
    settings = settings_of_config(path, config)
    if weights_file is None:
        weights_file = find_weights(folder, ("open_clip_model", "open_clip_pytorch_model", "model"))
    converter = read_open_clip_image_converter(
        path, content.get("preprocess_cfg"), settings.image_size
    )
    has_tokenizer = any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json"))
    tokenizer = read_tokenizer(folder) if has_tokenizer else openai_tokenizer()
    if not has_tokenizer and tokenizer.vocabulary_size() > settings.vocabulary_size:
        raise InputError(
            f"{folder}: its model has only {settings.vocabulary_size} tokens, so its tokenizer is "
            "not OpenAI's; add the tokenizer files of the model to the folder."
        )
    check_tokenizer(tokenizer, settings.vocabulary_size, folder)
    weights = with_transformers_names(read_weights(weights_file))
    return CLIPModel(build_backbone(settings, weights, folder, dtype), tokenizer, converter)


class _OtherModelError(InputError):
    """A config of a model that is not a plain CLIP."""


def is_plain_clip(folder: Path) -> bool:
    """Returns whether a model of OpenCLIP is a plain CLIP, which `load_open_clip` loads.

    A config that is damaged counts as plain: `load_open_clip` says what is wrong with it.

    Args:
        folder: the folder, with `open_clip_config.json`.

    Raises:
        InputError: If the file cannot be read.
    """
    path = folder / CONFIG_FILE
    config = read_json_object(path).get("model_cfg")
    if isinstance(config, dict):
        try:
            settings_of_config(path, config)
        except _OtherModelError:
            return False
        except InputError:
            pass
    return True


def settings_of_config(path: Path, config: dict[str, Any]) -> CLIPSettings:
    """Returns the architecture that the `model_cfg` of an OpenCLIP model describes.

    Args:
        path: the file of the config, for messages.
        config: the `model_cfg`.

    Raises:
        InputError: If a setting is missing, has no possible value, or is not that of a plain CLIP.
    """
    _refuse_settings(
        path,
        "model_cfg",
        set(config) - {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"},
        config,
    )
    vision = _section(path, config, "vision_cfg", _VISION_DEFAULTS)
    text = _section(path, config, "text_cfg", _TEXT_DEFAULTS)
    image_size = vision["image_size"]
    if isinstance(image_size, list) and len(set(image_size)) == 1:
        image_size = image_size[0]
    # A ResNet has a list: the number of blocks of each stage.
    is_resnet = isinstance(vision["layers"], list)
    vision_keys = ["width", "head_width", *([] if is_resnet else ["layers", "patch_size"])]
    text_keys = ["width", "layers", "heads", "context_length", "vocab_size"]
    sizes = {
        "embed_dim": config.get("embed_dim"),
        "vision_cfg.image_size": image_size,
        **{f"vision_cfg.{key}": vision[key] for key in vision_keys},
        **{f"text_cfg.{key}": text[key] for key in text_keys},
    }
    if is_resnet:
        sizes |= {f"vision_cfg.layers[{stage}]": n for stage, n in enumerate(vision["layers"])}
    check_sizes(path, sizes)
    for name, section in (("vision_cfg", vision), ("text_cfg", text)):
        ratio = section["mlp_ratio"]
        if not isinstance(ratio, int | float) or ratio <= 0:
            raise InputError(
                f"{path}: `{name}.mlp_ratio` must be a number > 0. Received: mlp_ratio={ratio!r}"
            )
    # The heads of a ResNet share more features than its `width`, and its encoder checks them.
    vision_fits = is_resnet or vision["width"] % vision["head_width"] == 0
    if not vision_fits or text["width"] % text["heads"]:
        raise InputError(
            f"{path}: the width must be a multiple of the head width and of the heads. Received: "
            f"{vision['width']} and {vision['head_width']}, {text['width']} and {text['heads']}"
        )
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"

    def tower(section: dict[str, Any], num_heads: int) -> TowerSettings:
        width = section["width"]
        dense_width = int(width * section["mlp_ratio"])
        return TowerSettings(width, section["layers"], num_heads, dense_width, activation)

    image_tower: ViTSettings | ResNetSettings
    if is_resnet:
        image_tower = ResNetSettings(tuple(vision["layers"]), vision["width"], vision["head_width"])
    else:
        num_heads = vision["width"] // vision["head_width"]
        image_tower = ViTSettings(tower(vision, num_heads), vision["patch_size"])
    return CLIPSettings(
        image_tower,
        tower(text, text["heads"]),
        image_size,
        text["vocab_size"],
        text["context_length"],
        config["embed_dim"],
    )


def _section(
    path: Path, config: dict[str, Any], name: str, defaults: dict[str, Any]
) -> dict[str, Any]:
    section = config.get(name)
    if not isinstance(section, dict):
        raise InputError(f"{path}: has no {name}; the file is damaged.")
    if tower := section.get("timm_model_name") or section.get("hf_model_name"):
        raise _OtherModelError(
            f"{path}: its {name} is the model {tower!r} of another library; only CLIP's own towers "
            "can be loaded."
        )
    _refuse_settings(path, name, set(section).difference(defaults), section)
    return defaults | section


def _refuse_settings(path: Path, name: str, keys: set[str], section: dict[str, Any]) -> None:
    """Refuses the settings of a model that is not a plain CLIP."""
    for key in sorted(keys.difference(_IDLE)):
        value = section[key]
        if value and value not in _PLAIN.get(key, ()):
            raise _OtherModelError(
                f"{path}: has {name}.{key}={value!r}; only plain CLIP can be loaded."
            )
