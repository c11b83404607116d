import importlib
import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from keras_cmm import CMMImageClassifier
from keras_cmm.export import Parity, export_classifier, parity
from keras_cmm.layers import CrossModalMapping
from keras_cmm_runtime import InputError, OnnxClassifier


def test_logits_and_probabilities_are_those_of_keras(classifier, onnx_file, pictures):
    exported = OnnxClassifier(onnx_file)
    expected = classifier.predict(pictures)
    np.testing.assert_allclose(exported.predict(pictures), expected, atol=1e-3)
    pixels = np.stack([exported.preprocessor.pixels(image) for image in pictures])
    session = onnxruntime.InferenceSession(onnx_file)
    for batch in (1, 5, 12):
        logits, probabilities = session.run(None, {"pixels": pixels[:batch]})
        np.testing.assert_allclose(logits, expected[:batch], atol=1e-3)
        keras_probabilities = keras.ops.convert_to_numpy(classifier.head.probabilities(logits))
        np.testing.assert_allclose(probabilities, keras_probabilities, atol=1e-6)


def test_what_the_file_says(classifier, onnx_file):
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model, full_check=True)
    (pixels,) = model.graph.input
    assert (pixels.name, pixels.type.tensor_type.elem_type) == ("pixels", onnx.TensorProto.UINT8)
    batch, *shape = pixels.type.tensor_type.shape.dim
    assert (batch.dim_param, [each.dim_value for each in shape]) == ("batch", [32, 32, 3])
    assert [output.name for output in model.graph.output] == ["logits", "probabilities"]
    (metadata,) = model.metadata_props
    description = json.loads(metadata.value)
    assert metadata.key == "keras_cmm"
    assert description["class_names"] == list(classifier.class_names)
    assert description["temperature"] == pytest.approx(1.7)
    assert description["preprocessing"]["image_size"] == 32
    assert len(description["digest"]) == 64


