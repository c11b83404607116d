"""Loading models that OpenCLIP itself runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.checkpoints import CONFIG_FILE
from keras_cmm.clip.checkpoints.image_settings import read_open_clip_image_converter
from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm.clip.clip_model import CLIPModel
from keras_cmm.clip.libraries.building import (
    build_without_memory,
    check_tensors,
    refuse_impossible_sizes,
)
from keras_cmm.clip.libraries.library_model import import_library
from keras_cmm.clip.libraries.library_tokenizer import TOKENIZER_FILES, LibraryTokenizer
from keras_cmm.clip.libraries.open_clip_model import open_clip_tensors
from keras_cmm.clip.libraries.torch_backbone import TorchBackbone
from keras_cmm.clip.libraries.torch_image_converter import TorchImageConverter
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.hub import snapshot
from keras_cmm_runtime.utils.files import read_json_object

# Where a folder may hold the config of a text tower of transformers.
TEXT_TOWER_CONFIG = "text_tower_config.json"
_WEIGHTS = ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")


def load_through_open_clip(
    folder: Path, dtype: Any = None, weights_file: Path | None = None
) -> CLIPModel:
    """Loads a model of OpenCLIP that keras-hub has no backbone for; OpenCLIP runs it.

    These are models with towers of timm (PE-Core, MobileCLIP 2, ViTamin, ConvNeXt, EVA-02, SigLIP
    in OpenCLIP's form), with text towers of transformers, with other settings than CLIP's (CLIPA),
    and the contrastive part of CoCa.

    Args:
        folder: the folder, with `open_clip_config.json`, the weights, and the files of the
            tokenizer if it is not OpenAI's. A text tower of transformers also needs its config, as
            `text_tower_config.json`. What is missing of these two is fetched from the hub under the
            name in the config.
        dtype: dtype or dtype policy of the backbone, or `None` for Keras's.
        weights_file: the weights, if they have another name.

    Returns:
        A `TorchBackbone`, a `LibraryTokenizer` and a `TorchImageConverter`.

    Raises:
        InputError: If a file is missing or damaged, its weights are not those of its config, the
            backend is not torch, or OpenCLIP is not installed.

    References:
        https://github.com/mlfoundations/open_clip.
    """
    path = folder / CONFIG_FILE
    content = read_json_object(path)
    config = content.get("model_cfg")
    if not isinstance(config, dict) or not all(
        isinstance(config.get(name), dict) for name in ("vision_cfg", "text_cfg")
    ):
        raise InputError(f"{path}: has no model_cfg with towers; the file is damaged.")
    try:
        import_library("open_clip")
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    text = config["text_cfg"]
    architecture: dict[str, Any] = {"model_cfg": config}
    if name := text.get("hf_model_name"):
        architecture["text_tower"] = _text_tower_config(folder, name)
    weights_file = weights_file or find_weights(folder, _WEIGHTS)
    tensors = dict(read_weights(weights_file))
    refuse_impossible_sizes(architecture, tensors, folder)
    module = build_without_memory("open_clip", architecture).module
    tensors = open_clip_tensors(module, tensors)
    check_tensors(module, tensors, folder)
    backbone = TorchBackbone("open_clip", architecture, dtype=dtype)
    backbone.tower.assign_tensors(tensors)
    size = backbone.tower.image_shape[0]
    # OpenCLIP takes the size of images from the model.
    settings = content.get("preprocess_cfg")
    if isinstance(settings, Mapping):
        settings = {key: value for key, value in settings.items() if key != "size"}
    converter = read_open_clip_image_converter(path, settings, size)
    tokenizer = _tokenizer(folder, text, backbone.tower)
    converter = TorchImageConverter.of(converter, crop_rounding="even")
    return CLIPModel(backbone, tokenizer, converter)


def _text_tower_config(folder: Path, name: Any) -> dict[str, Any]:
    """Returns the config of a text tower of transformers, of the folder or of the hub."""
    path = folder / TEXT_TOWER_CONFIG
    if not path.is_file():
        try:
            path = snapshot(str(name), ["config.json"]) / "config.json"
        except InputError as error:
            raise InputError(
                f"{folder}: its text tower is the transformers model {name!r}, whose config is "
                f"not there; put the config.json of that model into the folder as "
                f"{TEXT_TOWER_CONFIG}."
            ) from error
    config = read_json_object(path)
    # Code of a repository is never run.
    return {key: value for key, value in config.items() if key != "auto_map"}


def _tokenizer(folder: Path, text: Mapping[str, Any], tower: Any) -> LibraryTokenizer:
    """Returns the tokenizer that OpenCLIP's `get_tokenizer` would take for a folder."""
    options = dict(text.get("tokenizer_kwargs") or {})
    sizes = {
        "context_length": tower.max_sequence_length,
        "vocabulary_size": tower.vocabulary_size,
    }
    name = text.get("hf_tokenizer_name")
    if not name:
        return LibraryTokenizer("simple", options=options, **sizes)
    if mode := text.get("tokenizer_mode"):
        options["tokenizer_mode"] = mode
    # The fast tokenizer needs the first; slow ones, of older models, another.
    if not _tokenizer_files(folder):
        try:
            folder = snapshot(str(name), list(TOKENIZER_FILES))
        except InputError as error:
            raise InputError(
                f"{folder}: has no files of its tokenizer, {name!r}; put the tokenizer.json and "
                "the tokenizer_config.json of that model into the folder."
            ) from error
    tokenizer = LibraryTokenizer(
        "transformers", options=options, file_names=_tokenizer_files(folder), **sizes
    )
    tokenizer.load_assets(str(folder))
    return tokenizer


def _tokenizer_files(folder: Path) -> list[str]:
    """Returns the names of the files of a tokenizer, or none if its vocabulary is not there."""
    found = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    vocabularies = {"tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "vocab.txt"}
    is_whole = vocabularies & set(found) or {"vocab.json", "merges.txt"} <= set(found)
    return found if is_whole else []
