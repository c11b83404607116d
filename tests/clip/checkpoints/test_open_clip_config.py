"""Configs of OpenCLIP that keras-hub cannot load. Other tests compare its models."""

import json
import sys

import pytest

from keras_cmm import clip
from keras_cmm.clip.checkpoints import is_plain_clip
from keras_cmm.clip.checkpoints.open_clip import settings_of_config
from keras_cmm_runtime.errors import InputError

VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8}
TEXT = {"width": 64, "heads": 1, "layers": 1}


@pytest.mark.parametrize(
    ("model", "vision", "text", "message"),
    [
        ({}, {"timm_model_name": "convnext_base"}, {}, "'convnext_base' of another library"),
        ({}, {}, {"hf_model_name": "roberta-base"}, "'roberta-base' of another library"),
        ({"multimodal_cfg": {"width": 8}}, {}, {}, r"model_cfg\.multimodal_cfg"),
        ({"custom_text": True}, {}, {}, r"model_cfg\.custom_text=True"),
        ({}, {"ls_init_value": 1e-4}, {}, r"vision_cfg\.ls_init_value=0\.0001"),
        ({}, {"pool_type": "avg"}, {}, r"vision_cfg\.pool_type='avg'"),
        ({}, {"no_ln_pre": True}, {}, r"vision_cfg\.no_ln_pre=True"),
        ({}, {"attentional_pool": True}, {}, r"vision_cfg\.attentional_pool"),
        ({}, {}, {"no_causal_mask": True}, r"text_cfg\.no_causal_mask"),
        ({}, {}, {"proj_type": "none"}, r"text_cfg\.proj_type='none'"),
        ({}, {}, {"hf_tokenizer_name": "bert-base-uncased"}, r"hf_tokenizer_name"),
        ({}, {}, {"tokenizer_kwargs": {"clean": "canonicalize"}}, r"tokenizer_kwargs"),
        ({}, {}, {"something_new": 3}, r"text_cfg\.something_new=3"),
    ],
)
def test_models_that_open_clip_runs(tmp_path, monkeypatch, model, vision, text, message):
    path = tmp_path / "open_clip_config.json"
    config = write(path, model, vision, text)
    with pytest.raises(InputError, match=message) as caught:
        settings_of_config(path, config)
    assert str(tmp_path) in str(caught.value)
    assert not is_plain_clip(tmp_path)
    # As where it is not installed.
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r"open_clip_torch.*pip install .keras-cmm.open-clip"):
        clip.load(tmp_path)


def write(path, model, vision, text):
    config = {"embed_dim": 16, "vision_cfg": VISION | vision, "text_cfg": TEXT | text} | model
    path.write_text(json.dumps({"model_cfg": config}))
    return config


@pytest.mark.parametrize(
    ("model", "vision", "text", "message"),
    [
        ({}, {"width": "wide"}, {}, r"vision_cfg\.width='wide'"),
        ({}, {"head_width": 0}, {}, r"vision_cfg\.head_width=0"),
        ({}, {"head_width": 48}, {}, "Received: 64 and 48"),
        ({}, {"mlp_ratio": "4"}, {}, r"mlp_ratio='4'"),
        ({}, {"image_size": [32, 48]}, {}, r"vision_cfg\.image_size=\[32, 48\]"),
        ({"embed_dim": None}, {}, {}, "embed_dim=None"),
        ({"vision_cfg": None}, {}, {}, "no vision_cfg"),
        ({}, {}, {}, "has no weights; expected open_clip_model.safetensors"),
    ],
)
def test_refused_with_the_setting_that_is_why(tmp_path, model, vision, text, message):
    write(tmp_path / "open_clip_config.json", model, vision, text)
    assert is_plain_clip(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        clip.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", ["{}", "{", '{"model_cfg": 3}'])
def test_damaged_config(tmp_path, content):
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(InputError, match="the file is damaged"):
        clip.load(tmp_path)


def test_off_settings_of_a_plain_clip_are_taken(tmp_path):
    off = {"ls_init_value": None, "output_tokens": True, "act_kwargs": {}}
    vision = VISION | off | {"patch_dropout": 0.5, "pool_type": "tok", "timm_model_name": ""}
    text = TEXT | off | {"pool_type": "argmax", "hf_tokenizer_name": "", "proj_bias": False}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "init_logit_bias": -10}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(InputError, match="has no weights"):
        clip.load(tmp_path)
