"""Presets whose files do not fit together: keras-hub would load many of them as other models."""

import json
import shutil

import pytest

from keras_cmm import clip
from keras_cmm_runtime.errors import InputError


@pytest.fixture
def preset(tiny_preset, tmp_path):
    return shutil.copytree(tiny_preset, tmp_path / "preset")


def change(path, *keys, value):
    content = json.loads(path.read_text())
    section = content
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    path.write_text(json.dumps(content))


def refused(preset, message):
    with pytest.raises(InputError, match=message) as caught:
        clip.load(preset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_layers", -1, r"vision_encoder\.num_layers` must be an int >= 1"),
        ("num_layers", 2.5, "num_layers=2.5"),
        ("num_layers", True, "num_layers=True"),
        ("hidden_dim", "wide", "hidden_dim='wide'"),
        ("num_layers", 10**9, "weights or more|or more weights.*do not belong together"),
        ("hidden_dim", 10**9, "do not belong together"),
        # keras-hub leaves the weights of the second layer out without a word.
        ("num_layers", 1, "do not belong together"),
    ],
)
def test_sizes_of_a_tower(preset, key, value, message):
    change(preset / "config.json", "config", "vision_encoder", "config", key, value=value)
    refused(preset, message)


@pytest.mark.parametrize("key", ["vocabulary_size", "max_sequence_length"])
def test_a_text_tower_without_end(preset, key):
    change(preset / "config.json", "config", "text_encoder", "config", key, value=10**12)
    refused(preset, "do not belong together")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("interpolation", "cubic", "`interpolation` must be one of"),
        ("interpolation", 3, "interpolation=3"),
        ("offset", "x", "`offset` must be a number or three"),
        ("offset", [0.1, 0.2], "`offset` must be a number or three"),
        ("offset", {}, "`offset` must be a number or three"),
        ("scale", 0, "`scale` must be > 0"),
        ("scale", [float("nan")] * 3, "`scale` must be a number or three"),
        ("image_size", [32, 64], "square `image_size`"),
        ("image_size", [1.5, 1.5], "`image_size` must be an int"),
        ("image_size", [48, 48], "makes images of 48 pixels, but the model takes 32"),
    ],
)
def test_image_converter(preset, key, value, message):
    change(preset / "image_converter.json", "config", key, value=value)
    refused(preset, rf"image_converter\.json: .*{message}")


@pytest.mark.parametrize(
    ("renumber", "message"),
    [
        (lambda number: number + 1000, "its tokenizer has the id 1515, and its model only 516"),
        (lambda number: number - 1000, "must be ints >= 0|cannot be loaded"),
        (lambda number: 0, "same id|cannot be loaded"),
    ],
)
def test_vocabulary(preset, renumber, message):
    path = preset / "assets" / "tokenizer" / "vocabulary.json"
    vocabulary = json.loads(path.read_text())
    path.write_text(json.dumps({token: renumber(number) for token, number in vocabulary.items()}))
    refused(preset, message)


@pytest.mark.parametrize("merges", ["no\nmerges here at all\n", "zzq qqz\n"])
def test_merges_that_are_none(preset, merges):
    (preset / "assets" / "tokenizer" / "merges.txt").write_text(merges)
    refused(preset, "merges|cannot be loaded")


@pytest.mark.parametrize("name", ["config.json", "image_converter.json", "tokenizer.json"])
def test_a_json_file_nested_without_end(preset, name):
    (preset / name).write_text('{"config": ' + "[" * 100_000 + "]" * 100_000 + "}")
    refused(preset, "is not JSON|cannot be loaded")
