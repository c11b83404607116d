import json
import re

import keras
import numpy as np
import pytest
from paths import PROJECT
from pictures import NAMES, make_images
from refusals import refusal
from safetensors import safe_open
from safetensors.numpy import save_file
from tiny_clip import make_tiny_preset

from keras_cmm import CMMClassifier, CMMImageClassifier, clip
from keras_cmm.layers import CrossModalMapping


@pytest.fixture(scope="module")
def head_file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head.safetensors"
    trained.save_head(path)
    return path


def read(path):
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["keras_cmm"])
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118


def numpy_of_the_docs(x):
    """Runs what docs/sharing.md says, in a folder with the file."""
    text = (PROJECT / "docs" / "sharing.md").read_text()
    (code,) = (
        each for each in re.findall(r"```python\n(.*?)```", text, re.S) if "safe_open" in each
    )
    names = {"x": x}
    exec(code, names)
    return names


def test_it_predicts_the_same_and_is_small(trained, head_file, tiny_preset, tmp_path):
    images, labels = make_images()
    trained.save(tmp_path / "model.keras")
    assert head_file.stat().st_size < (tmp_path / "model.keras").stat().st_size / 5
    again = CMMImageClassifier.load_head(head_file)
    np.testing.assert_array_equal(again.predict(images), trained.predict(images))
    assert again.classify(images) == trained.classify(images)
    assert again.class_names == tuple(NAMES)
    assert again.template == trained.template
    np.testing.assert_array_equal(again.head.mapped_centre, trained.head.mapped_centre)
    np.testing.assert_array_equal(again.head.held_out_scores.own, trained.head.held_out_scores.own)
    np.testing.assert_array_equal(
        again.head.held_out_scores.best, trained.head.held_out_scores.best
    )
    # And goes on training from where it was.
    assert again.head.is_trained
    again.fit(images, labels, epochs=1, verbose=0)
    assert type(again.recipe_) is type(trained.recipe_)


def test_numpy_gives_the_same_logits(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained.save_head("my_model.safetensors")
    images = make_images()[0]
    found = numpy_of_the_docs(trained.embed(images))
    np.testing.assert_allclose(found["logits"], trained.predict(images), atol=1e-4)
    assert found["names"] == [best[0][0] for best in trained.classify(images, top_k=1)]
    about = found["about"]
    assert about["class_names"] == NAMES
    again = clip.ImagePreprocessor(**about["preprocessing"])
    assert vars(again) == vars(trained.embedder.preprocessor)


def test_all_settings_of_a_head_of_ones_own(tiny_preset, tmp_path):
    head = CMMClassifier(
        3,
        mapping=CrossModalMapping(rank=2, use_bias=True, residual=False),
        alpha=0.5,
        clip_weight=0.25,
        triplet_weight=0.75,
        train_temperature=2.0,
        train_prototypes=False,
    )
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head, template="a {}.")
    head.mapping.bias.assign(np.linspace(-1, 1, 16))
    head.temperature, head.train_offsets = 1.5, [1.0, 2.0, 3.0]
    head.triplet_loss.duplicate_groups = [[0, 2]]
    model.save_head(tmp_path / "head.safetensors")
    again = CMMImageClassifier.load_head(tmp_path / "head.safetensors")
    images, _ = make_images()
    np.testing.assert_array_equal(again.predict(images), model.predict(images))
    config, expected = again.head.get_config(), model.head.get_config()
    for name in ("mapping", "name", "dtype"):
        config.pop(name), expected.pop(name)
    assert config == expected
    assert again.head.triplet_loss.duplicate_groups == [[0, 2]]
    np.testing.assert_array_equal(again.head.train_offsets, [1.0, 2.0, 3.0])
    assert not again.head.is_trained
    assert again._head_was_given


def test_the_backbone_may_be_elsewhere(trained, tiny_model, tiny_preset, tmp_path):
    trained.save_head(tmp_path / "head.safetensors", backbone="no_such_preset")
    load = CMMImageClassifier.load_head
    line = refusal(load, tmp_path / "head.safetensors")
    assert "its backbone cannot be loaded: the preset 'no_such_preset'" in line
    assert "Say by `backbone` where it is now" in line
    images, _ = make_images()
    for backbone in (tiny_preset, tiny_model):
        again = load(tmp_path / "head.safetensors", backbone=backbone)
        np.testing.assert_array_equal(again.predict(images), trained.predict(images))


