"""Files that released versions wrote open, and answer as they did."""

import json
import tarfile

import keras
import numpy as np
import pytest
from paths import PROJECT
from refusals import refusal

from keras_cmm import CMMImageClassifier
from keras_cmm.data import EmbeddingSet, FewShotSample
from keras_cmm_runtime import OnnxClassifier

ARCHIVES = sorted((PROJECT / "tests" / "fixtures" / "released").glob("*.tar.xz"))
# What float32 gives on other processors.
CLOSE = {"rtol": 1e-4, "atol": 1e-3}


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def released(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(released):
    return json.loads((released / "expected.json").read_text())


@pytest.fixture(scope="module")
def pictures(released):
    return sorted((released / "pictures").rglob("*.png"))


def test_there_is_one_of_each_version():
    assert "0.1.0.tar.xz" in {path.name for path in ARCHIVES}


def test_image_classifiers(released, expected, pictures, monkeypatch):
    monkeypatch.chdir(released)
    models = {
        "keras": keras.saving.load_model(released / "image_classifier.keras"),
        "preset": CMMImageClassifier.from_preset(released / "saved"),
    }
    models["weights"] = CMMImageClassifier.from_preset(
        released / "preset", ["ant", "bee", "red fox"], template="a {}."
    )
    models["weights"].load_weights(released / "image_classifier.weights.h5")
    if (released / "head.safetensors").is_file():
        models["head"] = CMMImageClassifier.load_head(released / "head.safetensors")
    for name, model in models.items():
        assert model.class_names == ("ant", "bee", "red fox")
        logits = model.predict(pictures)
        np.testing.assert_allclose(logits, expected["image_classifier"], **CLOSE, err_msg=name)


def test_models_of_fit(released, expected, pictures):
    model = CMMImageClassifier.from_preset(released / "fitted")
    np.testing.assert_allclose(model.predict(pictures), expected["fitted"], **CLOSE)
    sample = json.loads((released / "fitted" / "few_shot_indices.json").read_text())
    assert len(sample["indices"]) == 6
    if (released / "fitted" / "classifier.onnx").is_file():
        quick = OnnxClassifier.load(released / "fitted")
        np.testing.assert_allclose(quick.predict(pictures), expected["fitted"], **CLOSE)


def test_a_draw_of_fit(released, pictures):
    labels = np.repeat(np.arange(3), 2)
    keys = [f"{path.parent.name}/{path.name}" for path in pictures]
    sample = FewShotSample.load(
        released / "fitted" / "few_shot_indices.json", labels=labels, keys=keys
    )
    assert sorted(sample.indices) == list(range(6))


def test_classifiers_on_embeddings(released, expected):
    rows = np.load(released / "rows.npy")
    model = keras.saving.load_model(released / "classifier.keras")
    logits = model.predict(rows, verbose=0)
    np.testing.assert_allclose(logits, expected["classifier"], **CLOSE)
    data = EmbeddingSet.read(released / "embeddings.safetensors")
    assert data.class_names == ["ant", "bee", "red fox"]
    np.testing.assert_allclose(data.train_embeddings, rows, atol=2e-3)


def test_one_that_is_cut_off_is_told_in_one_line(released, tmp_path):
    (tmp_path / "task.json").write_text((released / "saved" / "task.json").read_text()[:-9])
    for name in ("config.json", "task.weights.h5"):
        (tmp_path / name).write_bytes((released / "saved" / name).read_bytes())
    assert "is damaged" in refusal(CMMImageClassifier.from_preset, tmp_path)