def test_pixels_are_normalised_to_the_bit(classifier, onnx_file):
    """The graph up to the products of the patches, against `ImagePreprocessor.normalize`."""
    model = onnx.load(onnx_file)
    first = next(node for node in model.graph.node if node.op_type == "MatMul")
    rows = onnx.helper.make_tensor_value_info(first.input[0], onnx.TensorProto.FLOAT, None)
    model.graph.output.append(rows)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run([first.input[0]], {"pixels": pixels})
    expected = classifier.embedder.preprocessor.normalize(pixels)
    expected = expected.reshape(2, 4, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(32, -1)
    np.testing.assert_array_equal(found, expected)


def test_the_digest_tells_classifiers_apart(classifier, onnx_file, tmp_path, tiny_preset):
    classifier.export(tmp_path / "again.onnx", verbose=False)
    again = OnnxClassifier(tmp_path / "again.onnx")
    assert again.model_digest == OnnxClassifier(onnx_file).model_digest
    other = CMMImageClassifier.from_preset(tiny_preset, classifier.class_names)
    other.export(tmp_path / "other.onnx", verbose=False)
    assert OnnxClassifier(tmp_path / "other.onnx").model_digest != again.model_digest


def test_the_head_alone(classifier, tmp_path):
    classifier.export(tmp_path / "head.onnx", part="head", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")
    embeddings = np.random.default_rng(0).normal(size=(5, 16)).astype("float32")
    logits, probabilities = session.run(None, {"embeddings": embeddings})
    np.testing.assert_allclose(logits, classifier.predict_embeddings(embeddings), atol=1e-3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    with pytest.raises(InputError, match="takes embeddings, not images"):
        OnnxClassifier(tmp_path / "head.onnx")


@pytest.mark.parametrize(
    "settings",
    [
        {"rank": 3},
        {"residual": False, "use_bias": True},
        {"normalize": False, "kernel_initializer": "glorot_uniform"},
    ],
)
def test_every_mapping_of_the_package(classifier, settings, pictures, tmp_path):
    from keras_cmm import CMMClassifier

    head = CMMClassifier(3, mapping=CrossModalMapping(**settings), alpha=0.7, clip_weight=0.4)
    model = CMMImageClassifier(
        classifier.backbone, classifier.class_names, classifier.preprocessor, head=head
    )
    for weight in head.mapping.weights:
        weight.assign(0.3 * keras.random.normal(weight.shape, seed=1))
    model.export(tmp_path / "model.onnx", verbose=False)
    found = OnnxClassifier(tmp_path / "model.onnx").predict(pictures)
    np.testing.assert_allclose(found, model.predict(pictures), atol=1e-3)


def test_a_mapping_of_ones_own_is_refused(classifier, tmp_path):
    from keras_cmm import CMMClassifier

    head = CMMClassifier(3, mapping=keras.layers.Dense(16))
    model = CMMImageClassifier(
        classifier.backbone, classifier.class_names, classifier.preprocessor, head=head
    )
    with pytest.raises(InputError, match="mapping of the class Dense"):
        model.export(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_differs_from_keras_is_refused(classifier, tmp_path, monkeypatch):
    module = importlib.import_module("keras_cmm.export.export_classifier")

    compared = module._compared

    def other(*arguments):
        inputs, expected = compared(*arguments)
        return inputs, expected + 0.1

    monkeypatch.setattr(module, "_compared", other)
    with pytest.raises(InputError, match="does not agree with Keras"):
        classifier.export(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_comparison_with_ones_own_pictures(classifier, pictures, tmp_path):
    found = export_classifier(classifier, tmp_path / "model.onnx", images=pictures)
    assert found.images == found.same_top_1 == 12
    assert 0 <= found.largest_difference < 1e-3


def test_parity_counts():
    expected = np.array([[0.0, 1.0], [2.0, 0.0]], "float32")
    found = parity.compare(expected + np.array([[0.5, 0], [0, 3]], "float32"), expected)
    assert found == Parity(2, 3.0, 1)
    with pytest.raises(InputError, match="not finite"):
        parity.compare(expected * np.nan, expected)


def test_where_it_cannot_be_written(classifier, tmp_path):
    with pytest.raises(InputError, match="its folder does not exist"):
        classifier.export(tmp_path / "absent" / "model.onnx")
    with pytest.raises(InputError, match="is a folder"):
        classifier.export(tmp_path.joinpath("a.onnx").mkdir() or tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="`input_signature` must be None"):
        classifier.export(tmp_path / "model.onnx", input_signature=[1])
    with pytest.raises(ValueError, match="`part` must be"):
        classifier.export(tmp_path / "model.onnx", part="tail")


def test_it_says_how_it_compares(classifier, tmp_path, capsys):
    classifier.export(tmp_path / "model.onnx")
    assert "same top-1 on 4 of 4" in capsys.readouterr().out


def test_weights_beside_a_file_that_would_be_too_large(classifier, pictures, tmp_path, monkeypatch):
    from keras_cmm.clip.graphs import onnx_graph

    monkeypatch.setattr(onnx_graph, "_LARGEST_FILE", 1000)
    classifier.export(tmp_path / "model.onnx", verbose=False)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model.onnx", "model.onnx.data"]
    found = OnnxClassifier(tmp_path / "model.onnx").predict(pictures)
    np.testing.assert_allclose(found, classifier.predict(pictures), atol=1e-3)


@pytest.mark.backend_neutral
def test_the_graph_is_the_same_on_every_backend(tiny_preset, tmp_path):
    model = CMMImageClassifier.from_preset(tiny_preset, ["cat", "dog"])
    model.export(tmp_path / "model.onnx", verbose=False)  # compares with this backend
    image = np.full((40, 40, 3), 90, "uint8")
    found = OnnxClassifier(tmp_path / "model.onnx").predict([image])
    np.testing.assert_allclose(found, model.predict([image]), atol=1e-3)
