"""State dicts of OpenAI, made from models of transformers.

The tests of OpenCLIP's checkpoints compare with its own models.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from keras_cmm import clip
from keras_cmm_runtime.errors import InputError

# OpenAI's files hold these numbers among the tensors, and others do not.
NUMBERS = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
TEXTS = ["a photo of a cat.", "", "a cat and a dog " * 15]


def tower(model, name, new_name):
    state = {}
    for number, layer in enumerate(model.encoder.layers):
        parts = layer.state_dict()
        block = f"{new_name}.resblocks.{number}"
        for kind in ("weight", "bias"):
            state |= {
                f"{block}.attn.in_proj_{kind}": torch.cat(
                    [parts[f"self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                ),
                f"{block}.attn.out_proj.{kind}": parts[f"self_attn.out_proj.{kind}"],
                f"{block}.ln_1.{kind}": parts[f"layer_norm1.{kind}"],
                f"{block}.ln_2.{kind}": parts[f"layer_norm2.{kind}"],
                f"{block}.mlp.c_fc.{kind}": parts[f"mlp.fc1.{kind}"],
                f"{block}.mlp.c_proj.{kind}": parts[f"mlp.fc2.{kind}"],
            }
    return state


def openai_state_dict(model):
    vision, text = model.vision_model, model.text_model
    state = {
        "logit_scale": model.logit_scale,
        "positional_embedding": text.embeddings.position_embedding.weight,
        "text_projection": model.text_projection.weight.T,
        "token_embedding.weight": text.embeddings.token_embedding.weight,
        "ln_final.weight": text.final_layer_norm.weight,
        "ln_final.bias": text.final_layer_norm.bias,
        "visual.class_embedding": vision.embeddings.class_embedding,
        "visual.conv1.weight": vision.embeddings.patch_embedding.weight,
        "visual.positional_embedding": vision.embeddings.position_embedding.weight,
        "visual.proj": model.visual_projection.weight.T,
        "visual.ln_pre.weight": vision.pre_layrnorm.weight,
        "visual.ln_pre.bias": vision.pre_layrnorm.bias,
        "visual.ln_post.weight": vision.post_layernorm.weight,
        "visual.ln_post.bias": vision.post_layernorm.bias,
        **tower(vision, "vision_model", "visual.transformer"),
        **tower(text, "text_model", "transformer"),
    }
    state |= {name: torch.tensor(number) for name, number in NUMBERS.items()}
    return {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def model():
    sizes = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2}
    config = CLIPConfig(
        projection_dim=48,
        vision_config={**sizes, "intermediate_size": 512, "image_size": 32, "patch_size": 8},
        text_config={**sizes, "intermediate_size": 512},
    )
    model = CLIPModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def state(model):
    return openai_state_dict(model)


def unit_rows(output):
    rows = output.pooler_output.detach().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_equal(path, model):
    ours = clip.load(path)
    embedder, texts = clip.ImageEmbedder(ours), clip.TextEmbedder(ours)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")
    inputs = torch.tensor(embedder.preprocessor.normalize(pixels)).permute(0, 3, 1, 2)
    expected = unit_rows(model.get_image_features(pixel_values=inputs))
    np.testing.assert_allclose(embedder.embed_pixels(pixels), expected, atol=1e-5)
    # OpenAI's code pads with zeros, transformers with the end token. Neither changes the result.
    ids = torch.tensor(texts.encoder.token_ids(TEXTS).astype("int64"))
    expected = unit_rows(model.get_text_features(input_ids=ids))
    np.testing.assert_allclose(texts.embed(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_embeddings_are_those_of_transformers(model, state, ending, tmp_path):
    path = tmp_path / f"ViT.{ending}"
    if ending == "pt":
        torch.save(state | NUMBERS, path)
    else:
        save_file(state, path)
    check_equal(path, model)
    assert clip.load(path).image_converter.image_size == (32, 32)


def test_open_clip_folder_of_the_same_tensors(model, state, tmp_path):
    save_file(state, tmp_path / "open_clip_model.safetensors")
    config = {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": {"image_size": [32, 32], "layers": 2, "width": 128, "patch_size": 8},
        "text_cfg": {"width": 128, "heads": 2, "layers": 2},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    check_equal(tmp_path, model)
    # The file itself is loaded by the config in its folder.
    check_equal(tmp_path / "open_clip_model.safetensors", model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.clear(), "holds no state dict"),
        (lambda state: state.pop("visual.proj"), r"no tensor 'visual_projection\.weight'"),
        (lambda state: state.pop("text_projection"), "no tensor 'text_projection'"),
        (lambda state: state.update(extra=torch.ones(2)), "tensors that CLIP does not have"),
        (lambda state: state.update(positional_embedding=torch.ones(3)), "of 2 axes"),
        (
            lambda state: state.update({"positional_embedding": torch.ones(77, 100)}),
            "width 100.*open_clip_config",
        ),
        (lambda state: state.update(positional_embedding=torch.ones(77, 0)), "of 2 axes"),
        (lambda state: state.update(context_length=torch.tensor(76)), "context_length is 76"),
        (lambda state: state.update(vocab_size=torch.ones(2)), "vocab_size is"),
        (
            lambda state: state.update({"visual.proj": torch.ones(128, 7)}),
            "do not belong together",
        ),
    ],
)
def test_other_state_dicts(state, change, message, tmp_path):
    changed = dict(state)
    change(changed)
    torch.save(changed, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=message) as caught:
        clip.load(tmp_path / "weights.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'weights.pt'}: ")


def test_file_of_transformers(model, tmp_path):
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(InputError, match="has the tensors of transformers; give its folder"):
        clip.load(tmp_path / "model.safetensors")
