"""`keras-cmm grow`: classes added to a model, removed and renamed."""

import json
import shutil

import numpy as np
import pytest
from folders import files_in

from keras_cmm_runtime import OnnxClassifier
from keras_cmm_runtime.utils import check_digests


def pictures(folder):
    return sorted(folder.rglob("*.png"))


@pytest.fixture(scope="module")
def dogs(shared_photos, tmp_path_factory):
    """Pictures for a new class: those of the first class."""
    folder = tmp_path_factory.mktemp("new") / "dogs"
    shutil.copytree(min(path for path in shared_photos.iterdir() if path.is_dir()), folder)
    return folder


@pytest.fixture(scope="module")
def grown(run, model_dir, dogs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown") / "grown"
    (dogs / "broken.png").write_bytes(b"no picture")
    old = OnnxClassifier.load(model_dir).class_names[2]
    result = run(
        *("grow", model_dir, "--add", f"dog={dogs}", "--add", "fox"),
        *("--rename", f"{old}={old} (old)", "--output", folder),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"{folder}: 5 classes; 2 added, 0 removed, 1 renamed"
    assert "broken.png" in result.stderr
    return folder


def test_both_engines_know_the_new_classes(run, grown, model_dir, shared_photos):
    from keras_cmm import CMMImageClassifier

    images = pictures(shared_photos)[:3]
    before, after = (CMMImageClassifier.from_preset(path) for path in (model_dir, grown))
    names = before.class_names
    assert after.class_names == (*names[:2], f"{names[2]} (old)", "dog", "fox")
    logits = after.predict(images)
    np.testing.assert_array_equal(logits[:, :3], before.predict(images))
    onnx = OnnxClassifier.load(grown)
    assert tuple(onnx.class_names) == after.class_names
    np.testing.assert_allclose(onnx.predict(images), logits, atol=1e-2)
    result = run("predict", grown, images[0], "--top-k", 5, "--format", "json")
    assert len(json.loads(result.stdout)[0]["predictions"]) == 5


def test_the_record_is_of_the_new_classes(grown, model_dir, dogs):
    check_digests(grown)
    before, after = (
        json.loads((path / "keras_cmm.json").read_text("utf-8")) for path in (model_dir, grown)
    )
    assert len(after["images"]) == len(before["images"]) + len(pictures(dogs)) - 1
    assert {image["label"] for image in after["images"]} == set(after["class_names"]) - {"fox"}
    assert len(after["grown"]) == 1
    assert files_in(grown) == files_in(model_dir)
    card = (grown / "README.md").read_text("utf-8")
    assert "5 classes" in card
    assert "| grown by |" in card


def test_support_images_follow(run, grown, dogs, tmp_path):
    from keras_cmm import CMMImageClassifier

    support = CMMImageClassifier.from_preset(grown).support_images
    added = [name for name, of in zip(support.names, support.classes, strict=True) if of == "dog"]
    assert added == [str(path) for path in pictures(dogs) if path.name != "broken.png"]
    output = tmp_path / "less"
    result = run("grow", grown, "--remove", "dog", "--no-onnx", "--output", output)
    assert result.exit_code == 0, result.output
    less = CMMImageClassifier.from_preset(output)
    assert "dog" not in {*less.class_names, *less.support_images.classes}
    assert not (output / "classifier.onnx").exists()
    record = json.loads((output / "keras_cmm.json").read_text("utf-8"))
    assert "dog" not in {image["label"] for image in record["images"]}
    assert len(record["grown"]) == 2


def test_what_is_refused(refused, model_dir, dogs, tmp_path):
    output = ("--output", tmp_path / "grown")
    assert "nothing to do" in refused("grow", model_dir, *output)
    assert "must be OLD=NEW" in refused("grow", model_dir, "--rename", "a", *output)
    assert "must be NAME=IMAGES" in refused("grow", model_dir, "--add", "=x", *output)
    assert "'no_such' of the class 'fox' does not exist" in refused(
        "grow", model_dir, "--add", "fox=no_such", *output
    )
    assert "no class 'cow'" in refused("grow", model_dir, "--remove", "cow", *output)
    assert "is an input" in refused(
        "grow", model_dir, "--add", "fox", "--output", model_dir, "--overwrite"
    )
    assert not (tmp_path / "grown").exists()
