import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_cmm
from keras_cmm.data import DemoSet, ImageList, sample_few_shot
from keras_cmm_runtime.errors import InputError

ASSETS = Path(keras_cmm.__file__).parent / "assets" / "demo"


@pytest.fixture(scope="module")
def demo():
    return DemoSet.load()


@pytest.fixture(scope="module")
def exported(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    demo.export(folder)
    return folder


def hashes(images):
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def test_enough_classes_and_pictures(demo):
    assert len(demo.class_names) >= 24
    assert list(demo.class_names) == sorted(set(demo.class_names))
    for images, labels, keys, least in (
        (demo.train_images, demo.train_labels, demo.train_keys, 16),
        (demo.test_images, demo.test_labels, demo.test_keys, 8),
    ):
        assert images.dtype == np.uint8
        assert images.shape == (len(labels), 64, 64, 3)
        assert labels.dtype == np.int32
        assert [key.split("/")[0] for key in keys] == [demo.class_names[c] for c in labels]
        counts = Counter(labels.tolist())
        assert set(counts) == set(range(len(demo.class_names)))
        assert min(counts.values()) >= least
    together = Counter(demo.train_labels.tolist()) + Counter(demo.test_labels.tolist())
    assert min(together.values()) >= 24


def test_no_picture_is_there_twice(demo):
    every = hashes(demo.train_images) + hashes(demo.test_images)
    assert len(set(every)) == len(every)
    keys = demo.train_keys + demo.test_keys
    assert len(set(keys)) == len(keys)


def test_no_picture_is_empty(demo):
    for image in (*demo.train_images, *demo.test_images):
        drawn = (image < 230).any(-1).mean()
        assert 0.05 < drawn < 0.95


def test_the_person_of_the_test_set_is_not_in_the_support_pool(demo):
    def people(keys):
        return {(key.split("/")[0], key.split("-")[1]) for key in keys}

    test = people(demo.test_keys)
    assert len(test) == len(demo.class_names)
    assert not test & people(demo.train_keys)


def test_same_every_time(demo):
    again = DemoSet.load()
    assert again.class_names == demo.class_names
    assert (again.train_keys, again.test_keys) == (demo.train_keys, demo.test_keys)
    np.testing.assert_array_equal(again.train_images, demo.train_images)
    np.testing.assert_array_equal(again.test_labels, demo.test_labels)


def test_pictures_are_cut_from_the_place_that_the_index_gives(demo):
    parts = json.loads((ASSETS / "index.json").read_text("utf-8"))["classes"]["person surfing"]
    place = (parts["train"] + parts["test"]).index("modern-man-light")
    left, top = place % 6 * 64, place // 6 * 64
    with Image.open(ASSETS / "person_surfing.webp") as sheet:
        expected = np.asarray(sheet.convert("RGB").crop((left, top, left + 64, top + 64)))
    keys = demo.train_keys + demo.test_keys
    images = np.concatenate([demo.train_images, demo.test_images])
    found = images[keys.index("person surfing/modern-man-light.png")]
    np.testing.assert_array_equal(found, expected)


def test_small_and_licensed(demo):
    files = [file for file in ASSETS.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 4_000_000
    sheets = {f"{name.replace(' ', '_')}.webp" for name in demo.class_names}
    assert {file.name for file in files} == sheets | {"LICENSE", "README.md", "index.json"}
    licence = (ASSETS / "LICENSE").read_text("utf-8")
    assert "Copyright (c) Microsoft Corporation" in licence
    assert "The above copyright notice and this permission notice shall be included" in licence


def test_readme_gives_the_counts(demo):
    text = (ASSETS / "README.md").read_text("utf-8")
    train, test = len(demo.train_keys), len(demo.test_keys)
    assert f"{len(demo.class_names)} classes, {train + test} pictures" in text
    assert f"| support pool (`train`) | {train} |" in text
    assert f"| test | {test} |" in text


def test_export_is_the_same_set(demo, exported):
    for part, images, labels, keys in (
        ("train", demo.train_images, demo.train_labels, demo.train_keys),
        ("test", demo.test_images, demo.test_labels, demo.test_keys),
    ):
        listed = ImageList.from_folder(exported / part)
        assert listed.class_names == demo.class_names
        assert listed.keys() == list(keys)
        np.testing.assert_array_equal(listed.labels, labels)
        for row in range(0, len(images), 97):
            with Image.open(listed.paths[row]) as image:
                assert image.mode == "RGB"
                np.testing.assert_array_equal(np.asarray(image), images[row])


def test_export_draws_the_same_samples(demo, exported, tmp_path):
    listed = ImageList.from_folder(exported / "train")
    sample = sample_few_shot(demo.train_labels, 4, seed=3, keys=demo.train_keys)
    again = sample_few_shot(listed.labels, 4, seed=3, keys=listed.keys())
    assert again.indices.tolist() == sample.indices.tolist()
    assert again.fingerprint == sample.fingerprint


def test_export_keeps_what_is_there(demo, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(InputError, match="not an empty folder") as caught:
        demo.export(tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [mine]
    with pytest.raises(InputError, match="not an empty folder"):
        demo.export(mine)
    with pytest.raises(InputError, match="cannot be written"):
        demo.export(mine / "below a file")
    assert mine.read_text() == "mine"
