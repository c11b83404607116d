"""Pipes and devices are refused by everything that opens a file, rather than waited for."""

import os
import shutil
import signal

import pytest
from refusals import refusal

import keras_cmm
from keras_cmm.clip import EmbeddingStore, load, preset_path, read_image
from keras_cmm.clip.checkpoints.weight_files import read_weights
from keras_cmm.clip.inputs.bpe_tokenizer import read_tokenizer
from keras_cmm.clip.inputs.prompts import read_descriptions
from keras_cmm.data import EmbeddingSet, HFSource, ImageList, open_images, read_class_names
from keras_cmm_runtime.sources import read_coop_split
from keras_cmm_runtime.utils import read_json_object, read_lines, refuse_special_file

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture(autouse=True)
def _end_of_waiting():
    """Fails a test that waits for a pipe."""

    def stop(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.png", read_image),
        ("a.zip", open_images),
        ("a.tar", open_images),
        ("a.csv", open_images),
        ("a.parquet", open_images),
        ("a.parquet", HFSource.from_parquet),
        ("a.parquet", ImageList.from_parquet),
        ("a.json", lambda path: open_images(path, split="train")),
        ("a.json", read_coop_split),
        ("a.json", read_json_object),
        ("a.json", lambda path: read_descriptions(path, ["a"])),
        ("names.txt", read_class_names),
        ("names.txt", read_lines),
        ("a.safetensors", EmbeddingSet.read),
        ("a.safetensors", read_weights),
        ("a.pt", read_weights),
        ("a.pt", load),
    ],
)
def test_pipes_and_devices(tmp_path, name, read):
    path = tmp_path / name
    os.mkfifo(path)
    assert "is a device or pipe, not a regular file" in refusal(read, path)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "is a device or pipe, not a regular file" in refusal(read, path)


def test_files_of_a_model(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(preset_path("emoji_clip_tiny"), folder)
    for name in ("task.json", "config.json", "assets/tokenizer/vocabulary.json"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        for read in (load, keras_cmm.CMMImageClassifier.from_preset):
            assert f"{path}: is a device or pipe" in refusal(read, folder)
        path.unlink()


def test_files_of_a_store(tmp_path):
    space = EmbeddingStore(tmp_path).space({"model": "a"}, 2)
    space.folder.mkdir(parents=True, exist_ok=True)
    (space.folder / "manifest.json").unlink(missing_ok=True)
    os.mkfifo(space.folder / "manifest.json")
    assert "manifest.json: is a device or pipe" in refusal(space.refresh)


def test_a_vocabulary(tmp_path):
    os.mkfifo(tmp_path / "merges.txt")
    (tmp_path / "vocab.json").write_text("{}")
    assert "no tokenizer" in refusal(read_tokenizer, tmp_path)


def test_files_that_are_too_large(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"x" * 100 + b"\n")
    refuse_special_file(path, 101)
    assert "has 101 bytes; expected at most 100" in refusal(refuse_special_file, path, 100)
    path.write_bytes(b"name\n" * 2_000_000)
    assert "has 10,000,000 bytes" in refusal(read_class_names, path)


def test_what_is_not_there_is_left_to_the_caller(tmp_path):
    refuse_special_file(tmp_path)
    refuse_special_file(tmp_path / "absent")
    refuse_special_file("\0")
