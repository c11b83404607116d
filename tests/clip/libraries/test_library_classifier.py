"""A classifier on a model that OpenCLIP runs: the same in all its files."""

import json

import keras
import numpy as np
import pytest
from fixtures.varied_images import varied_images
from open_clip_folders import import_or_skip, make_folder

import_or_skip("open_clip")
torch = import_or_skip("torch")

from keras_cmm import CMMImageClassifier, clip  # noqa: E402
from keras_cmm_runtime.errors import InputError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*the labels of .* hold")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("clipa"), "clipa")


@pytest.fixture(scope="module")
def pictures():
    return [picture.convert("RGB") for picture in varied_images()[:8]]


@pytest.fixture(scope="module")
def classifier(folder, pictures):
    model = CMMImageClassifier.from_preset(folder, class_names=["cat", "dog"])
    model.fit(pictures, ["cat", "dog"] * 4, epochs=2, verbose=0)
    return model


def test_presets_and_keras_files(classifier, pictures, tmp_path):
    expected = classifier.predict(pictures)
    classifier.save_to_preset(tmp_path / "preset")
    classifier.save(tmp_path / "model.keras")
    classifier.save_head(tmp_path / "head.safetensors")
    for again in (
        CMMImageClassifier.from_preset(tmp_path / "preset"),
        keras.models.load_model(tmp_path / "model.keras"),
        CMMImageClassifier.load_head(tmp_path / "head.safetensors"),
    ):
        np.testing.assert_array_equal(again.predict(pictures), expected)
        # The tokenizer was saved too.
        again.add_class("fox", pictures[:1])
        assert again.predict(pictures).shape == (8, 3)


def test_weights_share_the_memory_of_the_module(folder):
    backbone = clip.load(folder).backbone
    before = backbone.get_vision_embeddings(torch.ones(1, 32, 32, 3))
    encoder = clip.KerasHubEncoder(clip.load(folder))
    old = encoder.digest()
    for weight in encoder.clip_model.backbone.weights:
        weight.assign(weight * 1.5)
    assert encoder.digest()["weights"] != old["weights"]
    after = encoder.clip_model.backbone.get_vision_embeddings(torch.ones(1, 32, 32, 3))
    assert not torch.allclose(before, after)


def test_nothing_of_the_backbone_is_trained(classifier):
    assert not classifier.backbone.trainable_weights
    assert not any(each.requires_grad for each in classifier.backbone.tower.module.parameters())


def test_a_weight_that_is_no_number(folder, tmp_path):
    model = clip.load(folder)
    model.backbone.weights[0].assign(model.backbone.weights[0] * np.nan)
    with pytest.raises(InputError, match="not all finite"):
        clip.check_finite_weights(model.backbone, "x")


def test_other_dtypes(folder, pictures):
    exact = clip.ImageEmbedder(clip.load(folder)).embed(pictures).embeddings
    for dtype, allowed in (("bfloat16", 0.05), ("mixed_bfloat16", 0.05)):
        model = clip.load(folder, dtype=dtype)
        embeddings = clip.ImageEmbedder(model).embed(pictures).embeddings
        assert 0 < np.abs(embeddings - exact).max() < allowed


def write(folder, path, **changes):
    content = json.loads((folder / "open_clip_config.json").read_text())
    for section, settings in changes.items():
        content["model_cfg"][section] |= settings
    path.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    (path / "open_clip_config.json").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_cfg": {"width": 80}}, "do not belong together"),
        ({"vision_cfg": {"layers": 900}}, "layers=900"),
        ({"vision_cfg": {"layers": 10**9}}, "layers=1000000000"),
        ({"text_cfg": {"vocab_size": 10**12}}, "vocab_size=1000000000000"),
        ({"text_cfg": {"layers": 1}}, "tensors that its config does not have"),
        ({"vision_cfg": {"image_size": [32, 64]}}, "square"),
        ({"vision_cfg": {"unheard_of": 3}}, "of a newer OpenCLIP"),
        ({"text_cfg": {"tokenizer_kwargs": {"reduction_mask": "random"}}}, "reduction_mask"),
    ],
)
def test_configs_that_do_not_fit(folder, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        clip.load(write(folder, tmp_path / "model", **changes))


def test_a_folder_without_its_tokenizer(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = write(folder, tmp_path / "model", text_cfg={"hf_tokenizer_name": "none/such"})
    for name in ("tokenizer.json", "vocab.txt"):
        (path / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"has no files of its tokenizer, 'none/such'"):
        clip.load(path)
