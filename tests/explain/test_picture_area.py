import numpy as np
import pytest
from PIL import Image

from keras_cmm.clip import ImagePreprocessor
from keras_cmm.explain.picture_area import on_the_picture


@pytest.mark.parametrize("size", [(64, 64), (200, 90), (90, 200), (33, 1000)])
@pytest.mark.parametrize(("crop", "pad"), [(True, False), (False, False), (False, True)])
def test_the_seen_box_is_what_the_preprocessor_sees(size, crop, pad):
    """A white spot inside of the box changes the pixels, one outside does not."""
    preprocess = ImagePreprocessor(image_size=32, crop=crop, pad=pad)
    picture = Image.new("RGB", size)
    left, top, right, bottom = preprocess.seen_box(picture)
    width, height = size
    spots = {
        (0, 0): not (left > 1 or top > 1),
        (width - 1, height - 1): not (right < width - 1 or bottom < height - 1),
        (width // 2, height // 2): True,
    }
    step = max(size) / 32
    for (x, y), is_seen in spots.items():
        # Resizing blurs the edge of the crop.
        if not is_seen and min(abs(x - left), abs(x - right), abs(y - top), abs(y - bottom)) < step:
            continue
        spotted = picture.copy()
        # As large as a pixel of the result.
        reach = int(max(1, (max(size) if pad else min(size)) / 32))
        spotted.paste("white", (max(0, x - reach), max(0, y - reach), x + reach, y + reach))
        assert preprocess.pixels(spotted).any() == is_seen, (x, y)


def test_patches_come_where_they_were_cut_from():
    patches = np.zeros((4, 4), "float32")
    patches[3, 0] = 1  # below on the left
    heat = on_the_picture(patches, (100, 50), (25, 0, 75, 50))
    assert heat.shape == (50, 100)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 25 <= x < 25 + 12.5
    assert 50 - 12.5 <= y < 50
    assert not heat[:, :25].any()
    assert not heat[:, 75:].any()


def test_a_box_thinner_than_a_pixel():
    heat = on_the_picture(np.ones((2, 2), "float32"), (3, 3), (1.4, 0, 1.45, 3))
    assert heat.tolist() == [[0, 1, 0]] * 3


@pytest.mark.parametrize("size", [(20, 9), (9, 20), (20, 20)])
def test_a_box_larger_than_the_picture(size):
    """Each picture of a square of patches is where the preprocessor puts it."""
    preprocess = ImagePreprocessor(image_size=20, crop=False, pad=True, interpolation="nearest")
    values = np.random.default_rng(0).integers(1, 256, (size[1], size[0]), "uint8")
    picture = Image.fromarray(np.stack([values] * 3, axis=-1))
    patches = preprocess.pixels(picture)[..., 0].astype("float32")
    heat = on_the_picture(patches, size, preprocess.seen_box(picture))
    np.testing.assert_array_equal(heat, values)
