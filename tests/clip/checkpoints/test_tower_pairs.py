"""Two towers of transformers' CLIP in folders of their own."""

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers_clip import (
    image_embeddings,
    pictures,
    refused,
    save_checkpoint,
    text_embeddings,
)
from transformers_families import change_json, save_towers

from keras_cmm import clip

TEXTS = ["a cat", "", "the dog, and a cat!"]
pytestmark = pytest.mark.filterwarnings("ignore:.*two towers have no logit scale, so it is 100")


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """Returns a folder of `vision` and `text`, a whole CLIP beside it, and the model."""
    folder, whole = tmp_path_factory.mktemp("towers"), tmp_path_factory.mktemp("whole")
    model = save_towers(folder)
    save_checkpoint(whole, model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(whole / name, folder / "text" / name)
    shutil.copy(whole / "preprocessor_config.json", folder / "vision")
    return folder, whole, model


@pytest.fixture
def copy(towers, tmp_path):
    return shutil.copytree(towers[0], tmp_path / "copy")


def check_equal(folder, towers):
    _, whole, model = towers
    ours = clip.load(folder)
    images = clip.ImageEmbedder(ours).embed(pictures()).embeddings
    np.testing.assert_allclose(images, image_embeddings(model, whole, pictures()), atol=1e-5)
    texts = clip.TextEmbedder(ours).embed(TEXTS)
    np.testing.assert_allclose(texts, text_embeddings(model, whole, TEXTS), atol=1e-5)
    return ours


def test_embeddings_are_those_of_transformers(towers):
    with pytest.warns(UserWarning, match="no logit scale, so it is 100"):
        ours = check_equal(towers[0], towers)
    assert clip.logit_scale(ours.backbone) == pytest.approx(100)


def test_as_diffusers_writes_them(towers, copy):
    for old, new in (("vision", "image_encoder"), ("text", "text_encoder")):
        (copy / old).rename(copy / new)
    (copy / "tokenizer").mkdir()
    (copy / "feature_extractor").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / "text_encoder" / name).rename(copy / "tokenizer" / name)
    file = "preprocessor_config.json"
    (copy / "image_encoder" / file).rename(copy / "feature_extractor" / file)
    check_equal(copy, towers)


def test_from_the_hub(towers, hub):
    hub.models["owner/towers"] = towers[0]
    check_equal("owner/towers", towers)
    for tower in ("vision", "text"):
        assert any(path.endswith(f"/{tower}/model.safetensors") for path in hub.asked)


def test_a_logit_scale_in_a_file_counts(towers, copy):
    import torch

    file = copy / "text" / "model.safetensors"
    save_file({**load_file(file), "logit_scale": torch.tensor(3.0)}, file)
    assert clip.logit_scale(clip.load(copy).backbone) == pytest.approx(np.exp(3.0))


@pytest.mark.parametrize(
    ("tower", "changes", "message"),
    [
        ("vision", {"model_type": "siglip_vision_model"}, "must hold .* 'clip_vision_model'"),
        ("text", {"model_type": "bert"}, "must hold .* 'clip_text_model'. Received: 'bert'"),
        ("text", {"projection_dim": 41}, "the lengths 40 and 41; they do not belong together"),
        ("vision", {"projection_dim": 10**9}, "do not belong together"),
        ("vision", {"num_hidden_layers": 10**9}, r"no tensor .*layers\.999999999"),
        ("text", {"vocab_size": 10**12}, "do not belong together"),
        ("text", {"eos_token_id": 7}, "eos_token_id=7"),
    ],
)
def test_configs_that_do_not_fit(copy, tower, changes, message):
    change_json(copy / tower / "config.json", **changes)
    refused(copy, message)


def test_towers_without_a_projection(copy):
    for tower, name in (("text", "text_projection.weight"), ("vision", "visual_projection.weight")):
        file = copy / tower / "model.safetensors"
        save_file({k: v for k, v in load_file(file).items() if k != name}, file)
        refused(copy, f"has no {name}.*save the tower as a CLIP")


def test_weights_that_are_no_numbers(copy):
    file = copy / "vision" / "model.safetensors"
    weights = load_file(file)
    weights["visual_projection.weight"][0] = float("nan")
    save_file(weights, file)
    refused(copy, "are not all finite numbers")


def test_one_tower_alone(copy):
    shutil.rmtree(copy / "text")
    refused(copy, "holds no model; .* the folders vision and text")
    refused(copy / "vision", "'clip_vision_model'; one tower alone names no classes")


def test_a_damaged_config(copy):
    (copy / "text" / "config.json").write_text(json.dumps([1]))
    refused(copy, "is not a JSON object")
