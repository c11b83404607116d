from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cmm.models.inputs import iterate_images
from keras_cmm_runtime.errors import InputError

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
