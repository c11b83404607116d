"""Commands that run a model without Keras."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

KERAS = ("keras", "keras_cmm", "keras_hub", "tensorflow", "torch", "jax", "onnx", "matplotlib")
SCRIPT = """
import json, sys
from keras_cmm_cli.main import cli
cli.main(sys.argv[2:], standalone_mode=False)
with open(sys.argv[1], "w") as file:
    json.dump(sorted(sys.modules), file)
"""


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_no_keras_is_imported(command, model_dir, shared_photos, tmp_path):
    arguments = [command, str(model_dir), str(shared_photos), "--format", "json"]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "modules.json"), *arguments],
        env=os.environ | {"KERAS_CMM_ENGINE": "auto"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout)
    modules = set(json.loads((tmp_path / "modules.json").read_text()))
    assert {"onnxruntime", "PIL", "numpy"} <= modules
    assert modules & set(KERAS) == set()


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_both_engines_answer_the_same(command, run, model_dir, shared_photos):
    found = {}
    for engine in ("onnx", "keras"):
        result = run(command, model_dir, shared_photos, "--format", "json", "--engine", engine)
        assert result.exit_code == 0, result.output
        found[engine] = json.loads(result.stdout)
    if command == "evaluate":
        assert found["onnx"] == found["keras"]
        return
    for ours, theirs in zip(found["onnx"], found["keras"], strict=True):
        assert ours["image"] == theirs["image"]
        assert [each["class"] for each in ours["predictions"]] == [
            each["class"] for each in theirs["predictions"]
        ]
        np.testing.assert_allclose(
            [each["probability"] for each in ours["predictions"]],
            [each["probability"] for each in theirs["predictions"]],
            atol=1e-4,
        )


def test_a_folder_of_an_earlier_version(run, refused, model_dir, shared_photos, tmp_path):
    old = shutil.copytree(model_dir, tmp_path / "old")
    (old / "classifier.onnx").unlink()
    image = shared_photos / "red_fox" / "0.png"
    assert run("predict", old, image).stdout == run("predict", model_dir, image).stdout
    line = refused("predict", old, image, "--engine", "onnx")
    assert f"{old}: has no classifier.onnx" in line
    assert "keras-cmm export" in line


def test_the_onnx_file_of_another_head(
    run, refused, model_dir, shared_photos, tiny_preset, tmp_path
):
    other, stale = tmp_path / "other", shutil.copytree(model_dir, tmp_path / "stale")
    run("fit", shared_photos, "--preset", tiny_preset, "--shots", 1, "--output", other, "-q")
    shutil.copy(other / "classifier.onnx", stale)
    line = refused("predict", stale, shared_photos)
    assert f"{stale / 'classifier.onnx'}: is of another classifier" in line


def test_a_damaged_onnx_file(refused, model_dir, shared_photos, tmp_path):
    copy = shutil.copytree(model_dir, tmp_path / "copy")
    (copy / "classifier.onnx").write_bytes((copy / "classifier.onnx").read_bytes()[:-500])
    assert str(copy / "classifier.onnx") in refused("predict", copy, shared_photos)
    assert str(copy / "classifier.onnx") in refused("evaluate", copy, shared_photos)


def test_a_store_needs_keras(run, refused, model_dir, shared_photos, tmp_path):
    image = shared_photos / "red_fox" / "0.png"
    arguments = ("predict", model_dir, image, "--store", tmp_path / "store")
    assert run(*arguments).exit_code == 0
    assert run(*arguments).stderr == "1 of 1 embeddings taken from the store.\n"
    assert "--store needs Keras" in refused(*arguments, "--engine", "onnx")
    assert "exclude each other" in refused(*arguments, "--no-store")
    assert run("predict", model_dir, image, "--no-store").exit_code == 0
