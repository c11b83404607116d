import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from keras_cmm.clip import ImagePreprocessor
from keras_cmm.clip.checkpoints.image_settings import (
    read_open_clip_image_converter,
    read_transformers_image_converter,
)
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.image_preprocessor import OPENAI_MEAN, OPENAI_STD

SIDE = 56
STATISTICS = {
    "OpenAI": (OPENAI_MEAN, OPENAI_STD),
    "halves": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def pictures():
    """Twenty pictures of all shapes, smooth and noisy, black and white, in several modes."""
    rng = np.random.default_rng(0)
    sizes = [
        (56, 56), (57, 56), (56, 57), (112, 56), (55, 55), (1, 1), (1, 30), (30, 1), (301, 57),
        (57, 301), (640, 480), (481, 640), (99, 100), (100, 99), (28, 28), (113, 200),
    ]  # fmt: skip
    noise = [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype="uint8"))
        for width, height in sizes
    ]
    smooth = noise[0].resize((333, 222), Image.Resampling.BICUBIC)
    plain = [Image.new("RGB", (80, 60), colour) for colour in ("black", "white", (1, 128, 254))]
    return [*noise, smooth, *plain]


def check_same_pixels(converter, processor):
    ours = ImagePreprocessor.from_image_converter(converter)
    images = pictures()
    assert len(images) >= 20
    for image in images:
        expected = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(ours(image), expected)


def processor(**changes):
    settings = {
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
    }
    return CLIPImageProcessorPil(**settings | changes)


def written(folder, **changes):
    """Saves a processor of transformers with changes in its JSON."""
    processor().save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("resample", [2, 3])
def test_pixels_are_those_of_transformers(tmp_path, statistics, resample):
    mean, std = STATISTICS[statistics]
    theirs = processor(image_mean=mean, image_std=std, resample=resample)
    theirs.save_pretrained(tmp_path)
    check_same_pixels(read_transformers_image_converter(tmp_path, SIDE), theirs)


def test_statistics_survive_a_preset(tmp_path):
    import keras

    rng = np.random.default_rng(0)
    for _ in range(200):
        mean, std = rng.uniform(0, 1, 3).tolist(), rng.uniform(0.01, 1, 3).tolist()
        folder = written(tmp_path, image_mean=mean, image_std=std)
        converter = read_transformers_image_converter(folder, SIDE)
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(converter)))["config"]
        ours = ImagePreprocessor.from_image_converter(SimpleNamespace(**config))
        np.testing.assert_array_equal(np.float32(ours.mean), np.float32(mean))
        np.testing.assert_array_equal(np.float32(ours.std), np.float32(std))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": SIDE, "crop_size": SIDE},  # as in files of 2021
        {"do_rescale": True, "rescale_factor": 1 / 255},
        {"feature_extractor_type": "CLIPFeatureExtractor", "image_mean": None},
    ],
)
def test_older_forms(tmp_path, changes):
    converter = read_transformers_image_converter(written(tmp_path, **changes), SIDE)
    check_same_pixels(converter, processor())


def test_inside_the_file_of_a_whole_processor(tmp_path):
    theirs = processor(image_mean=(0.5, 0.5, 0.5))
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": content}))
    check_same_pixels(read_transformers_image_converter(tmp_path, SIDE), theirs)


def test_without_normalising(tmp_path):
    theirs = processor(do_normalize=False)
    theirs.save_pretrained(tmp_path)
    check_same_pixels(read_transformers_image_converter(tmp_path, SIDE), theirs)


def test_squeezed_into_a_square(tmp_path):
    theirs = processor(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
    theirs.save_pretrained(tmp_path)
    check_same_pixels(read_transformers_image_converter(tmp_path, SIDE), theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_resize": False}, "`do_resize` must be True"),
        ({"do_rescale": False}, "`do_rescale` must be True"),
        ({"do_center_crop": False}, "does not make images square"),
        ({"rescale_factor": 1 / 127.5}, "must be 1/255"),
        ({"size": {"shortest_edge": 224}}, "224, but the model takes 56"),
        ({"size": {"height": 56, "width": 60}}, "but the model takes 56"),
        ({"crop_size": {"height": 50, "width": 50}}, "but the model takes 56"),
        ({"size": "large"}, "but the model takes 56"),
        ({"resample": 9}, "resample=9"),
        ({"resample": [3]}, "resample="),
        ({"image_mean": [0.5, 0.5]}, "image_mean` must be three numbers"),
        ({"image_mean": [0.5, 0.5, "x"]}, "image_mean` must be three numbers"),
        ({"image_std": [0.5, 0.5, 0.0]}, "image_std` must be three numbers > 0"),
    ],
)
def test_settings_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_transformers_image_converter(written(tmp_path, **changes), SIDE)


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        (None, {}),
        ({"mean": STATISTICS["halves"][0], "std": STATISTICS["halves"][1]}, {
            "image_mean": STATISTICS["halves"][0], "image_std": STATISTICS["halves"][1],
        }),
        ({"size": [SIDE, SIDE], "interpolation": "bilinear", "mode": "RGB"}, {"resample": 2}),
        ({"resize_mode": "squash", "size": SIDE}, {
            "size": {"height": SIDE, "width": SIDE}, "do_center_crop": False,
        }),
    ],
)  # fmt: skip
def test_settings_of_open_clip(tmp_path, settings, theirs):
    converter = read_open_clip_image_converter(tmp_path, settings, SIDE)
    check_same_pixels(converter, processor(**theirs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize_mode": "random"}, "resize_mode='random'"),
        ({"resize_mode": "longest", "fill_color": 255}, "fill_color=255"),
        ({"interpolation": "random"}, "interpolation='random'"),
        ({"size": 99}, "99, but the model takes 56"),
        ({"mean": 0.5}, "mean=0.5"),
        ([], "is not an object"),
    ],
)
def test_settings_of_open_clip_that_cannot_be(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        read_open_clip_image_converter(tmp_path / "open_clip_config.json", settings, SIDE)


def longest(picture, size):
    """The mode "longest" of OpenCLIP's transform.py: `ResizeKeepRatio`, then `CenterCropOrPad`."""
    ratio = max(picture.height / size, picture.width / size)
    height, width = round(picture.height / ratio), round(picture.width / ratio)
    resized = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    rows, columns = size - height, size - width
    sides = ((rows // 2, (rows + 1) // 2), (columns // 2, (columns + 1) // 2), (0, 0))
    return np.pad(resized, sides)


@pytest.mark.parametrize("size", [(80, 61), (33, 90), (56, 56), (7, 5), (200, 3)])
def test_the_longer_side_of_open_clip(tmp_path, size):
    converter = read_open_clip_image_converter(tmp_path, {"resize_mode": "longest"}, SIDE)
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), "uint8")
    picture = Image.fromarray(values)
    ours = ImagePreprocessor.from_image_converter(converter)
    np.testing.assert_array_equal(ours.pixels(picture), longest(picture, SIDE))


def test_a_line_keeps_a_pixel():
    picture = Image.new("RGB", (999, 1), "white")
    pixels = ImagePreprocessor(32, crop=False, pad=True).pixels(picture)
    assert pixels.any(axis=(1, 2)).sum() == 1


def test_what_is_cropped_is_not_filled():
    with pytest.raises(InputError, match="pad=True, crop=True"):
        ImagePreprocessor(pad=True)
