"""The commands with a SigLIP folder that transformers saved."""

import csv

import numpy as np
import pytest
from transformers_families import save_siglip

from keras_cmm import CMMImageClassifier
from keras_cmm_runtime import OnnxClassifier

# keras-hub does not close the file of the vocabulary.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    save_siglip(folder)
    return folder


def test_fit_predict_and_export(run, siglip_folder, shared_photos, tmp_path):
    model, exported = tmp_path / "model", tmp_path / "model.onnx"
    fitted = run("fit", shared_photos, "--preset", siglip_folder, "--shots", 2, "--output", model)
    assert fitted.exit_code == 0, fitted.output
    paths = sorted(map(str, shared_photos.rglob("*.png")))[:3]
    predicted = run("predict", model, *paths, "--top-k", 1, "--format", "csv")
    assert predicted.exit_code == 0, predicted.output
    rows = list(csv.DictReader(predicted.stdout.splitlines()))
    classifier = CMMImageClassifier.from_preset(model)
    expected = classifier.predict(paths)
    names = np.array(classifier.class_names)[expected.argmax(axis=1)]
    assert [row["class"] for row in rows] == names.tolist()
    result = run("export", model, "--output", exported)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(OnnxClassifier(exported).predict(paths), expected, atol=1e-3)


def test_convert(run, siglip_folder, tmp_path):
    result = run("convert", siglip_folder, tmp_path / "preset")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'preset'}: SigLIPBackbone, ")
    assert result.stdout.endswith("images of 48 x 48 pixels, embeddings of 24\n")
