import json
import shutil
import tarfile

import keras
import numpy as np
import pytest
import torch
from fixtures.varied_images import model_images, varied_images
from paths import FIXTURES
from safetensors.torch import load_file, save_file

import keras_cmm
from keras_cmm import clip
from keras_cmm.export import export_classifier
from keras_cmm_runtime import InputError, OnnxClassifier

RECORDED = FIXTURES / "open_clip"
WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model as OpenCLIP saves it."""
    path = tmp_path_factory.mktemp("resnet")
    with tarfile.open(RECORDED / "resnet_quick_gelu.tar.xz") as archive:
        archive.extractall(path, filter="data")
    return path


@pytest.fixture(scope="module")
def backbone(folder):
    return clip.load(folder).backbone


@pytest.fixture
def damaged(folder, tmp_path):
    """The tensors of a copy, and a function that writes them with other settings."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(folder / WEIGHTS)

    def write(**vision_settings):
        save_file(weights, tmp_path / WEIGHTS)
        config = json.loads((folder / CONFIG).read_text())
        config["model_cfg"]["vision_cfg"].update(vision_settings)
        (tmp_path / CONFIG).write_text(json.dumps(config))
        return tmp_path

    return weights, write


def embeddings(backbone):
    size = backbone.vision_encoder.image_shape[0]
    images = keras.ops.convert_to_tensor(model_images(3, size))
    rows = keras.ops.cast(backbone.get_vision_embeddings(images), "float32")
    return keras.ops.convert_to_numpy(rows)


def normalized(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_openai_state_dict(folder, backbone, tmp_path):
    # OpenAI's files have three numbers among the tensors, and no config.
    sizes = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
    numbers = {name: torch.tensor(size) for name, size in sizes.items()}
    torch.save(load_file(folder / WEIGHTS) | numbers, tmp_path / "RN.pt")
    loaded = clip.load(tmp_path / "RN.pt")
    np.testing.assert_array_equal(embeddings(loaded.backbone), embeddings(backbone))
    assert loaded.image_converter.image_size == (64, 64)


def test_preset(folder, backbone, tmp_path):
    clip.save_preset(clip.load(folder), tmp_path)
    loaded = clip.load(tmp_path)
    np.testing.assert_array_equal(embeddings(loaded.backbone), embeddings(backbone))
    assert clip.logit_scale(loaded.backbone) == clip.logit_scale(backbone)


def test_classifier(folder, backbone, tmp_path):
    images, labels = varied_images()[:8], [0, 1] * 4
    model = keras_cmm.CMMImageClassifier.from_preset(folder, class_names=["cat", "dog"])
    before = model.embed(images)
    model.fit(images, labels, epochs=3, verbose=0)
    # The statistics of its batch normalisation must not change either.
    np.testing.assert_array_equal(model.embed(images), before)
    expected = model.predict(images)
    model.save_to_preset(str(tmp_path / "preset"))
    loaded = keras_cmm.CMMImageClassifier.from_preset(tmp_path / "preset")
    np.testing.assert_allclose(loaded.predict(images), expected, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(images), expected, rtol=1e-5)


def test_bfloat16(folder, backbone):
    loaded = clip.load(folder, dtype="bfloat16").backbone
    assert loaded.vision_encoder.get_layer("stage_3_block_0_2_conv").compute_dtype == "bfloat16"
    cosines = np.sum(normalized(embeddings(loaded)) * normalized(embeddings(backbone)), axis=1)
    assert 0.999 < cosines.min() < 1 - 1e-7


def test_missing_tensor(damaged):
    weights, write = damaged
    del weights["visual.layer3.0.bn2.running_var"]
    with pytest.raises(InputError, match=r"no tensor 'visual\.layer3\.0\.bn2\.running_var'"):
        clip.load(write())


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_missing_part_of_the_projection(damaged, part):
    weights, write = damaged
    del weights[f"visual.attnpool.c_proj.{part}"]
    with pytest.raises(InputError, match=r"visual\.attnpool\.c_proj"):
        clip.load(write())


def test_tensor_of_no_layer(damaged):
    weights, write = damaged
    weights["visual.layer1.0.se.weight"] = torch.zeros(3)
    with pytest.raises(InputError, match=r"'visual\.layer1\.0\.se\.weight'"):
        clip.load(write())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": [1, 1, 1]}, "must be four ints"),
        ({"layers": [1, 1, 1, 0]}, r"vision_cfg\.layers\[3\]=0"),
        ({"layers": [1, 1, 1, 2]}, r"no tensor 'visual\.layer4\.1"),
        ({"layers": [1, 1, 1, 1], "image_size": 72}, "image_shape"),
        ({"image_size": 96}, r"positional_embedding.*shape"),
        ({"width": 8}, r"'visual\.layer1\.0\.bn1\.weight' has the shape"),
    ],
)
def test_config_of_another_model(damaged, settings, message):
    _, write = damaged
    with pytest.raises(InputError, match=message):
        clip.load(write(**settings))


def test_the_classifier_is_exported(folder, tmp_path):
    classifier = keras_cmm.CMMImageClassifier.from_preset(folder, ["cat", "dog"])
    classifier.export(tmp_path / "model.onnx", verbose=False)
    images = varied_images()[:3]
    exported = OnnxClassifier(tmp_path / "model.onnx").predict(images)
    np.testing.assert_allclose(exported, classifier.predict(images), atol=1e-3)
    parity = export_classifier(classifier, tmp_path / "model.pt2", "torch", images=images)
    assert parity.same_top_1 == len(images)
