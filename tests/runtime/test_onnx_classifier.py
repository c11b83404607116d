"""The classifier without Keras. What Keras says of the same pictures is in tests/export."""

import json
import os
import shutil
import threading

import numpy as np
import onnx
import pytest
from onnx_files import make_onnx

from keras_cmm_runtime import InputError, OnnxClassifier
from keras_cmm_runtime.images import ImagePreprocessor

RED = np.full((20, 30, 3), (250, 5, 5), "uint8")
GREEN = np.full((30, 20, 3), (5, 250, 5), "uint8")


@pytest.fixture
def path(tmp_path):
    return make_onnx(tmp_path / "classifier.onnx")


def test_answers(path):
    classifier = OnnxClassifier.load(path)
    assert classifier.class_names == ["red", "green", "blue"]
    logits = classifier.predict([RED, GREEN])
    assert (logits.shape, logits.dtype) == ((2, 3), np.float32)
    assert logits.argmax(axis=1).tolist() == [0, 1]
    probabilities = classifier.probabilities(logits)
    powers = np.exp(logits.astype("float64") / 2)
    np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1)[:, None], rtol=1e-5)
    ((first, second),) = classifier.classify([GREEN], top_k=2)
    assert first == ("green", float(probabilities[1, 1]))
    assert second[1] == float(np.sort(probabilities[1])[1])
    assert classifier.predict([]).shape == (0, 3)
    assert classifier.classify([]) == []


def test_unknown_images_and_sets(tmp_path):
    scores = {"best": [0.9] * 19, "own": [0.2] * 19}
    path = make_onnx(tmp_path / "classifier.onnx", change={"held_out": scores})
    classifier = OnnxClassifier.load(path)
    grey = np.full((20, 20, 3), 100, "uint8")
    (red,), (unknown,) = classifier.classify([RED, grey], top_k=1, reject=0.05)
    assert red[0] == "red"
    assert unknown == ("unknown", pytest.approx(2 / 3))
    red, unknown = classifier.predict_sets([RED, grey], coverage=0.9)
    assert [name for name, _ in red] == ["red"]
    assert [name for name, _ in unknown] == ["red", "green", "blue"]


@pytest.mark.parametrize(
    "scores", [[], {"best": [0.5]}, {"best": ["x"], "own": [1]}, {"best": [], "own": []}]
)
def test_damaged_scores(tmp_path, scores):
    path = make_onnx(tmp_path / "classifier.onnx", change={"held_out": scores})
    with pytest.raises(InputError, match="metadata are damaged"):
        OnnxClassifier.load(path)


def test_pixels_are_read_as_in_training(path, monkeypatch):
    """The session gets what `ImagePreprocessor.pixels` returns, which training embeds."""
    classifier = OnnxClassifier.load(path)
    seen = []
    monkeypatch.setattr(
        ImagePreprocessor,
        "pixels",
        lambda self, image: seen.append(image) or np.zeros((4, 4, 3), "u1"),
    )
    logits = classifier.predict([RED, GREEN])
    assert len(seen) == 2
    np.testing.assert_array_equal(logits[0], logits[1])


def test_batches_do_not_change_answers(path):
    classifier = OnnxClassifier.load(path, threads=1)
    images = [RED, GREEN] * 5
    for batch_size in (1, 3, 100):
        np.testing.assert_array_equal(
            classifier.predict(images, batch_size), classifier.predict(images)
        )


def test_images_are_read_a_few_batches_ahead(path, monkeypatch):
    classifier = OnnxClassifier.load(path)
    taken, most = 0, 0

    def images():
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield RED

    def predict_pixels(pixels):
        nonlocal most
        predicted.append(len(pixels))
        most = max(most, taken - sum(predicted))
        return np.zeros((len(pixels), 3), "float32")

    predicted = []
    monkeypatch.setattr(classifier, "predict_pixels", predict_pixels)
    classifier.predict(images(), batch_size=4)
    assert sum(predicted) == 100
    assert most <= 8


