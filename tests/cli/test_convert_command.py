import json
import shutil

import numpy as np
import pytest
import torch
from clip_state import make_state
from folders import files_in, write_photos
from PIL import Image
from transformers_clip import image_embeddings, text_embeddings

from keras_cmm import clip


@pytest.fixture(scope="module")
def converted(run, transformers_checkpoint, tmp_path_factory):
    """The preset that `convert` makes of the checkpoint. Tests must not change it."""
    folder = tmp_path_factory.mktemp("converted") / "preset"
    result = run("convert", transformers_checkpoint, folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{folder}: CLIPBackbone, ")
    assert result.stdout.endswith("images of 96 x 96 pixels, embeddings of 40\n")
    return folder


def test_preset_has_the_embeddings_of_transformers(
    transformers_model, transformers_checkpoint, converted, tmp_path
):
    paths = sorted(write_photos(tmp_path / "photos").rglob("*.png"))
    images = [Image.open(path).convert("RGB") for path in paths]
    ours = clip.load(converted)
    np.testing.assert_allclose(
        clip.ImageEmbedder(ours).embed(paths).embeddings,
        image_embeddings(transformers_model, transformers_checkpoint, images),
        atol=1e-5,
    )
    texts = ["a cat", "", "dogs and cats"]
    np.testing.assert_allclose(
        clip.TextEmbedder(ours).embed(texts),
        text_embeddings(transformers_model, transformers_checkpoint, texts),
        atol=1e-5,
    )


def test_keras_hub_reads_the_preset(converted):
    import keras_hub

    backbone = keras_hub.models.CLIPBackbone.from_preset(str(converted))
    preprocessor = keras_hub.models.CLIPPreprocessor.from_preset(str(converted))
    inputs = preprocessor({"images": np.zeros((1, 60, 60, 3)), "prompts": ["a cat"]})
    logits = backbone({name: inputs[name] for name in ("images", "token_ids")})
    assert tuple(logits["vision_logits"].shape) == (1, 1)


@pytest.mark.parametrize("source", ["transformers_checkpoint", "converted"])
def test_fit_takes_checkpoints_and_their_presets(run, shared_photos, source, request, tmp_path):
    folder, model = request.getfixturevalue(source), tmp_path / "model"
    result = run("fit", shared_photos, "--preset", folder, "--shots", 2, "--output", model, "-q")
    assert result.exit_code == 0, result.output
    picture = min(shared_photos.rglob("*.png"))
    result = run("predict", model, picture)
    assert result.exit_code == 0, result.output
    assert str(picture) in result.stdout


def test_dtype_of_the_weights(run, transformers_checkpoint, tmp_path):
    assert (
        run("convert", transformers_checkpoint, tmp_path / "half", "--dtype", "bfloat16").exit_code
        == 0
    )
    ours = clip.load(tmp_path / "half", dtype="float32")
    expected = clip.load(transformers_checkpoint)
    image = np.full((1, 96, 96, 3), 99, dtype="uint8")
    cosine = np.sum(
        clip.ImageEmbedder(ours).embed_pixels(image)
        * clip.ImageEmbedder(expected).embed_pixels(image)
    )
    assert 0.999 < cosine < 1 - 1e-9


def test_a_preset_converts_to_itself(run, tiny_preset, tiny_model, tmp_path):
    assert run("convert", tiny_preset, tmp_path / "again").exit_code == 0
    texts = ["a cat", "a dog"]
    np.testing.assert_array_equal(
        clip.TextEmbedder(clip.load(tmp_path / "again")).embed(texts),
        clip.TextEmbedder(tiny_model).embed(texts),
    )


@pytest.fixture
def bare_file(tmp_path):
    """Weights under OpenAI's names that do not say what they are, such as RemoteCLIP's."""
    (tmp_path / "bare").mkdir()
    torch.save(make_state(), tmp_path / "bare" / "RemoteCLIP.pt")
    return tmp_path / "bare" / "RemoteCLIP.pt"


def test_a_file_that_does_not_say_what_it_is(run, refused, bare_file, shared_photos, tmp_path):
    line = refused("convert", bare_file, tmp_path / "out")
    assert "does not say its activation and its number of heads" in line
    assert "--open-clip-model ViT-B-32" in line
    model = tmp_path / "model"
    assert line == refused("fit", shared_photos, "--preset", bare_file, "--output", model)
    assert "did you mean ViT-B-32" in refused(
        "convert", bare_file, tmp_path / "out", "--open-clip-model", "ViT-B-3"
    )
    assert "do not belong together" in refused(
        "convert", bare_file, tmp_path / "out", "--open-clip-model", "ViT-B-32"
    )
    result = run("convert", bare_file, tmp_path / "out", "--activation", "gelu")
    assert result.exit_code == 0, result.output
    assert "does not say its image settings" in result.stderr
    encoder = clip.load(tmp_path / "out").backbone.vision_encoder
    assert encoder.intermediate_activation == "gelu"


def test_mistakes_leave_nothing_behind(refused, transformers_checkpoint, tmp_path):
    broken = shutil.copytree(transformers_checkpoint, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"")
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    before = files_in(tmp_path)
    out = tmp_path / "out"
    assert "no such folder" in refused("convert", tmp_path / "nothing", out)
    assert "cannot be read as safetensors" in refused("convert", broken, out)
    assert "holds something else ('notes.txt')" in refused(
        "convert", transformers_checkpoint, tmp_path / "full"
    )
    assert "is a file" in refused("convert", transformers_checkpoint, tmp_path / "file")
    assert "does not exist" in refused("convert", transformers_checkpoint, tmp_path / "no" / "out")
    assert "'float8'" in refused("convert", transformers_checkpoint, out, "--dtype", "float8")
    assert files_in(tmp_path) == before


def test_failing_write_leaves_nothing_behind(
    refused, transformers_checkpoint, tmp_path, monkeypatch
):
    def fail(model, folder):
        (folder / "config.json").write_text(json.dumps({}))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(clip, "save_preset", fail)
    assert "No space left on device" in refused(
        "convert", transformers_checkpoint, tmp_path / "out"
    )
    assert not list(tmp_path.iterdir())
