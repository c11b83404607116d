"""`keras-cmm benchmark --protocol tfds`, on what tensorflow-datasets has prepared."""

import json
import shutil

import pytest
from coop_miniatures import tiny_jpeg, write_miniature

from keras_cmm.data.benchmarks import get_benchmark

tfds = pytest.importorskip("tensorflow_datasets")

from keras_cmm.data.benchmarks.tfds_builders import UCF101MiddleFrames  # noqa: E402

COMMON = ("--preset", "emoji_clip_tiny", "--methods", "zero_shot,nearest_mean,cmm_plain",
          "--shots", "1,2", "--seeds", 1)  # fmt: skip


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """UCF101 in two images a class, in CoOp's layout and prepared by TFDS from that."""
    folder = tmp_path_factory.mktemp("data")
    manual_dir = write_miniature(get_benchmark("ucf101"), folder, images=2)
    for number, path in enumerate(sorted(manual_dir.rglob("*.jpg"))):
        path.write_bytes(tiny_jpeg(number))
    UCF101MiddleFrames(data_dir=folder).download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return folder


def records_in(folder):
    return {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in folder.rglob("*.json")
    }


def test_the_protocols_are_kept_apart(run, refused, data_dir, tmp_path):
    runs = tmp_path / "runs"
    arguments = ("benchmark", "--dataset", "ucf101", "--data-dir", data_dir, *COMMON)
    result = run(*arguments, "--protocol", "tfds", "--output-dir", runs)
    assert result.exit_code == 0, result.stderr
    assert "ucf101 (emoji_clip_tiny, protocol tfds)" in result.stdout
    records = records_in(runs)
    assert len(records) == 1 + 2 * 2
    assert {record["protocol"] for record in records.values()} == {"tfds"}
    assert all(path.startswith("tfds/") for path in records)
    table = run("aggregate", runs, "--no-published")
    assert table.exit_code == 0
    assert table.stdout.splitlines()[0] == "ucf101 (emoji_clip_tiny, protocol tfds)"

    # Nothing is missing, so nothing is run.
    again = run(*arguments, "--protocol", "tfds", "--output-dir", runs)
    assert "images.\n" not in again.stderr
    assert again.stdout == result.stdout

    # Of this set alone the two protocols have the same images.
    assert run(*arguments, "--output-dir", runs).exit_code == 0
    records = records_in(runs)
    assert len(records) == 2 * 5
    zero_shot = {
        path.split("/")[0]: record["top1"]
        for path, record in records.items()
        if record["method"] == "zero_shot"
    }
    assert zero_shot["tfds"] == zero_shot["coop"]

    line = refused("aggregate", runs)
    assert "runs of 2 protocols (coop, tfds)" in line
    assert "give the folder of one of them" in line
    assert run("aggregate", runs / "tfds", "--no-published").stdout == table.stdout


def test_a_set_that_is_split_here(run, tmp_path):
    with tfds.testing.mock_data(num_examples=200):
        result = run("benchmark", "--dataset", "eurosat", "--data-dir", tmp_path, *COMMON,
                     "--protocol", "tfds", "--output-dir", tmp_path / "runs")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    records = records_in(tmp_path / "runs")
    assert len(records) == 1 + 2 * 2
    assert {record["protocol"] for record in records.values()} == {"tfds"}
    assert "eurosat, train: " in result.stderr


def test_what_is_not_prepared(refused, data_dir, tmp_path):
    shutil.copytree(data_dir / "ucf101", tmp_path / "ucf101")  # CoOp's layout
    line = refused("benchmark", "--dataset", "ucf101", "--data-dir", tmp_path, *COMMON,
                   "--protocol", "tfds")  # fmt: skip
    assert "ucf101_middle_frames" in line
    assert "download_and_prepare()" in line
