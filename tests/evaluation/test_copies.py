import io

import numpy as np
import pytest
from PIL import Image

from keras_cmm.data import DemoSet
from keras_cmm.evaluation import find_copies


@pytest.fixture(scope="module")
def pictures():
    """Different pictures."""
    demo = DemoSet.load()
    _, rows = np.unique(demo.train_labels, return_index=True)
    return [Image.fromarray(demo.train_images[row]) for row in rows[::6]]


def alike(count):
    """Embeddings that are all the same, so that every pair is looked at."""
    return np.ones((count, 4)) / 2


def saved(picture, **options):
    file = io.BytesIO()
    picture.save(file, **options)
    return file.getvalue()


def test_a_copy_of_the_file(pictures, tmp_path):
    for name in ("train.png", "copy.png"):
        pictures[0].save(tmp_path / name)
    other = np.eye(2)  # No embedding tells it: the files do.
    copies = find_copies([tmp_path / "copy.png"], other[:1], [tmp_path / "train.png"], other[1:])
    assert copies == ([0], [])


def test_the_same_pixels_in_another_file(pictures):
    files = [saved(pictures[0], format=name) for name in ("PNG", "BMP")]
    assert find_copies(files[:1], alike(1), files[1:], alike(1)) == ([0], [])


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: saved(picture, format="JPEG", quality=60),
        lambda picture: picture.resize((47, 47)),
        lambda picture: picture.resize((200, 200), Image.Resampling.BICUBIC),
        lambda picture: picture.point(lambda value: min(255, value + 4)),
    ],
)
def test_pictures_that_look_alike(pictures, change):
    changed = [change(picture) for picture in pictures]
    for row, picture in enumerate(changed):
        assert find_copies([picture], alike(1), pictures[row : row + 1], alike(1)) == ([], [(0, 0)])


def test_different_pictures(pictures):
    for row, picture in enumerate(pictures):
        others = pictures[:row] + pictures[row + 1 :]
        for other in others:
            assert find_copies([picture], alike(1), [other], alike(1)) == ([], [])


def test_flat_pictures_of_other_colours():
    flat = [np.full((20, 20, 3), value, "uint8") for value in (0, 90, 255)]
    assert find_copies(flat[:1], alike(1), flat[1:], alike(2)) == ([], [])


def test_no_images(pictures):
    assert find_copies([], alike(0), pictures[:1], alike(1)) == ([], [])


def test_an_image_that_is_gone(pictures, tmp_path):
    gone = tmp_path / "gone.png"
    assert find_copies([gone], alike(1), pictures[:1], alike(1)) == ([], [])
    assert find_copies([gone], alike(1), [gone], alike(1)) == ([], [])
