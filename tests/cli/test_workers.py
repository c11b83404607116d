"""`embed` and `predict` in parts, with `--engine local`."""

import io
import sys
import tarfile
from contextlib import nullcontext

import click
import numpy as np
import pyarrow.parquet
import pytest

from keras_cmm.data import EmbeddingSet
from keras_cmm_cli.terminal import Terminal
from keras_cmm_cli.workers import tell_report
from keras_cmm_runtime.scale import ShardReport


def test_a_folder_embedded_in_parts_is_a_set(run, tiny_preset, tiny_model, shared_photos, tmp_path):
    from keras_cmm.clip import ImageEmbedder

    output = tmp_path / "embedded"
    options = ("--preset", tiny_preset, "--engine", "local", "--num-workers", 1)
    result = run("embed", shared_photos, *options, "--shard-size", 4, "--output", output)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{output}: 18 rows in 6 parts, 6 of them made now; 0 images cannot be read.\n"
    )
    data = EmbeddingSet.read(output)
    assert data.class_names == ["Blue Jay", "green tea", "red_fox"]
    files = sorted(shared_photos.rglob("*.png"), key=str)
    expected = ImageEmbedder(tiny_model).embed(files).embeddings
    rows = np.concatenate([data.train_embeddings, data.test_embeddings]).astype("float32")
    nearest = (expected @ rows.T).argmax(axis=1)
    assert sorted(nearest) == list(range(18))
    np.testing.assert_allclose(rows[nearest], expected, atol=1e-3)

    again = run("embed", shared_photos, *options, "--shard-size", 4, "--output", output)
    assert "0 of them made now" in again.stdout

    result = run("benchmark", output, "--shots", 1, "--seeds", 1, "--methods", "zero_shot")
    assert result.exit_code == 0, result.output


def test_tar_files_classified_in_parts(run, model_dir, shared_photos, tmp_path):
    from keras_cmm_runtime import OnnxClassifier

    files = sorted(shared_photos.rglob("*.png"), key=str)
    (tmp_path / "tars").mkdir()
    for number in range(2):
        with tarfile.open(tmp_path / "tars" / f"{number}.tar", "w") as archive:
            for file in files[number::2]:
                archive.add(file, file.relative_to(shared_photos).as_posix())
            info = tarfile.TarInfo("x/bad.png")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"..."))
    output = tmp_path / "predicted"
    options = ("--engine", "local", "--num-workers", 1, "--top-k", 2)
    result = run("predict", model_dir, tmp_path / "tars", *options, "--output", output)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{output}: 20 rows in 2 parts, 2 of them made now; 2 images cannot be read.\n"
    )
    table = pyarrow.parquet.read_table(output / "shards").to_pylist()
    found = {row["id"].partition("/")[2]: row for row in table if row["error"] is None}
    expected = OnnxClassifier.load(model_dir).classify(files, top_k=2)
    for file, best in zip(files, expected, strict=True):
        row = found[file.relative_to(shared_photos).as_posix()]
        assert row["label"] == file.parent.name
        assert row["classes"] == [name for name, _ in best]
        assert row["scores"] == pytest.approx([chance for _, chance in best], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "local", "--strict"), "--strict and --engine local or ray exclude"),
        (("--engine", "local", "--also", "x"), "--also and --engine local or ray exclude"),
        (("--num-workers", 2), "--num-workers needs --engine local or --engine ray"),
        (("--engine", "ray", "--address", "nowhere:1"), "cannot be reached"),
    ],
)
def test_options_that_do_not_go_together(
    refused, tiny_preset, photos, tmp_path, arguments, message
):
    if "nowhere:1" in arguments:
        pytest.importorskip("ray")
    options = ("--preset", tiny_preset, "--output", tmp_path / "output")
    assert message in refused("embed", photos, *options, *arguments)


def test_uris_need_an_engine(refused, tiny_preset, photos, tmp_path, model_dir, monkeypatch):
    options = ("--preset", tiny_preset, "--output")
    for line in (
        refused("embed", "s3://bucket/x", *options, tmp_path / "x"),
        refused("embed", photos, *options, "s3://bucket/x"),
        refused("predict", model_dir, "memory://bucket/x"),
        refused("fit", "memory://bucket/x", *options, tmp_path / "x"),
    ):
        assert "is a URI, which `embed` and `predict` open with --engine local or ray" in line
    # It may hold embeddings, so what is needed to see that is told.
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for line in (
        refused("predict", model_dir, "gs://bucket/x"),
        refused("fit", "gs://bucket/x", *options, tmp_path / "x"),
        refused("benchmark", "gs://bucket/x"),
    ):
        assert line == "Error: gs://bucket/x: needs gcsfs; install it with pip."


def test_no_such_bucket(refused, tiny_preset, tmp_path):
    options = ("--preset", tiny_preset, "--engine", "local", "--output", tmp_path / "x")
    assert "memory://nothing: no such file or folder" in refused(
        "embed", "memory://nothing", *options
    )
    assert "unknown://x: cannot be opened" in refused("embed", "unknown://x", *options)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (ShardReport(rows=3, failed={"a": "cut off"}), "1 part failed; run the command again"),
        (ShardReport(rows=2, errors=2), "out: none of the images can be read"),
        (ShardReport(), "out: none of the images can be read"),
        (ShardReport(rows=2, errors=1), None),
    ],
)
def test_the_end_of_a_run(report, message):
    expected = pytest.raises(click.ClickException, match=message) if message else nullcontext()
    with expected:
        tell_report(Terminal(False, False), "out", report)
