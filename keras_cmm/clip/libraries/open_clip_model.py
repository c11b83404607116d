"""The models of OpenCLIP, built by OpenCLIP."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cmm.clip.libraries.library_model import LibraryModel, import_library, square_size
from keras_cmm_runtime.errors import InputError


def build_open_clip(architecture: Mapping[str, Any]) -> LibraryModel:
    """Builds a model of OpenCLIP with random weights; nothing is fetched.

    Args:
        architecture: `model_cfg`, the dict of `open_clip_config.json`, and `text_tower`, the config
            of the transformers model that is the text tower, if there is one.

    Returns:
        The model.

    Raises:
        InputError: If OpenCLIP is not installed, or cannot build it.

    References:
        https://github.com/mlfoundations/open_clip, src/open_clip/factory.py, `create_model`.
    """
    open_clip = import_library("open_clip")
    config = copy.deepcopy(dict(architecture["model_cfg"]))
    vision, text = config["vision_cfg"], config["text_cfg"]
    has_hf_text = bool(text.get("hf_model_name"))
    # As in OpenCLIP: a text tower of its own, or that of transformers, makes another class.
    custom_text = config.pop("custom_text", False) or has_hf_text
    kind = open_clip.CLIP
    if custom_text:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    with tempfile.TemporaryDirectory() as folder:
        if has_hf_text:
            # Read from a folder, so that nothing is fetched.
            text["hf_model_pretrained"] = False
            text["hf_model_name"] = folder
            content = json.dumps(architecture["text_tower"])
            Path(folder, "config.json").write_text(content, encoding="utf-8")
        try:
            module = kind(**config)
        # Each kind of tower raises errors of its own for settings that it does not know.
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"OpenCLIP {open_clip.__version__} cannot build this model ({reason}); its config "
                "is damaged, or of a newer OpenCLIP."
            ) from error
    tower = getattr(module, "text", module)
    return LibraryModel(
        module,
        module.encode_image,
        square_size(module.visual.image_size),
        int(config["embed_dim"]),
        module.encode_text,
        context_length=int(text.get("context_length") or 77),
        vocabulary_size=int(tower.vocab_size),
        logit_scale=module.logit_scale,
    )


def open_clip_tensors(module: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tensors of a checkpoint under the names that a module of OpenCLIP has.

    It does what OpenCLIP's `load_checkpoint` does before it assigns them, without resizing any.

    Args:
        module: the module.
        tensors: the tensors by name, as they lie in the file.

    References:
        https://github.com/mlfoundations/open_clip, src/open_clip/factory.py, `load_checkpoint`.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    named: dict[str, Any] = dict(convert_state_dict(module, dict(tensors)))
    if "positional_embedding" in named and not hasattr(module, "positional_embedding"):
        named = convert_to_custom_text_state_dict(named)
    for name in ("logit_scale", "logit_bias"):
        own = getattr(module, name, None)
        if own is None:
            named.pop(name, None)
        elif name in named and named[name].numel() == 1:
            named[name] = named[name].reshape(own.shape)
        elif name == "logit_bias" and name not in named:
            named[name] = own.detach().new_zeros(own.shape, device="cpu")
    # Numbers that older transformers saved, and buffers and sizes of OpenAI's files.
    for name in (
        "text.transformer.embeddings.position_ids",
        "context_length",
        "input_resolution",
        "vocab_size",
    ):
        named.pop(name, None)
    return named
