"""Photos of phones. Their reader is an extra."""

import io
import sys

import numpy as np
import pytest
from PIL import Image
from refusals import refusal

from keras_cmm.clip import read_image

pillow_heif = pytest.importorskip("pillow_heif")


def photo(**options):
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), "uint8")
    image = Image.fromarray(values).resize((64, 48), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=-1, **options)
    return image, file.getvalue()


def test_a_photo_is_read_and_turned_upright():
    image, data = photo()
    difference = np.asarray(read_image(data)).astype(int) - np.asarray(image)
    assert np.abs(difference).mean() < 8
    exif = Image.Exif()
    exif[0x0112] = 6
    _, turned = photo(exif=exif.tobytes())
    expected = np.asarray(read_image(data).transpose(Image.Transpose.ROTATE_270))
    assert np.abs(np.asarray(read_image(turned)).astype(int) - expected).mean() < 3


def test_a_photo_that_is_cut_off():
    _, data = photo()
    for share in (0.2, 0.5, 0.9, 0.99):
        cut = data[: int(share * len(data))]
        assert "cut off" in refusal(read_image, cut)
    zeros = data[: len(data) // 2].ljust(len(data) + 99, b"\0")
    assert "ends in zeros" in refusal(read_image, zeros)


def test_without_its_reader(monkeypatch):
    _, data = photo()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = refusal(read_image, data)
    assert "pip install 'keras-cmm[heif]'" in message
