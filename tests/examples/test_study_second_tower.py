import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from make_embeddings import make_embeddings

from keras_cmm.data import DemoSet, EmbeddingSet


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    return importlib.import_module("study_second_tower")


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    return importlib.import_module("train_second_encoder")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_halves_hold_all_of_clip_and_nothing_twice(study):
    data = make_embeddings()
    half = study.halves(data)
    second = half.further(study.NAME)
    assert half.train_embeddings.shape[1] == second.dim == data.train_embeddings.shape[1] // 2
    both = np.concatenate([half.test_embeddings, second.test], axis=1)
    rows = unit(data.test_embeddings.astype("float32"))
    np.testing.assert_allclose(both @ both.T, rows @ rows.T, atol=1e-5)
    assert half.keys("train") == data.keys("train")


def test_rows_of_other_images_are_the_same_rows(study):
    half = study.halves(make_embeddings())
    before = half.further(study.NAME).train
    after = study.of_other_images(half, study.NAME).further(study.NAME).train
    np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert (before != after).any(axis=1).mean() > 0.9


def test_it_prints_a_table(study, tmp_path):
    path = tmp_path / "generated.safetensors"
    data = make_embeddings()
    study.with_synthetic_rows(data).write(path)
    options = [str(path), "--shots", "2", "--seeds", "1"]
    rows = ["--only", "CLIP alone", "--only", "CLIP and second"]
    result = CliRunner().invoke(study.main, [*options, *rows, "--also", study.NAME])
    assert result.exit_code == 0
    _, head, _, alone, both = result.stdout.splitlines()
    assert head == "| generated | 2 shots |"
    assert alone.startswith("| CLIP alone | ")
    assert both.startswith("| CLIP and second | ")
    top_1 = [float(line.split("|")[2].split()[0]) for line in (alone, both)]
    assert top_1[1] > top_1[0]


def test_the_encoder_is_trained_and_embeds_the_demo(training, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "BATCH", 8)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "pictures.npy", rng.integers(0, 256, (24, 64, 64, 4), dtype="uint8"))
    records = [{"role": f"role {number % 12}"} for number in range(24)]
    roles = [
        {"code": f"role {number}", "people": number < 6, "flip": number % 2 == 0}
        for number in range(12)
    ]
    (tmp_path / "pictures.json").write_text(json.dumps({"records": records, "roles": roles}))
    options = ["--dir", str(tmp_path)]
    runner = CliRunner()
    result = runner.invoke(training.main, [*options, "train", "--minutes", "0.01"])
    assert result.exit_code == 0, result.output
    assert "steps, loss" in result.output
    demo = DemoSet.load()
    data = EmbeddingSet(
        train_embeddings=rng.normal(size=(len(demo.train_labels), 4)),
        train_labels=demo.train_labels,
        test_embeddings=rng.normal(size=(len(demo.test_labels), 4)),
        test_labels=demo.test_labels,
        text_embeddings=rng.normal(size=(len(demo.class_names), 4)),
        class_names=list(demo.class_names),
        dataset="demo",
        backbone="made up",
    )
    path, output = tmp_path / "demo.safetensors", tmp_path / "two.safetensors"
    data.write(path)
    result = runner.invoke(training.main, [*options, "embed", str(path), str(output)])
    assert result.exit_code == 0, result.output
    rows = EmbeddingSet.read(output).further(training.NAME)
    assert rows.train.shape == (len(demo.train_labels), training.DIM)
    assert np.asarray(rows.train).std(axis=0).max() > 0
    make_embeddings().write(path)
    result = runner.invoke(training.main, [*options, "embed", str(path), str(output)])
    assert "is not the demo's file of embeddings" in result.output
