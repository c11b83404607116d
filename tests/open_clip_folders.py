"""Small models of OpenCLIP with random weights, one of each family that OpenCLIP itself runs."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

VIT = {"image_size": 32, "patch_size": 8, "width": 40, "head_width": 20, "layers": 2}
TEXT = {"context_length": 20, "width": 24, "heads": 3, "layers": 2}
SQUASH = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}

# family: (model_cfg, preprocess_cfg)
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "custom_text": (
        {"embed_dim": 24, "custom_text": True, "vision_cfg": VIT, "text_cfg": TEXT},
        {},
    ),
    "clipa": (
        {
            "embed_dim": 24,
            "vision_cfg": VIT
            | {
                "no_ln_pre": True,
                "pool_type": "avg",
                "final_ln_after_pool": True,
                "pos_embed_type": "sin_cos_2d",
            },
            "text_cfg": TEXT
            | {
                "vocab_size": 200,
                "hf_tokenizer_name": "bert-base-uncased",
                "tokenizer_kwargs": {"strip_sep_token": True},
                "pool_type": "last",
                "no_causal_mask": True,
            },
        },
        SQUASH | {"interpolation": "bilinear"},
    ),
    "siglip": (
        {
            "embed_dim": 32,
            "init_logit_bias": -10,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 32,
                "timm_model_name": "keras_cmm_siglip",
                "timm_model_pretrained": False,
                "timm_pool": "map",
                "timm_proj": "none",
            },
            "text_cfg": TEXT
            | {
                "width": 32,
                "heads": 4,
                "vocab_size": 200,
                "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
                "tokenizer_kwargs": {"clean": "canonicalize"},
                "no_causal_mask": True,
                "proj_bias": True,
                "pool_type": "last",
                "norm_kwargs": {"eps": 1e-6},
            },
        },
        SQUASH,
    ),
    "mobileclip": (
        {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": "fastvit_mci0",
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": None,
                "image_size": 256,
            },
            "text_cfg": TEXT | {"no_causal_mask": True},
        },
        {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"},
    ),
    "pe_core": (
        {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 64,
                "timm_model_name": "keras_cmm_pe",
                "timm_model_pretrained": False,
                "timm_pool": "map",
                "timm_proj": None,
            },
            "text_cfg": TEXT | {"act_kwargs": None},
        },
        SQUASH | {"interpolation": "bilinear"},
    ),
    "vitamin": (
        {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": "keras_cmm_vitamin",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "timm_drop": 0.0,
                "timm_drop_path": 0.1,
                "image_size": 64,
            },
            "text_cfg": TEXT,
        },
        {},
    ),
    "convnext": (
        {
            "embed_dim": 24,
            "vision_cfg": {
                "timm_model_name": "test_convnext",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "mlp",
                "image_size": 64,
            },
            "text_cfg": TEXT,
        },
        {},
    ),
    "eva": (
        {
            "embed_dim": 24,
            "custom_text": True,
            "vision_cfg": {
                "image_size": 56,
                "timm_model_name": "keras_cmm_eva",
                "timm_model_pretrained": False,
                "timm_pool": "token",
                "timm_proj": None,
            },
            "text_cfg": TEXT,
        },
        {"resize_mode": "longest"},
    ),
    "coca": (
        {
            "embed_dim": 24,
            "custom_text": True,
            "multimodal_cfg": TEXT | {"attn_pooler_heads": 2},
            "vision_cfg": VIT
            | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
            "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        },
        {},
    ),
    **{
        kind: (
            {
                "embed_dim": 24,
                "vision_cfg": VIT,
                "text_cfg": {
                    "context_length": 20,
                    "hf_model_name": kind,
                    "hf_tokenizer_name": kind,
                    "hf_proj_type": "mlp",
                    "hf_pooler_type": "mean_pooler",
                },
            },
            {},
        )
        for kind in ("bert", "roberta", "xlm-roberta", "mt5", "m2m_100")
    },
}
TRANSFORMERS_TEXT = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    "xlm-roberta": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    "mt5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
    "m2m_100": {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2}
    | {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    | {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24},
}


def import_or_skip(name: str) -> Any:
    """Imports a library, or skips the tests of a module with the reason."""
    try:
        return importlib.import_module(name)
    # torchvision raises a RuntimeError beside a torch that it was not built for.
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        pytest.skip(f"{name} cannot be imported here: {reason}", allow_module_level=True)


def register_small_models() -> None:
    """Gives timm small models of the families whose own smallest one is large."""
    import timm
    from timm.models import eva, vision_transformer, vitamin

    def own(kwargs: Any) -> Any:
        # What timm's factory adds for its own models.
        return {k: v for k, v in kwargs.items() if k in ("num_classes", "global_pool")}

    def keras_cmm_siglip(pretrained: bool = False, **kwargs: Any) -> Any:
        return vision_transformer.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, class_token=False,
            **own(kwargs),
        )  # fmt: skip

    def keras_cmm_pe(pretrained: bool = False, **kwargs: Any) -> Any:
        return eva.Eva(
            img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, attn_type="rope",
            use_pre_transformer_norm=True, use_rot_pos_emb=True, ref_feat_shape=(4, 4),
            rope_grid_offset=1.0, rope_grid_indexing="xy", attn_pool_num_heads=2,
            attn_pool_mlp_ratio=4.0, **own(kwargs),
        )  # fmt: skip

    def keras_cmm_eva(pretrained: bool = False, **kwargs: Any) -> Any:
        return eva.Eva(
            img_size=56, patch_size=14, embed_dim=32, depth=2, num_heads=2, qkv_fused=False,
            mlp_ratio=4 * 2 / 3, swiglu_mlp=True, scale_mlp=True, use_rot_pos_emb=True,
            ref_feat_shape=(16, 16), **own(kwargs),
        )  # fmt: skip

    def keras_cmm_vitamin(pretrained: bool = False, **kwargs: Any) -> Any:
        config = vitamin.VitCfg(
            embed_dim=(16, 32, 32),
            depths=(1, 1, 1),
            stem_width=16,
            conv_cfg=vitamin.VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
            head_type="1d",
        )
        return vitamin._create_vitamin(
            "vitamin_small_224", embed_dim=32, depth=2, num_heads=2, mlp_layer=vitamin.GeGluMlp,
            mlp_ratio=2.0, class_token=False, global_pool="avg", embed_cfg=config, img_size=64,
        )  # fmt: skip

    for make in (keras_cmm_siglip, keras_cmm_pe, keras_cmm_eva, keras_cmm_vitamin):
        if not timm.is_model(make.__name__):
            make.__module__ = "timm.models.vision_transformer"
            timm.models.register_model(make)


def make_folder(folder: Path, family: str, seed: int = 0) -> Path:
    """Writes a model as OpenCLIP saves it, and returns its folder."""
    import open_clip
    import torch
    from safetensors.torch import save_model

    register_small_models()
    config, preprocessing = copy.deepcopy(FAMILIES[family])
    text = config["text_cfg"]
    folder.mkdir(exist_ok=True, parents=True)
    if "hf_tokenizer_name" in text:
        save_tokenizer(folder)
    if kind := text.get("hf_model_name"):
        from transformers import AutoConfig

        tower = AutoConfig.for_model(
            kind,
            vocab_size=200,
            pad_token_id=1,
            max_position_embeddings=64,
            **TRANSFORMERS_TEXT[kind],
        )
        tower.save_pretrained(folder / "tower")
        (folder / "tower" / "config.json").replace(folder / "text_tower_config.json")
        (folder / "tower" / "config.json").symlink_to(folder / "text_tower_config.json")
        # OpenCLIP reads it from there, without the hub.
        text["hf_model_name"] = str(folder / "tower")
    write_config(folder, config, preprocessing)
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and "logit" not in name and "running" not in name:
            # Scales of layers begin near zero, and would hide what the layers do.
            tensor.add_(torch.randn_like(tensor) * (0.3 if "gamma" in name else 0.05))
    fill_running_statistics(model, config["vision_cfg"]["image_size"])
    save_model(model, str(folder / "open_clip_model.safetensors"))
    return folder


def fill_running_statistics(model: Any, image_size: int) -> None:
    """Gives batch normalisations the moments of noise, without which all images look alike."""
    import torch

    norms = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.train()
    if norms:
        with torch.no_grad():
            model.encode_image(torch.randn(4, 3, image_size, image_size))


def write_config(folder: Path, config: Any, preprocessing: Any = None) -> None:
    content = {"model_cfg": config, "preprocess_cfg": preprocessing or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")


def save_tokenizer(folder: Path) -> None:
    """Saves a small tokenizer of words as transformers does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["a", "photo", "of", "the", "cat", "dog", "bird", "s", "blue", "fox", *"'.,!"]
    vocabulary = ["[PAD]", "<pad>", "[CLS]", "[SEP]", "[UNK]", *words]
    vocabulary += [chr(code) for code in range(97, 123) if chr(code) not in words]
    vocabulary += [f"##{chr(code)}" for code in range(97, 123)]
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    ).save_pretrained(folder)
