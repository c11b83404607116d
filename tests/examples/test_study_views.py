import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from keras_cmm.data import DemoSet


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    return importlib.import_module("study_views")


def small_demo(classes=3, images=4):
    """The first pictures of the first classes."""
    demo = DemoSet.load()
    parts = {"class_names": demo.class_names[:classes]}
    for part in ("train", "test"):
        labels = getattr(demo, f"{part}_labels")
        rows = np.concatenate(
            [np.flatnonzero(labels == label)[:images] for label in range(classes)]
        )
        keys = getattr(demo, f"{part}_keys")
        parts |= {
            f"{part}_labels": labels[rows],
            f"{part}_images": getattr(demo, f"{part}_images")[rows],
            f"{part}_keys": tuple(keys[row] for row in rows),
        }
    return replace(demo, **parts)


def test_it_prints_both_tables(study, monkeypatch):
    demo = small_demo()
    monkeypatch.setattr(DemoSet, "load", lambda: demo)
    monkeypatch.setattr(study, "TIMED", 3)
    result = CliRunner().invoke(study.main, ["--shots", "2", "--views", "1", "--seeds", "1"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "| views | 2 shots |"
    titles = [line.split("|")[1].strip() for line in lines[2:6]]
    assert titles == ["no views", "training: 1", "test: 1", "training and test: 1"]
    for line in lines[2:6]:
        assert 0 <= float(line.split("|")[2].split()[0]) <= 100
    assert lines[7] == "| views | ms an image |"
    assert [line.split()[1] for line in lines[9:]] == ["0", "1"]


def test_the_mean_is_what_predict_takes(study):
    from keras_cmm import CMMImageClassifier

    demo = small_demo(2, 2)
    model = CMMImageClassifier.from_preset(study.PRESET, demo.class_names)
    rows = study.embeddings_of_views(model, demo.test_images, 2)
    np.testing.assert_allclose(
        study.mean_of(rows, 2), model.embed(demo.test_images, views=2), atol=1e-5
    )
