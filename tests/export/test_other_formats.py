import json

import numpy as np
import onnx
import pytest

from keras_cmm.export import export_classifier
from keras_cmm.export.torch_program import OnnxModule
from keras_cmm_runtime import InputError, OnnxClassifier


@pytest.fixture
def pixels(classifier, pictures):
    return np.stack([classifier.embedder.preprocessor.pixels(image) for image in pictures])


def test_torch(classifier, pictures, pixels, tmp_path):
    torch = pytest.importorskip("torch")
    found = export_classifier(classifier, tmp_path / "model.pt2", "torch", images=pictures)
    assert found.same_top_1 == 12
    extra = {"keras_cmm": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert json.loads(extra["keras_cmm"])["class_names"] == list(classifier.class_names)
    expected = classifier.predict(pictures)
    for batch in (1, 5):
        logits, probabilities = program.module()(torch.tensor(pixels[:batch]))
        np.testing.assert_allclose(logits.numpy(), expected[:batch], atol=1e-3)
        np.testing.assert_allclose(probabilities.sum(dim=1).numpy(), 1, rtol=1e-5)


def test_openvino(classifier, pictures, pixels, tmp_path):
    openvino = pytest.importorskip("openvino")
    found = export_classifier(classifier, tmp_path / "model.xml", "openvino", images=pictures)
    assert found.same_top_1 == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    model = openvino.Core().read_model(tmp_path / "model.xml")
    description = json.loads(model.get_rt_info(["keras_cmm"]).astype(str))
    assert description["class_names"] == list(classifier.class_names)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = classifier.predict(pictures)
    for batch in (1, 5):
        logits = compiled(pixels[:batch])["logits"]
        np.testing.assert_allclose(logits, expected[:batch], atol=1e-3)


def test_int8(classifier, onnx_file, pictures, tmp_path):
    path = tmp_path / "small.onnx"
    found = export_classifier(classifier, path, int8=True, images=pictures)
    assert found.images == 12
    assert found.largest_difference > 1e-3  # It is another classifier, if a similar one.
    small, whole = OnnxClassifier(path), OnnxClassifier(onnx_file)
    assert small.class_names == whole.class_names
    assert sorted(each.name for each in tmp_path.iterdir()) == ["small.onnx"]
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "MatMulInteger" in kinds
    differences = small.predict(pictures) - whole.predict(pictures)
    assert np.abs(differences).max() == pytest.approx(found.largest_difference, rel=0.05)


def test_int8_is_of_onnx(classifier, tmp_path):
    with pytest.raises(InputError, match='`int8` is for the format "onnx" alone'):
        classifier.export(tmp_path / "model.pt2", format="torch", int8=True)
    with pytest.raises(InputError, match="the head stays float32"):
        classifier.export(tmp_path / "model.onnx", part="head", int8=True)


def test_names_of_files(classifier, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.pt2"):
        classifier.export(tmp_path / "model.onnx", format="torch")


def test_litert_says_what_it_needs(classifier, tmp_path):
    try:
        import litert_torch  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="needs litert-torch"):
            classifier.export(tmp_path / "model.tflite", format="litert")
        assert list(tmp_path.iterdir()) == []
    else:
        pytest.skip("litert-torch is installed")


def test_openvino_says_what_it_needs(classifier, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(InputError, match=r"pip install \"keras-cmm\[openvino\]\""):
        classifier.export(tmp_path / "model.xml", format="openvino")


def test_the_module_has_every_operation_of_the_graphs(onnx_file, pixels):
    torch = pytest.importorskip("torch")
    module = OnnxModule(onnx.load(onnx_file))
    logits, _ = module(torch.tensor(pixels))
    np.testing.assert_allclose(
        logits.numpy(), OnnxClassifier(onnx_file).predict_pixels(pixels), atol=1e-3
    )


def test_other_formats_are_keras_own(classifier, tmp_path, monkeypatch):
    import keras

    seen = []
    monkeypatch.setattr(keras.Model, "export", lambda self, *arguments: seen.append(arguments))
    classifier.export(tmp_path / "saved", format="tf_saved_model")
    assert seen == [(tmp_path / "saved", "tf_saved_model", None, None)]
