"""Names of folders and files that `predict --sort-into` makes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_cmm_cli.sorted_images import folder_names, sort_images

NAMES = st.text(st.characters(), min_size=1, max_size=300)


@given(st.lists(NAMES, unique=True, max_size=5))
def test_folder_names_are_safe_and_different(class_names):
    names = folder_names(class_names)
    assert list(names) == class_names
    assert len({name.casefold() for name in names.values()}) == len(class_names)
    for name in names.values():
        assert name not in ("", ".", "..")
        assert not set(name) & set('/\\:*?"<>|\0')
        assert name[0] != "."
        assert name[-1] not in ". "
        assert len(name.encode()) <= 210


@pytest.mark.parametrize("name", ["con", "NUL.txt", "com1"])
def test_names_of_devices(name):
    assert folder_names([name]) == {name: f"_{name}"}


def test_plain_names_stay():
    names = ["red fox", "Blue-Jay_2", "été", string.ascii_letters]
    assert folder_names(names) == {name: name for name in names}


def test_images_of_one_name(tmp_path):
    images = []
    for number, folder in enumerate(("a", "b", "c")):
        (tmp_path / folder).mkdir()
        images.append(tmp_path / folder / "1.jpg")
        images[-1].write_bytes(bytes([number]))
    sort_images(tmp_path / "sorted", images, ["ant", "ant", "bee"], link=False)
    found = {
        path.relative_to(tmp_path / "sorted").as_posix(): path.read_bytes()
        for path in (tmp_path / "sorted").rglob("*.jpg")
    }
    assert found == {"ant/1.jpg": b"\0", "ant/1-2.jpg": b"\1", "bee/1.jpg": b"\2"}
