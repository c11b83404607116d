import json
import shutil

import onnxruntime
import pytest
from folders import files_in

from keras_cmm_runtime import OnnxClassifier


@pytest.mark.parametrize(
    ("style", "name"), [("onnx", "a.onnx"), ("torch", "a.pt2"), ("openvino", "a.xml")]
)
def test_formats(style, name, run, model_dir, shared_photos, tmp_path):
    before = files_in(model_dir)
    options = ("--format", style, "--output", tmp_path / name)
    result = run("export", model_dir, *options, "--images", shared_photos)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / name}: ")
    assert "largest difference of a logit from Keras" in result.stdout
    assert result.stdout.endswith("same top-1 on 18 of 18\n")
    assert (tmp_path / name).is_file()
    assert files_in(model_dir) == before


def test_a_folder_of_an_earlier_version_becomes_quick(
    run, refused, model_dir, shared_photos, tmp_path
):
    old = tmp_path / "old"
    run("fit", shared_photos, "--preset", model_dir, "--shots", 1, "--output", old, "--no-onnx")
    assert "has no classifier.onnx" in refused("predict", old, shared_photos, "--engine", "onnx")
    result = run("export", old, "--output", old / "classifier.onnx")
    assert "same top-1 on 4 of 4" in result.stdout
    record = json.loads((old / "keras_cmm.json").read_text())
    assert record["digests"]["classifier.onnx"] == OnnxClassifier.load(old).digest
    assert run("predict", old, shared_photos, "--engine", "onnx").exit_code == 0
    # The record is whole, so `fit --overwrite` still knows the folder for its own.
    again = ("--output", old, "--no-onnx", "--overwrite")
    assert run("fit", shared_photos, "--preset", model_dir, "--shots", 1, *again).exit_code == 0


def test_int8_and_the_head(run, refused, model_dir, tmp_path):
    assert run("export", model_dir, "--int8", "--output", tmp_path / "small.onnx").exit_code == 0
    assert OnnxClassifier.load(tmp_path / "small.onnx").class_names
    head = tmp_path / "head.onnx"
    assert "same top-1 on 64" in run("export", model_dir, "--part", "head", "--output", head).stdout
    assert onnxruntime.InferenceSession(head).get_inputs()[0].name == "embeddings"
    copy = shutil.copytree(model_dir, tmp_path / "copy")
    for option in (["--int8"], ["--part", "head"]):
        line = refused("export", copy, *option, "--output", copy / "classifier.onnx", "--overwrite")
        assert "is the file that predict runs on" in line


def test_refusals(refused, model_dir, tmp_path):
    assert "must end in .pt2" in refused(
        "export", model_dir, "--format", "torch", "--output", tmp_path / "a.onnx"
    )
    (tmp_path / "a.onnx").write_text("mine")
    output = ("--output", tmp_path / "a.onnx")
    assert "exists; give --overwrite" in refused("export", model_dir, *output)
    assert "was not written by this command" in refused("export", model_dir, *output, "--overwrite")
    assert (tmp_path / "a.onnx").read_text() == "mine"
    assert "does not exist" in refused("export", model_dir, "--output", tmp_path / "no" / "a.onnx")
