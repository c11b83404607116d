"""The tests that `fit` makes of a new classifier: `--test` and `--val-fraction`."""

import functools
import json
import shutil

import pytest

from keras_cmm.evaluation import wilson_interval
from keras_cmm_cli.held_out_images import held_out_rows


def read_run(folder):
    return json.loads((folder / "keras_cmm.json").read_text())


@pytest.fixture
def refuse(refuse_output):
    return functools.partial(refuse_output, "fit", output="model")


def test_a_test_of_ones_own(shared_photos, fit, refuse, photos, tmp_path):
    shutil.rmtree(photos / "red_fox")
    report = tmp_path / "report.html"
    result, folder = fit(
        shared_photos, "--shots", 2, "--test", photos, "--report", report, output="tested"
    )
    assert result.exit_code == 0, result.stderr
    tested = read_run(folder)["evaluation"]
    assert tested["protocol"] == f"of --test {photos}"
    assert tested["classes"] == 2
    assert tested["images"] + tested["left_out_copies"] == 12
    right = round(tested["top1"] * tested["images"] / 100)
    assert tested["top1_interval"] == list(wilson_interval(right, tested["images"]))
    card = (folder / "README.md").read_text()
    assert f"Top-1: {tested['top1']:.1f}%" in card
    assert f"images `of --test {photos}` of 2 classes" in card
    line = f"Test: top-1 {tested['top1']:.1f}% (95% interval "
    assert line in result.stderr
    assert f"of --test {photos}, of 2 of 3 classes." in result.stderr
    assert f"images of --test {photos}." in report.read_text()
    (photos / "owl").mkdir()
    (photos / "owl" / "0.png").write_bytes((photos / "green tea" / "0.png").read_bytes())
    assert "owl" in refuse(shared_photos, "--test", photos)


def test_a_share_is_held_out(shared_photos, fit, refuse, tmp_path):
    result, folder = fit(shared_photos, "--val-fraction", 0.34)
    assert result.exit_code == 0, result.stderr
    run = read_run(folder)
    assert len(run["images"]) == 12
    labels = [image["label"] for image in run["images"]]
    assert {labels.count(name) for name in set(labels)} == {4}
    assert (run["evaluation"]["images"], run["evaluation"]["classes"]) == (6, 3)
    assert "on 6 images held out by --val-fraction 0.34" in result.stderr
    _, again = fit(shared_photos, "--val-fraction", 0.34, output="again")
    assert read_run(again)["images"] == run["images"]
    assert "exclude each other" in refuse(
        shared_photos, "--val-fraction", 0.5, "--test", shared_photos
    )
    assert "0<x<1" in refuse(shared_photos, "--val-fraction", 1)


def test_no_class_is_held_out_whole():
    labels = [0] * 10 + [1] * 2 + [2]
    rows = held_out_rows(labels, 0.9, seed=1)
    assert [labels[row] for row in rows] == [0] * 9 + [1]
    assert rows == held_out_rows(labels, 0.9, seed=1)
    assert len(held_out_rows(labels, 0.01, seed=1)) == 2


def test_test_images_that_cannot_be_read(shared_photos, refuse, tmp_path):
    (tmp_path / "test" / "red_fox").mkdir(parents=True)
    (tmp_path / "test" / "red_fox" / "0.png").write_text("no picture")
    assert "none of the 1 images can be read" in refuse(shared_photos, "--test", tmp_path / "test")
