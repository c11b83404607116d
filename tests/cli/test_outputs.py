import json
import os
import sys
from pathlib import Path

import click
import pytest
from folders import files_in

from keras_cmm_cli.outputs import (
    EMBEDDINGS,
    REPORT,
    check_apart,
    check_new_file,
    check_new_folder,
    new_folder,
    write_json,
)
from keras_cmm_cli.run_file import RUN_FILE, RUN_FORMAT
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils import write_digests


def write_model(folder):
    (folder / "assets").mkdir(parents=True)
    for name in ("weights.h5", "README.md", "assets/vocabulary.json"):
        (folder / name).write_text("old")
    write_digests(folder, {"format": RUN_FORMAT, "images": [], "hyperparameters": {}})
    return folder


def refusal(check, path, overwrite):
    with pytest.raises(click.ClickException) as caught:
        check(path, overwrite)
    assert str(path) in caught.value.message
    return caught.value.message


def test_files(tmp_path):
    path = tmp_path / "file.json"
    check_new_file(path, False)
    path.touch()
    assert "--overwrite" in refusal(check_new_file, path, False)
    check_new_file(path, True)
    path.write_text("a photo")
    assert "exists; give --overwrite" in refusal(check_new_file, path, False)
    for mark in (REPORT, EMBEDDINGS):
        with pytest.raises(click.ClickException, match="was not written by this command"):
            check_new_file(path, True, mark)
        path.write_bytes(b"beginning " + mark)
        check_new_file(path, True, mark)
    assert "is a folder" in refusal(check_new_file, tmp_path, True)
    assert "does not exist" in refusal(check_new_file, tmp_path / "none" / "file.json", True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is a device or a pipe" in refusal(check_new_file, pipe, True)
    with pytest.raises(InputError, match="is a device or a pipe"):
        write_json(pipe, {})
    assert pipe.is_fifo()


def test_a_folder_that_cannot_be_written_to():
    for check in (check_new_file, check_new_folder):
        assert "/proc cannot be written to" in refusal(check, Path("/proc/output"), False)


def test_folders(tmp_path):
    check_new_folder(tmp_path / "new", False)
    empty = tmp_path / "empty"
    empty.mkdir()
    check_new_folder(empty, False)
    model = write_model(tmp_path / "model")
    assert "--overwrite" in refusal(check_new_folder, model, False)
    check_new_folder(model, True)
    for name in ("notes.txt", "assets/notes.txt", "assets/photos/0.png"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).touch()
    (model / "README.md").write_text("my edits")
    line = refusal(check_new_folder, model, True)
    names = "'README.md', 'assets/notes.txt', 'assets/photos/0.png', 'notes.txt'"
    assert f"holds something else ({names}), which no command wrote or which has changed" in line
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in refusal(check_new_folder, file, True)
    assert "does not exist" in refusal(check_new_folder, tmp_path / "none" / "model", True)


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "is the current folder" in refusal(check_new_folder, Path(), True)
    assert "is the current folder" in refusal(check_new_folder, tmp_path, True)


def test_what_is_written_is_where_a_link_leads(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    folder, file = tmp_path / "folder", tmp_path / "file.json"
    folder.symlink_to(write_model(disk / "model"))
    file.symlink_to(disk / "file.json")
    check_new_folder(folder, True)
    with new_folder(folder) as temporary:
        (temporary / "new").touch()
    check_new_file(file, False)
    write_json(file, 1)
    assert folder.is_symlink()
    assert file.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "file.json", "folder"]
    assert files_in(disk) == ["file.json", "model", "model/new"]
    folder.unlink()
    folder.symlink_to(tmp_path / "none" / "model")
    assert f"{tmp_path / 'none'} does not exist" in refusal(check_new_folder, folder, True)


def test_a_model_of_an_earlier_version_is_not_removed(tmp_path):
    """It did not record what it wrote, so anything in it may be the user's."""
    run = {"format": RUN_FORMAT, "files": ["README.md"], "images": [], "hyperparameters": {}}
    (tmp_path / RUN_FILE).write_text(json.dumps(run))
    (tmp_path / "README.md").write_text("perhaps edited")
    assert "of an earlier version of keras-cmm" in refusal(check_new_folder, tmp_path, True)


def test_a_file_that_comes_while_the_model_is_trained_stays(tmp_path):
    path = write_model(tmp_path / "model")

    def replace():
        with new_folder(path) as folder:
            (folder / "new").touch()
            (path / "notes.txt").write_text("precious")

    with pytest.raises(click.ClickException, match=r"notes.* What was made is in .*model-2\.$"):
        replace()
    assert (path / "notes.txt").read_text() == "precious"
    assert files_in(tmp_path / "model-2") == ["new"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model", "model-2"]


@pytest.mark.parametrize("comes", [write_model, Path.touch])
def test_what_takes_the_place_while_the_model_is_trained_stays(tmp_path, comes):
    path = tmp_path / "model"

    def replace():
        with new_folder(path, overwrite=False) as folder:
            (folder / "new").touch()
            comes(path)

    with pytest.raises(click.ClickException, match=r"What was made is in .*model-2\.$"):
        replace()
    assert not path.is_dir() or (path / "README.md").read_text() == "old"
    assert files_in(tmp_path / "model-2") == ["new"]


def test_a_mounted_disk_cannot_be_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path)
    assert "is where a disk is mounted" in refusal(check_new_folder, tmp_path, True)


@pytest.mark.parametrize("name", ["model.h5", "model.H5", "model.hdf5", "model.keras"])
def test_a_model_is_no_file_of_keras(tmp_path, name):
    line = refusal(check_new_folder, tmp_path / name, True)
    assert "is a folder of several files; give a name without" in line


def test_paths_that_the_system_refuses(tmp_path):
    loop, long = tmp_path / "loop", tmp_path / ("x" * 300)
    loop.symlink_to(loop)
    for check in (
        check_new_file,
        check_new_folder,
        lambda path, _: check_apart({"--o": path}, ["/"]),
    ):
        assert "too long" in refusal(check, long, True)
        if sys.version_info < (3, 13):
            assert "leads to itself" in refusal(check, loop, True)
    with pytest.raises(InputError, match="too long"):
        write_json(long, {})
    if sys.version_info < (3, 13):
        with pytest.raises(InputError, match="leads to itself"):
            write_json(loop, {})


def test_an_input_is_recognized_under_another_name(tmp_path):
    (tmp_path / "names.txt").touch()
    (tmp_path / "link.txt").hardlink_to(tmp_path / "names.txt")
    with pytest.raises(click.ClickException, match="is an input; give another name to --report"):
        check_apart({"--report": tmp_path / "link.txt"}, [tmp_path / "names.txt"])


@pytest.mark.parametrize(
    "run",
    [
        "",
        "[]",
        "{}",
        '{"format": "other/1", "files": ["data.csv"], "images": [], "hyperparameters": {}}',
        '{"format": "keras-cmm-run/1", "files": ["data.csv"]}',
        '{"format": "keras-cmm-run/1", "files": ["data.csv"], "images": [1],'
        ' "hyperparameters": {}}',
    ],
)
def test_a_folder_of_something_else(tmp_path, run):
    (tmp_path / "data.csv").touch()
    (tmp_path / RUN_FILE).write_text(run)
    for overwrite in (False, True):
        assert "holds something else" in refusal(check_new_folder, tmp_path, overwrite)
    assert (tmp_path / "data.csv").exists()


@pytest.mark.parametrize("before", ["absent", "empty", "model"])
def test_new_folder_appears_whole(tmp_path, before):
    path = tmp_path / "model"
    if before == "empty":
        path.mkdir()
    if before == "model":
        write_model(path)
    with new_folder(path) as folder:
        assert folder.parent == tmp_path
        (folder / "new").write_text("new")
    assert files_in(tmp_path) == ["model", "model/new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_new_folder_is_left_out_after_an_error(tmp_path, error):
    path = write_model(tmp_path / "model")
    before = files_in(tmp_path)

    def fail():
        with new_folder(path) as folder:
            (folder / "half").touch()
            raise error

    with pytest.raises(error):
        fail()
    assert files_in(tmp_path) == before


def test_new_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(click.ClickException, match="cannot be written"),
        new_folder(tmp_path / "file" / "model"),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "Can't write data (errno = 28, buf = 0x55)"), "No space left on device"),
        (OSError("Can't open"), "Can't open"),
    ],
)
def test_a_full_disk_is_told_in_the_words_of_the_system(tmp_path, error, reason):
    with pytest.raises(click.ClickException) as caught, new_folder(tmp_path / "model"):
        raise error
    assert caught.value.message == f"{tmp_path / 'model'}: cannot be written ({reason})."
    assert files_in(tmp_path) == []


def test_json_must_be_json(tmp_path):
    write_json(tmp_path / "file.json", [{"a": 1}])
    assert json.loads((tmp_path / "file.json").read_text()) == [{"a": 1}]
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file.json", [float("nan")])
    assert files_in(tmp_path) == ["file.json"]
