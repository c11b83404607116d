import json
import shutil
import zipfile

import click
import numpy as np
import onnxruntime
import pytest
from folders import files_in

from keras_cmm import CMMImageClassifier
from keras_cmm.export.formats import append_description
from keras_cmm_cli.exported_files import check_new_export
from keras_cmm_runtime import OnnxClassifier


@pytest.mark.parametrize(
    ("style", "name"), [("onnx", "a.onnx"), ("torch", "a.pt2"), ("openvino", "a.xml")]
)
def test_formats(style, name, run, refused, model_dir, shared_photos, tmp_path):
    before = files_in(model_dir)
    options = ("--format", style, "--output", tmp_path / name)
    result = run("export", model_dir, *options, "--images", shared_photos)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / name}: ")
    assert "largest difference of a logit from Keras" in result.stdout
    assert result.stdout.endswith("same top-1 on 18 of 18\n")
    assert (tmp_path / name).is_file()
    assert files_in(model_dir) == before
    written = files_in(tmp_path)
    assert "exists; give --overwrite" in refused("export", model_dir, *options)
    assert run("export", model_dir, *options, "--overwrite").exit_code == 0
    assert files_in(tmp_path) == written


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


def test_the_head_as_safetensors(run, refused, model_dir, shared_photos, tmp_path):
    path = tmp_path / "head.safetensors"
    command = ("export", model_dir, "--format", "safetensors", "--output", path)
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}: 0.0 MB, the head alone\n"
    pictures = sorted(shared_photos.rglob("*.png"))[:2]
    model = CMMImageClassifier.from_preset(model_dir)
    again = CMMImageClassifier.load_head(path)
    np.testing.assert_array_equal(again.predict(pictures), model.predict(pictures))
    assert "exists; give --overwrite" in refused(*command)
    assert run(*command, "--overwrite").exit_code == 0
    for option in (["--int8"], ["--part", "model"], ["--images", shared_photos]):
        line = refused(*command, "--overwrite", *option)
        assert f"--format safetensors takes no {option[0]}; leave it out" in line
    path.write_bytes(b"mine")
    assert "was not written by this command" in refused(*command, "--overwrite")


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


@pytest.mark.parametrize(
    ("style", "suffix"),
    [("onnx", ".onnx"), ("torch", ".pt2"), ("openvino", ".xml"), ("litert", ".tflite")],
)
@pytest.mark.parametrize("content", [b"mine", b"<keras> keras-cm", "an archive"])
def test_overwrite_replaces_no_file_of_others(style, suffix, content, refused, model_dir, tmp_path):
    path = tmp_path / f"mine{suffix}"
    if content == "an archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("my_keras_cmm.json", "{}")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    line = refused(
        "export", model_dir, "--format", style, "--output", path, "--overwrite", "--int8"
    )
    assert "was not written by this command" in line
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("style", "name", "beside"),
    [("openvino", "a.xml", "a.bin"), ("onnx", "a.onnx", "a.onnx.data")],
)
def test_a_file_of_others_where_the_weights_would_go(
    style, name, beside, refused, model_dir, tmp_path
):
    (tmp_path / beside).write_bytes(b"mine")
    line = refused(
        "export", model_dir, "--format", style, "--output", tmp_path / name, "--overwrite"
    )
    assert f"{beside}: exists, where the weights" in line
    assert files_in(tmp_path) == [beside]


def test_a_file_of_litert_says_what_it_is(tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(b"TFL3" + bytes(100))
    model = path.read_bytes()
    append_description(path, {"class_names": ["ant", "bee"]})
    assert path.read_bytes().startswith(model)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("keras_cmm.json"))["class_names"] == ["ant", "bee"]
    check_new_export(path, "litert", overwrite=True)
    with pytest.raises(click.ClickException, match="give --overwrite"):
        check_new_export(path, "litert", overwrite=False)
