"""Files of weights that do not say what their model is."""

import json

import numpy as np
import pytest
import torch
from clip_state import make_state
from safetensors.torch import save_file

from keras_cmm import clip
from keras_cmm.clip.backbones import ViTSettings
from keras_cmm.clip.checkpoints import state_dict
from keras_cmm.clip.checkpoints.open_clip_models import models_of_sizes, open_clip_settings
from keras_cmm_runtime.errors import InputError

OPENAI = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
ALL_NAMES = models_of_sizes.__globals__["_configs"]()


def write_config(folder, width=128, **vision):
    vision = {"image_size": 32, "layers": 2, "width": width, "patch_size": 16} | vision
    text = {"width": 64, "heads": 1, "layers": 2}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))


def embed(model):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    return clip.ImageEmbedder(model).embed_pixels(pixels)


@pytest.fixture(scope="module")
def state():
    return make_state()


@pytest.fixture
def bare(state, tmp_path):
    """A file of weights with nothing beside it."""
    (tmp_path / "bare").mkdir()
    torch.save(state, tmp_path / "bare" / "epoch_30.pt")
    return tmp_path / "bare" / "epoch_30.pt"


@pytest.mark.parametrize("name", ["epoch_30.pt", "open_clip_pytorch_model.bin", "a.safetensors"])
def test_a_file_that_does_not_say_what_it_is(state, name, tmp_path):
    if name.endswith("pt"):  # as OpenCLIP's training writes it
        inside = {f"module.{key}": tensor for key, tensor in state.items()}
        torch.save({"epoch": 30, "name": "run", "state_dict": inside}, tmp_path / name)
    elif name.endswith("bin"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    with pytest.raises(InputError, match="does not say its activation and its number of heads"):
        clip.load(tmp_path / name)


def test_the_models_that_it_may_be_are_named(tmp_path):
    # The shapes of a ViT-B/32, without the memory of its tensors.
    settings = open_clip_settings("ViT-B-32")
    assert models_of_sizes(settings) == ["ViT-B-32-quickgelu", "ViT-B-32"]
    assert "are those of ViT-B-32-quickgelu and ViT-B-32)" in state_dict._unknown_model(settings)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_activation_in_python(bare, activation, tmp_path):
    write_config(tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = activation == "quick_gelu"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "weights.pt").write_bytes(bare.read_bytes())
    expected = embed(clip.load(tmp_path / "weights.pt"))
    with pytest.warns(UserWarning, match="does not say its image settings"):
        model = clip.load(bare, activation=activation)
    np.testing.assert_array_equal(embed(model), expected)


def test_open_clip_model_tells_activation_and_heads(bare, monkeypatch, tmp_path):
    """A published model is too large for a test, so its config becomes a small one here."""
    write_config(tmp_path, head_width=32)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(ALL_NAMES, "ViT-B-32", config)
    (tmp_path / "weights.pt").write_bytes(bare.read_bytes())
    expected = embed(clip.load(tmp_path / "weights.pt"))
    with pytest.warns(UserWarning, match="OpenAI's mean and deviation"):
        model = clip.load(bare, open_clip_model="ViT-B-32")
    np.testing.assert_array_equal(embed(model), expected)
    with pytest.warns(UserWarning, match="image settings"):
        other = clip.load(bare, activation="gelu")
    assert np.abs(embed(other) - expected).max() > 1e-3


def test_another_model_than_that_of_the_file(bare):
    with pytest.raises(InputError, match=r"has the shape .* do not belong together"):
        clip.load(bare, open_clip_model="ViT-B-32")


def test_openai_files_need_no_word(bare, state, recwarn):
    torch.save(state | OPENAI, bare)
    model = clip.load(bare)
    assert model.backbone.vision_encoder.intermediate_activation == "quick_gelu"
    assert clip.load(bare, activation="quick_gelu").backbone.projection_dim == 32
    assert not [warning for warning in recwarn if warning.category is UserWarning]
    with pytest.raises(InputError, match="is one of OpenAI's files"):
        clip.load(bare, activation="gelu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "relu"}, "`activation` must be one of quick_gelu, gelu"),
        ({"activation": "gelu", "open_clip_model": "ViT-B-32"}, "leave out `activation`"),
        ({"open_clip_model": "ViT-B-33"}, "did you mean ViT-B-32"),
        ({"open_clip_model": "coca_ViT-B-32"}, "one of its plain CLIP models"),
        ({"open_clip_model": 3}, "Received: open_clip_model='3'"),
    ],
)
def test_arguments_that_cannot_be_used(bare, arguments, message):
    with pytest.raises(InputError, match=message):
        clip.load(bare, **arguments)


@pytest.mark.parametrize("width", [100, 1088, 1280])
def test_heads_are_not_guessed(width, tmp_path):
    """ViT-H has heads of 80, though 64 divides its width."""
    torch.save(make_state(width=width, layers=1), tmp_path / "weights.pt")
    with pytest.raises(InputError, match=f"width {width}, which does not have heads of 64"):
        clip.load(tmp_path / "weights.pt", activation="gelu")


def test_sources_that_say_what_they_are(tiny_preset, bare, state):
    with pytest.raises(InputError, match="Leave them out"):
        clip.load(tiny_preset, activation="gelu")
    write_config(bare.parent)
    with pytest.raises(InputError, match="in its folder says what the model is"):
        clip.load(bare, open_clip_model="ViT-B-32")


def test_the_file_that_is_given_is_loaded(bare, state):
    """Not another file of weights in its folder."""
    write_config(bare.parent)
    changed = {name: tensor + 0.1 for name, tensor in state.items()}
    torch.save(changed, bare.parent / "open_clip_pytorch_model.bin")
    given = embed(clip.load(bare))
    assert np.abs(embed(clip.load(bare.parent)) - given).max() > 1e-3
    (bare.parent / "open_clip_pytorch_model.bin").unlink()
    np.testing.assert_array_equal(embed(clip.load(bare)), given)


def test_published_models_have_heads_of_64_up_to_a_width_of_1024():
    """What `activation` takes for granted."""
    assert len(ALL_NAMES) == 41
    for name in ALL_NAMES:
        settings = open_clip_settings(name)
        vision = settings.vision
        towers = [settings.text, *([vision.tower] if isinstance(vision, ViTSettings) else [])]
        for tower in towers:
            if tower.hidden_dim <= 1024:
                assert tower.hidden_dim == 64 * tower.num_heads, name
        assert (settings.text.intermediate_activation == "quick_gelu") == ("quickgelu" in name)
    assert open_clip_settings("ViT-H-14").vision.tower.num_heads == 16