def test_an_image_that_cannot_be_read(path, tmp_path):
    classifier = OnnxClassifier.load(path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    images = [RED, tmp_path / "broken.png", GREEN]
    with pytest.raises(InputError, match=r"broken\.png"):
        classifier.predict(images)
    progress = []
    with pytest.warns(UserWarning, match=r"left out: .*broken\.png"):
        logits, rows = classifier.predict_readable(
            images, on_error="skip", progress=lambda *each: progress.append(each)
        )
    assert rows.tolist() == [0, 2]
    assert logits.argmax(axis=1).tolist() == [0, 1]
    assert progress == [(3, 3)]
    with pytest.raises(InputError, match="a single image"):
        classifier.predict(RED)
    with pytest.raises(ValueError, match="`on_error` must be"):
        classifier.predict_readable([], on_error="stop")


def test_many_threads(path):
    classifier = OnnxClassifier.load(path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype="uint8")
    expected = classifier.predict_pixels(pixels)
    wrong = []

    def ask():
        for _ in range(20):
            if not np.array_equal(classifier.predict_pixels(pixels), expected):
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), "uint8"),
        np.zeros((1, 4, 5, 3), "uint8"),
        np.zeros((1, 4, 4, 3), "float32"),
    ],
)
def test_pixels_of_another_form(path, pixels):
    with pytest.raises(InputError, match="`pixels` must be a uint8 array"):
        OnnxClassifier.load(path).predict_pixels(pixels)


def test_numbers_that_are_not_finite(tmp_path):
    classifier = OnnxClassifier.load(make_onnx(tmp_path / "nan.onnx", scale=np.nan))
    with pytest.raises(InputError, match="not finite"):
        classifier.predict([RED])


def test_files_that_are_not_ours(path, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        OnnxClassifier.load(tmp_path / "absent.onnx")
    with pytest.raises(InputError, match=r"has no classifier\.onnx"):
        OnnxClassifier.load(tmp_path.joinpath("empty").mkdir() or tmp_path / "empty")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="cannot be loaded by ONNX Runtime"):
        OnnxClassifier.load(tmp_path / "text.onnx")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cut\.onnx"):
        OnnxClassifier.load(tmp_path / "cut.onnx")
    with pytest.raises(InputError, match="is no classifier of keras-cmm"):
        OnnxClassifier.load(make_onnx(tmp_path / "foreign.onnx", description=None))
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match=r"pipe\.onnx"):
        OnnxClassifier.load(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": ["red"]},
        {"class_names": None},
        {"class_names": [1, 2, 3]},
        {"preprocessing": {"image_size": 5}},
        {"preprocessing": {"size": 4}},
        {"preprocessing": None},
        {"digest": None},
    ],
)
def test_damaged_metadata(tmp_path, change):
    path = make_onnx(tmp_path / "damaged.onnx", change=change)
    with pytest.raises(InputError, match=r"damaged\.onnx: its metadata are damaged"):
        OnnxClassifier.load(path)


def test_metadata_of_another_version(tmp_path):
    path = make_onnx(tmp_path / "new.onnx", change={"format": "keras-cmm-onnx/9"})
    with pytest.raises(InputError, match="has the format 'keras-cmm-onnx/9'"):
        OnnxClassifier.load(path)
    path = make_onnx(tmp_path / "zero.onnx", change={"temperature": 0})
    with pytest.raises(InputError, match="`temperature` must be"):
        OnnxClassifier.load(path)


@pytest.fixture
def folder(tmp_path):
    from keras_cmm_runtime.utils import write_digests

    folder = tmp_path / "model"
    folder.mkdir()
    make_onnx(folder / "classifier.onnx")
    (folder / "task.weights.h5").write_bytes(b"weights")
    write_digests(folder)
    return folder


def test_a_folder(folder):
    classifier = OnnxClassifier.load(folder)
    record = json.loads((folder / "keras_cmm.json").read_text())
    assert classifier.digest == record["digests"]["classifier.onnx"]


def test_a_folder_with_the_file_of_another_classifier(folder, tmp_path):
    make_onnx(folder / "classifier.onnx", scale=2)
    with pytest.raises(InputError, match="is of another classifier than the folder"):
        OnnxClassifier.load(folder)


def test_a_folder_whose_head_has_changed(folder):
    (folder / "task.weights.h5").write_bytes(b"others")
    with pytest.raises(InputError, match=r"task\.weights\.h5: has changed"):
        OnnxClassifier.load(folder)


def test_the_file_alone_is_enough(folder, tmp_path):
    """On the machine that predicts: the file with the record, without it, or by itself."""
    (folder / "task.weights.h5").unlink()
    OnnxClassifier.load(folder)
    (folder / "keras_cmm.json").unlink()
    OnnxClassifier.load(folder)
    shutil.copy(folder / "classifier.onnx", tmp_path / "renamed.onnx")
    OnnxClassifier.load(tmp_path / "renamed.onnx")


def test_onnx_files_are_valid(path):
    onnx.checker.check_model(onnx.load(path), full_check=True)
