"""`fit --views`, and `--views` of the commands that run a model."""

import json

import numpy as np
import pytest

from keras_cmm import CMMImageClassifier


def test_views_in_training_and_at_test_time(run, refused, fit, shared_photos, tmp_path):
    store = ("--store", tmp_path / "store")
    tested = ("--shots", 2, "--val-fraction", 0.3)
    result, folder = fit(shared_photos, "--views", 2, *tested, *store)
    assert result.exit_code == 0, result.output
    record = json.loads((folder / "keras_cmm.json").read_text())
    assert record["hyperparameters"]["views"] == 2
    assert "| views | 2 |" in (folder / "README.md").read_text()
    # 6 training images with 2 views each, and 6 test images without.
    assert ": 24 embeddings" in run("store", *store).stdout
    again, same = fit(shared_photos, "--views", 2, *tested, *store, output="again")
    assert "18 of 18 embeddings taken from the store" in again.stderr
    classifiers = [CMMImageClassifier.from_preset(each) for each in (folder, same)]
    for ours, theirs in zip(*(each.head.get_weights() for each in classifiers), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    image = shared_photos / "red_fox" / "0.png"
    predict = ("predict", folder, image, "--format", "json")
    plain, seen = run(*predict), run(*predict, "--views", 3)
    assert seen.exit_code == 0, seen.output
    (found,) = json.loads(seen.stdout)
    (expected,) = classifiers[0].classify([image], views=3)
    assert [(each["class"], each["probability"]) for each in found["predictions"]] == [
        (name, pytest.approx(probability, abs=1e-5)) for name, probability in expected
    ]
    assert seen.stdout != plain.stdout
    evaluated = run("evaluate", folder, shared_photos, "--views", 1, "--format", "json", "-q")
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(evaluated.stdout)["images"] == 18
    line = refused(*predict, "--views", 3, "--engine", "onnx")
    assert "--views needs Keras" in line


def test_the_draw_of_another_run(fit, shared_photos):
    _, folder = fit(shared_photos, "--shots", 1)
    draw = folder / "few_shot_indices.json"
    result, same = fit(shared_photos, "--indices", draw, "--views", 1, output="same")
    assert result.exit_code == 0, result.output
    record = json.loads((same / "keras_cmm.json").read_text())
    assert record["hyperparameters"]["views"] == 1
    assert len(record["images"]) == 3
