import json
import shutil

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def photo(shared_photos):
    return shared_photos / "red_fox" / "0.png"


def test_json_agrees_with_predict(run, model_dir, photo):
    result = run("explain", model_dir, photo, "--format", "json", "--nearest", 2)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    content = json.loads(result.stdout)
    predicted = run("predict", model_dir, photo, "--format", "json").stdout
    first, second, _ = json.loads(predicted)[0]["predictions"]
    assert content["image"] == str(photo)
    assert content["class"] == content["predicted_class"] == first["class"]
    assert content["probability"] == pytest.approx(first["probability"], rel=1e-5)
    decision = content["decision"]
    assert decision["rival"] == second["class"]
    assert decision["text"] + decision["images"] == decision["margin"]
    assert decision["text_share"] + decision["images_share"] == pytest.approx(1)
    with Image.open(photo) as picture:
        assert (content["heat_map"]["width"], content["heat_map"]["height"]) == picture.size
    names = [each["image"] for each in content["nearest"]]
    run_file = json.loads((model_dir / "keras_cmm.json").read_text())
    assert len(names) == 2
    assert set(names) <= {image["name"] for image in run_file["images"]}
    assert "support_images.safetensors" in run_file["digests"]


def test_a_picture_of_another_class(run, refused, model_dir, photo, tmp_path):
    output = tmp_path / "why.png"
    result = run("explain", model_dir, photo, "--output", output, "--class", "green tea")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("green tea: ")
    assert "nearest training image" in result.stdout
    assert "margin before" in result.stdout
    assert result.stderr.splitlines() == [f"{output}: the heat map."]
    with Image.open(output) as picture:
        assert picture.format == "PNG"

    arguments = ("explain", model_dir, photo, "--output", output)
    assert "give --overwrite" in refused(*arguments)
    assert run(*arguments, "--overwrite", "-q").exit_code == 0
    shutil.copy(photo, output)
    assert "not written by this command" in refused(*arguments, "--overwrite")
    assert output.read_bytes() == photo.read_bytes()


def test_mistakes(refused, model_dir, photo, tmp_path):
    assert "one of the 3 classes" in refused("explain", model_dir, photo, "--class", "unicorn")
    assert "is an input" in refused("explain", model_dir, photo, "--output", photo)
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in refused("explain", model_dir, tmp_path / "text.png")
    options = ("--output", tmp_path / "why.png", "--no-heat-map")
    assert "exclude each other" in refused("explain", model_dir, photo, *options)
    assert not (tmp_path / "why.png").exists()


def test_a_model_without_training_images(run, shared_photos, tiny_preset, photo, tmp_path):
    model = tmp_path / "model"
    options = ("--preset", tiny_preset, "--output", model, "--no-keep-embeddings", "-q")
    assert run("fit", shared_photos, "--shots", 1, *options).exit_code == 0
    assert not (model / "support_images.safetensors").exists()
    result = run("explain", model, photo, "--no-heat-map")
    assert result.exit_code == 0, result.output
    assert "No nearest training images: the classifier keeps no embeddings" in result.stderr
    assert "nearest" not in result.stdout