def test_another_backbone_is_refused(head_file, tmp_path):
    other = make_tiny_preset(tmp_path / "other", seed=1)
    line = refusal(CMMImageClassifier.load_head, head_file, other)
    assert f"was trained on another backbone than {other}, whose weights differ" in line
    assert "in float32" in line


def test_other_preprocessing_is_refused(head_file, tiny_preset, tmp_path):
    tensors, about = read(head_file)
    about["preprocessing"]["mean"] = [0.5, 0.5, 0.5]
    save_file(tensors, tmp_path / "other.safetensors", {"keras_cmm": json.dumps(about)})
    line = refusal(CMMImageClassifier.load_head, tmp_path / "other.safetensors")
    assert "preprocessed in another way" in line


def test_the_name_of_the_backbone_outlives_other_files(trained, tiny_preset, tmp_path):
    trained.save_to_preset(tmp_path / "folder")
    trained.save(tmp_path / "model.keras")
    for number, again in enumerate(
        (
            CMMImageClassifier.from_preset(tmp_path / "folder"),
            keras.saving.load_model(tmp_path / "model.keras"),
        )
    ):
        again.save_head(tmp_path / f"{number}.safetensors")
        _, about = read(tmp_path / f"{number}.safetensors")
        assert about["backbone"]["preset"] == str(tiny_preset)


def test_a_backbone_without_a_name(tiny_model, trained, tmp_path):
    model = CMMImageClassifier(tiny_model.backbone, NAMES, clip.make_preprocessor(tiny_model))
    model.save_head(tmp_path / "head.safetensors")
    line = refusal(CMMImageClassifier.load_head, tmp_path / "head.safetensors")
    assert "does not name its backbone; give it by `backbone`" in line


def test_a_mapping_of_ones_own_is_refused(tiny_preset, tmp_path):
    head = CMMClassifier(3, mapping=keras.layers.Dense(16))
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    line = refusal(model.save_head, tmp_path / "head.safetensors")
    assert "if its `mapping` is a `CrossModalMapping`. Received: a Dense" in line
    assert list(tmp_path.iterdir()) == []


def change(about, name, value):
    part, _, key = name.rpartition(".")
    (about[part] if part else about)[key] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", "keras-cmm-head/9", "reads 'keras-cmm-head/1'"),
        ("class_names", ["ant"], "is damaged"),
        ("class_names", ["a", "b", "c", "d"], "its tensors are not those of its settings"),
        ("mapping.rank", 3, "its tensors are not those of its settings"),
        ("settings.alpha", -1, "is damaged"),
        ("settings.more", 1, "is damaged"),
        ("settings.dtype", "float1", "is damaged"),
        ("triplet_loss.duplicate_groups", [[0, 9]], "is damaged"),
        ("backbone.preset", 3, "is damaged"),
        ("prompts", {}, "is damaged"),
        ("settings", None, "is damaged"),
        ("more", None, "is damaged"),
    ],
)
def test_damaged_metadata(name, value, message, head_file, tiny_model, tmp_path):
    tensors, about = read(head_file)
    change(about, name, value)
    path = tmp_path / "damaged.safetensors"
    save_file(tensors, path, {"keras_cmm": json.dumps(about)})
    assert message in refusal(CMMImageClassifier.load_head, path, tiny_model)


def test_damaged_files(head_file, tiny_model, tmp_path):
    path = tmp_path / "damaged.safetensors"
    load = CMMImageClassifier.load_head
    path.write_bytes(head_file.read_bytes()[:-9])
    assert "is no safetensors file" in refusal(load, path, tiny_model)
    tensors, about = read(head_file)
    save_file(tensors, path)
    assert "is no head of keras-cmm" in refusal(load, path, tiny_model)
    tensors["prototypes"][0, 0] = np.nan
    save_file(tensors, path, {"keras_cmm": json.dumps(about)})
    assert "does not hold finite numbers" in refusal(load, path, tiny_model)
    assert "is no safetensors file" in refusal(load, tmp_path / "absent", tiny_model)
