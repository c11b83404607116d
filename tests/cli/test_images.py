"""Images that do not lie in a folder of class folders."""

import functools
import json
import shutil

import pytest
from labelled_pictures import write_tar, write_zip

from keras_cmm.data import ImageList


@pytest.fixture(scope="module")
def packed(shared_photos, tmp_path_factory):
    """The photos as an archive of each kind, and as lists, by suffix."""
    root = tmp_path_factory.mktemp("packed")
    shutil.copytree(shared_photos, root / "photos")
    keys = ImageList.from_folder(shared_photos).keys()
    files = {f"photos/{key}": (shared_photos / key).read_bytes() for key in keys}
    lines = [f"{key},{key.split('/')[1]}" for key in files]
    (root / "photos.csv").write_text("\n".join(["path,label", *lines]))
    write_zip(root / "photos.zip", files)
    write_tar(root / "photos.tar", files)
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"path": list(files), "label": [key.split("/")[1] for key in files]}
    parquet.write_table(pyarrow.table(columns), root / "photos.parquet")
    return root


@pytest.mark.parametrize("suffix", ["zip", "tar", "csv", "parquet"])
def test_every_command_reads_them_as_it_reads_the_folder(
    run, packed, shared_photos, model_dir, tiny_preset, tmp_path, suffix
):
    path = packed / f"photos.{suffix}"
    expected, got = (
        run("evaluate", model_dir, images, "--held-out", "--format", "json")
        for images in (shared_photos, path)
    )
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout) == json.loads(expected.stdout)
    result = run(
        *("fit", path, "--preset", tiny_preset, "--shots", 2, "--epochs", 1),
        *("--output", tmp_path / "model", "--report", tmp_path / "report.html"),
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.html").read_text().count("data:image/") == 12  # not drawn
    if suffix in ("zip", "tar"):  # with the folder's own names the same images are drawn
        records = [
            json.loads((folder / "keras_cmm.json").read_text())["images"]
            for folder in (model_dir, tmp_path / "model")
        ]
        assert records[0] == records[1]


def test_files_that_cannot_be(refuse_output, packed, tmp_path):
    refuse = functools.partial(refuse_output, "embed", output="x.safetensors")
    (tmp_path / "photo.jpg").touch()
    assert "give a folder of images, or a .zip" in refuse(tmp_path / "photo.jpg")
    (tmp_path / "empty.zip").touch()
    assert "neither a zip archive nor a tar archive" in refuse(tmp_path / "empty.zip")
    (tmp_path / "text.parquet").write_text("hello")
    assert "not a valid Parquet file" in refuse(tmp_path / "text.parquet")
    with_table = (packed / "photos.zip", "--csv", packed / "photos.csv")
    assert "is no folder; with --csv give a folder or none" in refuse(*with_table)
    splits = {f"{split}/{name}/1.png": b"" for split in ("train", "val") for name in ("a", "b")}
    path = write_zip(tmp_path / "splits.zip", splits)
    assert "has no splits but train, val; expected train and test" in refuse(path)


def test_csv_option_takes_parquet(run, packed, model_dir):
    listed, table = (
        run("evaluate", model_dir, *arguments, "--format", "json", "-q")
        for arguments in (
            (packed, "--csv", packed / "photos.parquet"),
            ("--csv", packed / "photos.csv"),
        )
    )
    assert listed.exit_code == 0, listed.output
    assert listed.stdout == table.stdout


def test_a_damaged_image_in_an_archive_is_named(run, refused, packed, tiny_preset, tmp_path):
    data = bytearray((packed / "photos.tar").read_bytes())
    start = data.index(b"\x89PNG")
    data[start : start + 100] = bytes(100)
    (tmp_path / "photos.tar").write_bytes(data)
    command = ("embed", tmp_path / "photos.tar", "--preset", tiny_preset)
    result = run(*command, "--output", tmp_path / "a.safetensors")
    assert result.exit_code == 0
    name = f"{tmp_path}/photos.tar/photos/Blue Jay/0.png"
    assert f"Warning: left out: {name}: cannot be read as an image" in result.stderr
    assert name in refused(*command, "--output", tmp_path / "b.safetensors", "--strict")
