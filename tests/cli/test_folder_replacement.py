import ctypes
import errno
import os
import sys

import pytest

from keras_cmm_cli import folder_replacement
from keras_cmm_cli.folder_replacement import exchange, replace_folder, restore_folder


def make(folder, text):
    folder.mkdir()
    (folder / "weights").write_text(text)
    return folder


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_two_folders_change_places_at_once(tmp_path):
    old, new = make(tmp_path / "old", "old"), make(tmp_path / "new", "new")
    assert exchange(new, old)
    assert (old / "weights").read_text() == "new"
    assert (new / "weights").read_text() == "old"
    with pytest.raises(OSError, match="No such file"):
        exchange(tmp_path / "none", old)


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_exchange(tmp_path, monkeypatch, number):
    class Library:
        def __init__(self, *_, **__):
            self.renameat2 = lambda *_: ctypes.set_errno(number) or -1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert exchange(make(tmp_path / "new", "new"), make(tmp_path / "old", "old")) is False


@pytest.fixture(params=["exchange", "two renames"])
def way(request, monkeypatch):
    if request.param == "two renames":
        monkeypatch.setattr(folder_replacement, "exchange", lambda *_: False)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("before", ["absent", "empty", "model"])
def test_the_new_folder_takes_the_place(tmp_path, before):
    place = tmp_path / "model"
    if before == "empty":
        place.mkdir()
    if before == "model":
        make(place, "old")
    replace_folder(make(tmp_path / "new", "new"), place)
    assert (place / "weights").read_text() == "new"
    assert hidden(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_killed_between_two_renames_the_model_comes_back(tmp_path, monkeypatch):
    """`replace_gap.py`: the model was gone from its place, and nothing brought it back."""
    monkeypatch.setattr(folder_replacement, "exchange", lambda *_: False)
    place, new = make(tmp_path / "model", "old"), make(tmp_path / "new", "new")
    if os.fork() == 0:
        monkeypatch.setattr(folder_replacement, "restore_folder", lambda _: None)
        monkeypatch.setattr(type(place), "rename", killed_after_one_rename())
        replace_folder(new, place)
        os._exit(0)
    os.wait()
    assert not place.exists()
    restore_folder(place)
    assert (place / "weights").read_text() == "old"
    assert hidden(tmp_path) == []


def killed_after_one_rename():
    def rename(path, target):
        os.rename(path, target)  # noqa: PTH104
        os.kill(os.getpid(), 9)

    return rename


def test_killed_after_both_renames_the_old_model_goes(tmp_path):
    place = make(tmp_path / "model", "new")
    make(folder_replacement._old(place), "old")
    restore_folder(place)
    assert (place / "weights").read_text() == "new"
    assert hidden(tmp_path) == []
