"""SigLIP, SigLIP 2 and MetaCLIP 2 of transformers, and pairs of towers, with random weights."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from transformers_clip import make_model

SIDE = 48
LENGTH = 16
SENTENCES = [
    "a cat and a dog",
    "the cats, and two dogs!",
    "one cat sees the dog",
    "naïve café of dogs",
    "a photo of a cat",
]


@functools.cache
def sentence_pieces(kind: str) -> bytes:
    """Returns a SentencePiece model like that of T5 (SigLIP), of Gemma or of XLM-V."""
    import sentencepiece

    settings = {
        "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 60},
        "gemma": {
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "vocab_size": 340,
            "pad_piece": "<pad>",
            "eos_piece": "<eos>",
            "bos_piece": "<bos>",
            "model_type": "bpe",
            "byte_fallback": True,
            "add_dummy_prefix": False,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "user_defined_symbols": ["<mask>", "\n\n"],
        },
        "xlm": {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1, "vocab_size": 60},
    }[kind]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        **settings,
    )
    return model.getvalue()


def randomize(model: Any, seed: int = 0) -> Any:
    """Adds noise to every parameter: transformers leaves biases at zero and norms at one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _tower(width: int, heads: int, activation: str) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_hidden_layers": 2,
        "intermediate_size": 3 * width,
        "hidden_act": activation,
    }


def make_siglip(vocabulary_size: int, activation: str = "gelu_pytorch_tanh") -> Any:
    """Returns a `SiglipModel` whose towers have other widths, as the largest SigLIP 2 does."""
    from transformers import SiglipConfig, SiglipModel

    vision = _tower(24, 3, activation) | {"image_size": SIDE, "patch_size": 16}
    text = _tower(20, 2, activation) | {
        "vocab_size": vocabulary_size,
        "max_position_embeddings": LENGTH,
        "projection_size": 24,
        "pad_token_id": 1,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    return randomize(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)))


def make_metaclip_2(vocabulary_size: int, activation: str = "quick_gelu") -> Any:
    """Returns a `MetaClip2Model`."""
    from transformers import MetaClip2Config, MetaClip2Model

    vision = _tower(24, 3, activation) | {"image_size": SIDE, "patch_size": 16}
    text = _tower(20, 2, activation) | {
        "vocab_size": vocabulary_size,
        "max_position_embeddings": LENGTH,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    config = MetaClip2Config(projection_dim=28, text_config=text, vision_config=vision)
    return randomize(MetaClip2Model(config))


def save_siglip(folder: Path, resample: int = 3, **settings: Any) -> Any:
    """Saves a SigLIP with tokenizer and image processor, and returns the model."""
    from transformers import SiglipTokenizer

    (folder / "spiece.model").write_bytes(sentence_pieces("t5"))
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=LENGTH)
    model = make_siglip(tokenizer.vocab_size, **settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _save_image_processor(folder, resample)
    return model


def save_siglip_2(folder: Path, keep_proto: bool = False) -> Any:
    """Saves a SigLIP 2: SigLIP's network, Gemma's tokenizer, bilinear images."""
    from transformers import Siglip2Tokenizer

    path = folder / "tokenizer.model"
    path.write_bytes(sentence_pieces("gemma"))
    tokenizer = Siglip2Tokenizer.from_pretrained(
        folder, add_bos_token=False, add_eos_token=True, padding_side="right"
    )
    model = make_siglip(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if not keep_proto:
        path.unlink()
    _save_image_processor(folder, 2)
    return model


def save_metaclip_2(folder: Path, keep_proto: bool = False, **settings: Any) -> Any:
    """Saves a MetaCLIP 2 with tokenizer and image processor, and returns the model."""
    from transformers import XLMRobertaTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    path = folder / "sentencepiece.bpe.model"
    path.write_bytes(sentence_pieces("xlm"))
    tokenizer = XLMRobertaTokenizer.from_pretrained(folder)
    model = make_metaclip_2(len(tokenizer), **settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if not keep_proto:
        path.unlink()
    CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return model


def save_towers(folder: Path, vision: str = "vision", text: str = "text") -> Any:
    """Saves the towers of a CLIP in two folders, and returns the whole CLIP."""
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    model = make_model("ViT-B/32")
    kinds = {vision: CLIPVisionModelWithProjection, text: CLIPTextModelWithProjection}
    for name, kind in kinds.items():
        section = model.config.vision_config if name == vision else model.config.text_config
        section.projection_dim = model.config.projection_dim
        tower = kind(section).eval()
        tower.load_state_dict(
            {key: value for key, value in model.state_dict().items() if key in tower.state_dict()}
        )
        tower.save_pretrained(folder / name)
    return model


def _save_image_processor(folder: Path, resample: int) -> None:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    processor = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=resample)
    processor.save_pretrained(folder)


def siglip_embeddings(model: Any, folder: Path, images: Any, texts: list[str]) -> tuple[Any, ...]:
    """Returns transformers' embeddings of images and texts, and the token ids."""
    from transformers import Siglip2Tokenizer, SiglipTokenizer
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    kind = SiglipTokenizer if (folder / "spiece.model").is_file() else Siglip2Tokenizer
    tokens = kind.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )["input_ids"]
    pixels = SiglipImageProcessorPil.from_pretrained(folder)(images, return_tensors="pt")
    return _embeddings(model, pixels["pixel_values"], {"input_ids": tokens})


def metaclip_2_embeddings(
    model: Any, folder: Path, images: Any, texts: list[str]
) -> tuple[Any, ...]:
    """Returns transformers' embeddings of images and texts, and the token ids."""
    from transformers import XLMRobertaTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokens = XLMRobertaTokenizer.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images, return_tensors="pt")
    return _embeddings(model, pixels["pixel_values"], dict(tokens))


def _embeddings(model: Any, pixels: Any, tokens: dict[str, Any]) -> tuple[Any, ...]:
    import torch

    with torch.inference_mode():
        rows = [
            model.get_image_features(pixel_values=pixels).pooler_output.numpy(),
            model.get_text_features(**tokens).pooler_output.numpy(),
        ]
    rows = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in rows]
    return (*rows, pixels.numpy().transpose(0, 2, 3, 1), tokens["input_ids"].numpy())


def change_json(path: Path, section: str | None = None, **changes: Any) -> None:
    """Changes a JSON file, or a section of it."""
    content = json.loads(path.read_text())
    (content[section] if section else content).update(changes)
    path.write_text(json.dumps(content))
