import base64
import dataclasses
import io

import numpy as np
import pytest
from made_up import make_result
from PIL import Image

from keras_cmm.report import ClassifierResult, GalleryPicture
from keras_cmm_runtime.errors import InputError


def open_thumbnail(image):
    uri = GalleryPicture(image, "ant", [("ant", 1.0)]).thumbnail()
    kind, _, data = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")


def as_bytes(picture, kind):
    file = io.BytesIO()
    picture.save(file, format=kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "path", "str", "pil", "array", "float array"])
def test_every_kind_of_picture(kind, tmp_path):
    picture = Image.new("RGB", (400, 200), (200, 40, 40))
    picture.save(tmp_path / "picture.png")
    image = {
        "PNG": as_bytes(picture, "PNG"),
        "JPEG": as_bytes(picture, "JPEG"),
        "path": tmp_path / "picture.png",
        "str": str(tmp_path / "picture.png"),
        "pil": picture,
        "array": np.array(picture),
        "float array": np.array(picture).astype("float32"),
    }[kind]
    thumbnail = open_thumbnail(image)
    assert thumbnail.size == (160, 80)
    assert np.abs(np.array(thumbnail)[40, 80] - [200, 40, 40, 255.0]).max() < 10
    assert picture.size == (400, 200)


def test_small_and_grey_and_transparent_pictures():
    assert open_thumbnail(np.zeros((20, 10), "uint8")).size == (10, 20)
    # As the classifier sees it.
    assert open_thumbnail(np.zeros((20, 10, 4), "uint8")).getpixel((5, 5))[:3] == (255, 255, 255)


def test_16_bit_grey_is_shown_as_grey():
    grey = Image.fromarray(np.full((8, 8), 25700, "uint16"))
    assert open_thumbnail(as_bytes(grey, "PNG")).getpixel((4, 4))[0] == pytest.approx(100, abs=3)


def test_a_turned_photo_is_shown_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees.
    file = io.BytesIO()
    Image.new("RGB", (40, 20)).save(file, format="JPEG", exif=exif)
    assert open_thumbnail(file.getvalue()).size == (20, 40)


def test_pictures_that_cannot_be_shown(tmp_path):
    with pytest.raises(InputError, match="at least one pair"):
        GalleryPicture(b"", "ant", [])
    for image, message in (
        (b"no picture", "cannot be read"),
        (tmp_path / "absent.png", "absent.png"),
        (np.zeros((5, 5, 7)), r"\(5, 5, 7\)"),
    ):
        with pytest.raises(InputError, match=message):
            GalleryPicture(image, "ant", [("ant", 1.0)]).thumbnail()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["ant"]}, "one column for each class name"),
        ({"labels": np.array([0])}, "one row for each label"),
        ({"labels": np.array([], int), "probabilities": np.zeros((0, 3))}, "at least one"),
        ({"labels": np.full(18, 3)}, r"lie in \[0, 3\)"),
        ({"labels": np.full(18, -1)}, r"lie in \[0, 3\)"),
    ],
)
def test_bad_results(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(make_result(3), **changes)


def test_predictions():
    result = ClassifierResult(["ant", "bee"], np.array([0]), np.array([[0.1, 0.9]]))
    assert result.predictions.tolist() == [1]
