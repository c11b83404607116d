from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_cmm.clip import ImagePreprocessor
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_preprocessor import OPENAI_MEAN, OPENAI_STD


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(1, height // 7), max(1, width // 7), 3), dtype="uint8")
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


SIZES = [
    (224, 224), (225, 224), (224, 301), (640, 480), (480, 641), (100, 75), (31, 500), (500, 31),
    (1, 1), (1, 9), (333, 334), (1024, 768), (250, 250), (223, 223), (448, 672), (64, 64),
    (2000, 300), (300, 2001), (227, 229), (600, 599),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_pil_pipeline_of_transformers(size):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = noise(*size, seed=sum(size))
    theirs = CLIPImageProcessorPil()(image, return_tensors="np")["pixel_values"][0]
    ours = ImagePreprocessor()(image)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs.transpose(1, 2, 0))


@pytest.mark.parametrize("image_size", [32, 336])
def test_other_sizes_and_statistics(image_size):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = noise(401, 300)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    theirs = CLIPImageProcessorPil(
        size={"shortest_edge": image_size},
        crop_size={"height": image_size, "width": image_size},
        image_mean=mean,
        image_std=std,
    )(image, return_tensors="np")["pixel_values"][0]
    ours = ImagePreprocessor(image_size, mean, std)(image)
    np.testing.assert_array_equal(ours, theirs.transpose(1, 2, 0))


def converter(**changes):
    settings = {
        "image_size": (224, 224),
        "scale": [1 / (255 * s) for s in OPENAI_STD],
        "offset": [-m / s for m, s in zip(OPENAI_MEAN, OPENAI_STD, strict=True)],
        "interpolation": "bicubic",
        "crop_to_aspect_ratio": True,
        "pad_to_aspect_ratio": False,
    }
    return SimpleNamespace(**settings | changes)


def test_settings_come_from_the_converter():
    ours = ImagePreprocessor.from_image_converter(converter())
    image = noise(300, 200)
    np.testing.assert_array_equal(ours(image), ImagePreprocessor()(image))
    assert ours.image_size == 224


def test_converter_with_one_scale_for_all_channels():
    ours = ImagePreprocessor.from_image_converter(converter(scale=1 / 127.5, offset=-1.0))
    values = ours.normalize(np.array([[[0, 127.5, 255]]]))
    np.testing.assert_allclose(values, [[[-1, 0, 1]]], atol=1e-6)


def test_converter_without_scale_leaves_the_values():
    ours = ImagePreprocessor.from_image_converter(converter(scale=None, offset=None))
    np.testing.assert_allclose(
        ours.normalize(np.array([[[0, 7, 255]]])), [[[0, 7, 255]]], rtol=1e-6
    )


@pytest.mark.parametrize("size", [None, (224, 336)])
def test_converter_without_a_square_size(size):
    with pytest.raises(ValueError, match="square `image_size`"):
        ImagePreprocessor.from_image_converter(converter(image_size=size))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"image_size": 0}, "image_size=0"), ({"interpolation": "area"}, "interpolation='area'")],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        ImagePreprocessor(**changes)


LIMIT = 30_000


@pytest.mark.parametrize(
    ("size", "crop", "pixels"),
    [
        # Pixels of the resized picture, if it is tall.
        ((1, 29), True, 32 * 32 * 29),
        ((1, 30), True, 32 * 32 * 30),
        # Pixels after the width is scaled, if the picture is wide or squeezed.
        ((930, 1), True, 32 * 930 * 1),
        ((940, 1), True, 32 * 940 * 1),
        ((1, 937), False, 32 * 937),
        ((1, 938), False, 32 * 938),
        ((20_000, 1), False, 32 * 32),
    ],
)
def test_a_picture_that_resizing_would_blow_up_is_refused(
    monkeypatch, tmp_path, size, crop, pixels
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", LIMIT)
    path = tmp_path / "narrow.png"
    Image.new("L", size).save(path)
    preprocess = ImagePreprocessor(32, crop=crop)
    if pixels <= LIMIT:
        assert preprocess.pixels(path).shape == (32, 32, 3)
        return
    with pytest.raises(InputError, match=r"narrow\.png: is too narrow") as caught:
        preprocess.pixels(path)
    message = f"{size[0]} x {size[1]} pixels; resized, it would have more than 30,000 pixels;"
    assert message in str(caught.value)
    assert "crop it, or raise PIL.Image.MAX_IMAGE_PIXELS" in str(caught.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert preprocess.pixels(path).shape == (32, 32, 3)


def test_a_small_file_does_not_take_gigabytes(tmp_path):
    path = tmp_path / "line.png"
    Image.new("L", (1, 12_000)).save(path)
    with pytest.raises(InputError, match="1 x 12000 pixels"):
        ImagePreprocessor().pixels(path)
