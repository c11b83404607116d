"""What of a folder, list or archive does not count, and what the user hears of it."""

import json

import pytest
from labelled_pictures import write_tar, write_zip


@pytest.mark.parametrize("command", ["fit", "evaluate", "predict"])
def test_images_of_other_formats_are_named_once(run, model_dir, photos, tiny_preset, command):
    for name in ("red_fox/a.JXL", "green tea/b.jxl", "Blue Jay/c.dng"):
        (photos / name).touch()
    output = photos.parent / "model"
    result = run(
        *{
            "fit": ("fit", photos, "--preset", tiny_preset, "--shots", 1, "--output", output),
            "evaluate": ("evaluate", model_dir, photos, "--held-out"),
            "predict": ("predict", model_dir, photos),
        }[command]
    )
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if "left out" in line]
    assert line.startswith(f"Warning: {photos}/")
    assert "(1 .dng, 2 .jxl); convert them to JPEG or PNG." in line


def test_a_folder_of_nothing_else(refused, model_dir, tmp_path):
    (tmp_path / "1.jxl").touch()
    line = refused("predict", model_dir, tmp_path)
    assert line.startswith(f"Error: {tmp_path}: has only images of formats that cannot be read (1")


def test_predict_names_images_without_a_suffix(run, model_dir, photos):
    (photos / "green tea" / "0.png").rename(photos / "green tea" / "0")
    result = run("predict", model_dir, photos)
    assert result.exit_code == 0, result.output
    assert f"Warning: {photos / 'green tea' / '0'}: left out, with all images" in result.stderr


def test_compressed_archives(refused, model_dir, photos, tiny_preset, tmp_path):
    files = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in photos.rglob("*.png")}
    for name in ("photos.tar.gz", "photos.TGZ"):
        path = write_tar(tmp_path / name, files, mode="w:gz")
        line = refused("fit", path, "--preset", tiny_preset, "--output", tmp_path / "model")
        assert line == f"Error: {path}: is compressed; uncompress it first."
        assert "is an archive" in refused("predict", model_dir, path)


def test_an_encrypted_archive_is_one_line(run, tiny_preset, tmp_path):
    path = write_zip(tmp_path / "photos.zip", {"a/1.png": b"1", "b/2.png": b"2"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag of encryption
    path.write_bytes(data)
    result = run("fit", path, "--preset", tiny_preset, "--output", tmp_path / "model")
    assert result.exit_code == 2
    assert result.stderr == f"Error: {path}: is encrypted; unpack it with its password.\n"


def test_a_list_with_repeats(run, photos, tiny_preset, tmp_path):
    rows = [f"{path.relative_to(photos)};{path.parent.name}" for path in photos.rglob("*.png")]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["Path;Label", *rows, *rows]))
    command = ("fit", photos, "--csv", table, "--preset", tiny_preset, "--shots", 6)
    result = run(*command, "--epochs", 1, "--output", tmp_path / "model")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Warning")]
    assert "18 of 36 rows list an image again" in line
    images = json.loads((tmp_path / "model" / "keras_cmm.json").read_text())["images"]
    assert len({image["sha256"] for image in images}) == len(images) == 18


def test_messages_leave_file_names_as_they_are(run, refused, model_dir, tmp_path):
    folder = tmp_path / "two  spaces :dog: "
    folder.mkdir()
    assert f"Error: {folder}: there are no images" in refused("predict", model_dir, folder)
    (folder / "1.png").touch()
    (folder / "2.png").symlink_to("nowhere.png")
    result = run("predict", model_dir, folder)
    assert f"Warning: left out: {folder}/1.png: " in result.stderr
