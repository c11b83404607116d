"""A model that is not whole must not answer."""

import shutil

import h5py
import numpy as np
import pytest
from pictures import NAMES, make_images

from keras_cmm import CMMClassifier, CMMImageClassifier, InputError, clip

FILES = [
    "config.json",
    "image_converter.json",
    "model.weights.h5",
    "preprocessor.json",
    "task.json",
    "task.weights.h5",
    "tokenizer.json",
    "assets/tokenizer/merges.txt",
    "assets/tokenizer/vocabulary.json",
]


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained.save_to_preset(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the saved classifier, which a test may damage."""
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def old_folder(folder):
    """Such a copy without digests, as earlier versions and keras-hub write it."""
    (folder / "keras_cmm.json").unlink()
    return folder


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def datasets(path):
    found = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) else None
        )
    return found


def test_every_file_is_recorded(saved):
    from keras_cmm_runtime.utils import read_digests

    names = {*FILES, "metadata.json", "keras_cmm.json", "support_images.safetensors"}
    assert set(read_digests(saved)) == names
    assert {path.relative_to(saved).as_posix() for path in saved.rglob("*.*")} == names


@pytest.mark.parametrize("name", FILES)
def test_no_file_may_be_missing_or_have_a_flipped_bit(folder, name):
    flip_bit(folder / name)
    for load in (CMMImageClassifier.from_preset, clip.load):
        with pytest.raises(InputError, match=rf"{name}: (has changed|is damaged).*copy"):
            load(folder)
    (folder / name).unlink()
    for load in (CMMImageClassifier.from_preset, clip.load):
        with pytest.raises(InputError, match=f"{name}: is missing|holds no model|is no saved"):
            load(folder)


def test_what_no_answer_depends_on_may_change(folder, trained):
    (folder / "README.md").write_text("# My model")
    (folder / "metadata.json").unlink()
    images, _ = make_images()
    again = CMMImageClassifier.from_preset(folder)
    np.testing.assert_array_equal(again.predict(images), trained.predict(images))


def test_without_digests_the_weights_of_the_head_must_be_there(old_folder):
    (old_folder / "task.weights.h5").unlink()
    with pytest.raises(InputError, match=r"has no task\.weights\.h5"):
        CMMImageClassifier.from_preset(old_folder)
    clip.load(old_folder)  # its CLIP is whole


# Keras may warn of the same variables before it refuses them.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("name", ["task.weights.h5", "model.weights.h5"])
def test_without_digests_every_variable_must_be_there(old_folder, name):
    with h5py.File(old_folder / name, "r+") as file:
        del file[datasets(old_folder / name)[0]]
    with pytest.raises(ValueError, match="could not be loaded"):
        CMMImageClassifier.from_preset(old_folder)


@pytest.mark.parametrize("part", ["cmm_classifier", "clip_text_encoder", "clip_vision_encoder"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_without_digests_every_number_must_be_finite(old_folder, part, value):
    path = old_folder / f"{'task' if part == 'cmm_classifier' else 'model'}.weights.h5"
    name = next(name for name in datasets(path) if part in name)
    with h5py.File(path, "r+") as file:
        file[name][(0,) * file[name].ndim] = value
    with pytest.raises(InputError, match="are not all finite numbers"):
        CMMImageClassifier.from_preset(old_folder)
    if part != "cmm_classifier":
        with pytest.raises(InputError, match="are not all finite numbers"):
            clip.load(old_folder)


def test_a_classifier_that_cannot_answer_says_so(model, tmp_path):
    images, labels = make_images()
    model.head.mapping.kernel.assign(np.full(model.head.mapping.kernel.shape, np.nan))
    for ask in (model.predict, model.classify, model.predict_on_batch):
        with pytest.raises(InputError, match="numbers that are not finite"):
            ask(images)
    with pytest.raises(InputError, match="are not all finite numbers"):
        model.evaluate(images, labels)
    with pytest.raises(InputError, match="are not all finite numbers"):
        model.save_to_preset(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_preset_of_clip_must_be_whole(tiny_model, tmp_path):
    clip.save_preset(tiny_model, tmp_path)
    clip.load(tmp_path)
    flip_bit(tmp_path / "assets" / "tokenizer" / "merges.txt")
    for load in (clip.load, lambda preset: CMMImageClassifier.from_preset(preset, NAMES)):
        with pytest.raises(InputError, match=r"merges\.txt: has changed since it was written"):
            load(tmp_path)


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.H5"])
def test_hdf5_is_refused_before_anything_is_written(model, tmp_path, name):
    head = CMMClassifier.from_text_embeddings(np.eye(3, dtype="float32"))
    for each in (model, head):
        for path in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(InputError, match=r"must end in \.keras"):
                each.save(path)
    assert list(tmp_path.iterdir()) == []
    head.save(tmp_path / "model.keras")
