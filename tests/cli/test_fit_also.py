"""`keras-cmm fit --also`: a second image encoder."""

import json

from keras_cmm.models import CMMImageClassifier


def test_a_second_encoder(shared_photos, fit, run, refused):
    result, folder = fit(shared_photos, "--also", "emoji_clip_tiny")
    assert result.exit_code == 0, result.output
    weight = float(CMMImageClassifier.from_preset(folder).head.mapping.also_weight)
    assert f"emoji_clip_tiny counts {weight:.2f} times as much as CLIP's" in result.stderr
    assert json.loads((folder / "keras_cmm.json").read_text())["also"] == {
        "preset": "emoji_clip_tiny",
        "weight": weight,
    }
    assert not (folder / "classifier.onnx").exists()
    evaluated = run("evaluate", folder, shared_photos, "--format", "json", "-q")
    assert json.loads(evaluated.stdout)["top1"] > 90
    image = shared_photos / "red_fox" / "0.png"
    predicted = run("predict", folder, image, "--format", "json", "-q")
    assert predicted.exit_code == 0, predicted.output
    line = refused("predict", folder, image, "--engine", "onnx")
    assert "has a second encoder" in line
    line = refused("explain", folder, image, "--output", folder.parent / "heat.png")
    assert "a second encoder has no heat map" in line
    grown = folder.parent / "grown"
    result = run("grow", folder, "--add", f"fox={image}", "--output", grown)
    assert result.exit_code == 0, result.output
    assert "no classifier.onnx is written" in result.stderr
    assert CMMImageClassifier.from_preset(grown).class_names[-1] == "fox"


def test_an_unknown_one(shared_photos, fit, tmp_path):
    result, folder = fit(shared_photos, "--also", tmp_path / "none")
    assert result.exit_code == 2
    assert "none" in result.stderr.splitlines()[-1]
    assert not folder.exists()
