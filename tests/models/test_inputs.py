import unicodedata
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cmm.errors import InputError
from keras_cmm.models.inputs import ids_of_labels, iterate_images

RNG = np.random.default_rng(0)
BATCH = RNG.integers(0, 256, (5, 6, 7, 3), "uint8")
LABELS = np.array([0, 1, 2, 1, 0])


def assert_pairs(pairs, images=BATCH, labels=LABELS):
    pairs = list(pairs)
    assert len(pairs) == len(images)
    for (image, label), expected_image, expected_label in zip(pairs, images, labels, strict=True):
        np.testing.assert_array_equal(np.asarray(image), expected_image)
        assert label is None if expected_label is None else int(label) == expected_label


def test_arrays_and_lists():
    assert_pairs(iterate_images(BATCH, LABELS))
    assert_pairs(iterate_images(list(BATCH), LABELS.tolist()))
    assert_pairs(iterate_images([Image.fromarray(image) for image in BATCH], LABELS))
    assert_pairs(iterate_images(BATCH), labels=[None] * 5)
    assert_pairs(iterate_images(keras.ops.convert_to_tensor(BATCH), LABELS))


def test_mixed_sizes_and_paths(tmp_path):
    images = [BATCH[0], BATCH[1, :4], tmp_path / "a.png", "b.png"]
    pairs = list(iterate_images(images, [0] * 4))
    assert all(image is given for (image, _), given in zip(pairs, images, strict=True))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_may_be_a_list_of_pictures(size):
    pictures = [Image.fromarray(image) for image in BATCH]
    for images in (list(BATCH), pictures, list(keras.ops.convert_to_tensor(BATCH))):
        batches = [images[start : start + size] for start in range(0, 5, size)]
        assert_pairs(iterate_images(iter(batches)), labels=[None] * 5)
        labelled = [(batch, LABELS[size * i :][:size]) for i, batch in enumerate(batches)]
        assert_pairs(iterate_images(iter(labelled)))


def test_tf_data():
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices((BATCH, LABELS))
    assert_pairs(iterate_images(dataset.batch(2)))
    assert_pairs(iterate_images(dataset))
    assert_pairs(iterate_images(dataset.batch(2).map(lambda x, _: x)), labels=[None] * 5)
    with pytest.raises(InputError, match="never ends"):
        list(iterate_images(dataset.repeat()))


def test_torch_data_loader():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(BATCH), torch.from_numpy(LABELS))
    assert_pairs(iterate_images(torch.utils.data.DataLoader(data, batch_size=2)))


def test_py_dataset_and_generator():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            rows = slice(2 * index, 2 * index + 2)
            return BATCH[rows], LABELS[rows]

    assert_pairs(iterate_images(Batches()))
    assert_pairs(iterate_images((BATCH[i : i + 2], LABELS[i : i + 2]) for i in (0, 2, 4)))
    assert_pairs(iterate_images((list(BATCH[i : i + 2]), LABELS[i : i + 2]) for i in (0, 2, 4)))
    paths = [["a.png", "b.png"], ["c.png"]]
    assert [image for image, _ in iterate_images(iter(paths))] == ["a.png", "b.png", "c.png"]
    labelled = [("a.png", 0), (Path("b.png"), np.int64(1))]
    assert list(iterate_images(iter(labelled))) == labelled


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (BATCH, [0, 1], "5 images and 2 labels"),
        (iter([]), [0], "`y` must be left out"),
        ("cat.png", None, "a single image"),
        (BATCH[0], None, "a single image"),
        (Image.fromarray(BATCH[0]), None, "a single image"),
        (iter([{"image": BATCH}]), None, "a dict with the keys image"),
        (iter([(BATCH, LABELS, LABELS)]), None, "a tuple of 3"),
        (iter([("a.png", 0, 1.0)]), None, "a tuple of 3"),
    ],
)
def test_what_cannot_be_used(x, y, message):
    with pytest.raises(InputError, match=message):
        list(iterate_images(x, y))


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1],
        ["ant", "cat", "bee"],
        [b"ant", b"cat", b"bee"],
        np.array([[0], [2], [1]]),
        np.array([0.0, 2.0, 1.0]),
        np.eye(3)[[0, 2, 1]],
    ],
)
def test_class_ids(labels):
    ids = ids_of_labels(labels, ["ant", "bee", "cat"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [0, 2, 1]


def test_an_accent_may_be_encoded_either_way():
    names = [unicodedata.normalize("NFC", name) for name in ("\u00e9clair", "cr\u00eape")]
    typed = [unicodedata.normalize("NFD", name) for name in reversed(names)]
    assert typed != names[::-1]
    assert ids_of_labels(typed, names).tolist() == [1, 0]
    assert ids_of_labels(names, typed).tolist() == [1, 0]
    # Names that differ by nothing else are what they are.
    both = [names[0], unicodedata.normalize("NFD", names[0])]
    assert ids_of_labels(both, both).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["ant", "dog"], "label 'dog' is none of the model's 3 class names"),
        (np.array(["ant", 1], dtype=object), "label '1' is none"),
        ([0, 3], "values 0 to 3"),
        ([-1, 0], "values -1 to 0"),
        ([0.5, 1.0], "class ids from 0 to 2"),
        (np.full((2, 3), 1 / 3), "soft labels"),
        (np.eye(4), r"shape \(4, 4\)"),
    ],
)
def test_labels_that_cannot_be_used(labels, message):
    with pytest.raises(InputError, match=message):
        ids_of_labels(labels, ["ant", "bee", "cat"])


def test_data_frames_of_labels():
    import pandas

    names = ["ant", "bee", "cat"]
    series = pandas.Series(["ant", "cat", "bee"])
    for frame in (pandas.get_dummies(series), series.to_frame()):
        assert ids_of_labels(frame, names).tolist() == [0, 2, 1]
        labels = [label for _, label in iterate_images(list(BATCH[:3]), frame)]
        assert ids_of_labels(labels, names).tolist() == [0, 2, 1]
