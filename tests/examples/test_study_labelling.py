"""The two studies of docs/labelling.md, on a small set."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from make_embeddings import make_embeddings


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "generated.safetensors"
    make_embeddings().write(path)
    return path


@pytest.fixture
def studies(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    pytest.importorskip("cleanlab")
    return [importlib.import_module(name) for name in ("study_suggest", "study_audit")]


def test_labels_saved_are_those_at_equal_accuracy(studies):
    study, _ = studies
    at_random = np.array([50.0, 60.0, 70.0, 75.0, 80.0])
    # Twice as fast: it is at 80 after two labels a class, half of four.
    faster = np.array([60.0, 70.0, 80.0, 82.0, 85.0])
    assert study.saved(study.BUDGETS, faster, at_random, 40.0) == 50.0
    assert study.saved(study.BUDGETS, at_random, at_random, 40.0) == 0.0
    assert study.saved(study.BUDGETS, at_random - 1, at_random, 40.0) == 0.0


def test_suggestions_are_compared(studies, file, monkeypatch):
    study, _ = studies
    monkeypatch.setattr(study, "BUDGETS", (0.5, 1.0))
    data = make_embeddings()
    pool, others = study.split_pool(data, seed=1)
    assert sorted([*pool, *others]) == list(range(len(data.train_labels)))
    assert set(np.bincount(data.train_labels[others]).tolist()) == {8}
    result = CliRunner().invoke(
        study.main, [str(file), "--draws", "1", "--strategy", "cover"], catch_exceptions=False
    )
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("| cover")]
    assert len(lines) == 4
    for asked in ("other train rows", "test rows"):
        assert f"| generated, {asked} | 0.5 a class | 1 a class | saved % |" in result.stdout


def test_changed_labels_are_looked_for(studies, file):
    _, study = studies
    data = make_embeddings()
    for how in ("random", "alike"):
        labels = study.changed_labels(data, 0.1, how, seed=1)
        assert (labels != data.train_labels).sum() == round(0.1 * len(labels))
    assert study.precision_and_recall(np.array([1, 1, 0], bool), np.array([1, 0, 0], bool)) == (
        50.0,
        100.0,
    )
    result = CliRunner().invoke(study.main, [str(file), "--draws", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    (found,) = [line for line in result.stdout.splitlines() if "confident learning" in line]
    assert len(found.split("|")) == 9
