"""What only looks like an image must not stop a command, unless it is to be strict."""

import csv

import numpy as np
import pytest
from folders import write_photos
from hostile_files import write_hostile_files

from keras_cmm.data import EmbeddingSet
from keras_cmm_cli.terminal import visible
from keras_cmm_runtime.images.image_reading import image_name


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The photos, and among those of one class the hostile files with their reasons."""
    folder = write_photos(tmp_path_factory.mktemp("hostile") / "photos")
    return folder, write_hostile_files(folder / "red_fox" / "new")


def assert_all_are_named(stderr, reasons):
    lines = stderr.splitlines()
    for path, word in reasons.items():
        (line,) = [line for line in lines if f"Warning: left out: {image_name(path)}: " in line]
        assert word in line
    assert len(lines) - len(reasons) <= 3  # the notes of the command itself
    assert "Traceback" not in stderr


def test_embed(run, refused, hostile, tiny_preset, tmp_path):
    folder, reasons = hostile
    command = ("embed", folder, "--preset", tiny_preset, "--output")
    result = run(*command, tmp_path / "a.safetensors")
    assert result.exit_code == 0, result.output
    assert_all_are_named(result.stderr, reasons)
    data = EmbeddingSet.read(tmp_path / "a.safetensors")
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert np.bincount(labels).tolist() == [6, 6, 6]
    line = refused(*command, tmp_path / "b.safetensors", "--strict")
    assert any(f"Error: {image_name(path)}: " in line for path in reasons)
    assert not (tmp_path / "b.safetensors").exists()


def test_fit(run, refused, hostile, tiny_preset, tmp_path):
    folder, reasons = hostile
    command = ("fit", folder, "--preset", tiny_preset, "--shots", 6, "--epochs", 1, "--output")
    result = run(*command, tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert_all_are_named(result.stderr, reasons)
    assert "3 classes, 18 training images" in result.stdout
    line = refused(*command, tmp_path / "strict", "--strict")
    assert any(f"Error: {image_name(path)}: " in line for path in reasons)
    assert not (tmp_path / "strict").exists()


def test_predict(run, model_dir, hostile):
    folder, reasons = hostile
    result = run("predict", model_dir, folder, "--format", "csv", "--top-k", 1)
    assert result.exit_code == 0, result.output
    assert_all_are_named(result.stderr, reasons)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert sum(not row["error"] for row in rows) == 18
    found = {row["image"] for row in rows if row["error"]}
    assert found == {visible(str(path)) for path in reasons}
