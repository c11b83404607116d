import numpy as np
import pytest
from labelled_pictures import pictures, write_folder

from keras_cmm.data import ImageList
from keras_cmm.report import contact_sheet, mistakes_sheet
from keras_cmm_runtime.errors import InputError


@pytest.fixture
def source(tmp_path):
    return ImageList.from_folder(write_folder(tmp_path, pictures()))


def test_mistakes_are_shown_with_true_class_and_guess(source, monkeypatch):
    shown = []

    def watch(images, rows, captions):
        shown.append((list(rows), captions))
        return contact_sheet(images, rows, captions)

    monkeypatch.setattr("keras_cmm.report.image_sheets.contact_sheet", watch)
    predictions = np.array([0, 1, 0, 1, 1, 0])
    sheet = mistakes_sheet(source, predictions)
    assert shown.pop() == ([1, 5], ["green tea\n> red fox", "red fox\n> green tea"])
    # Two tiles side by side, each with a picture and letters on white.
    left, right = np.split(np.asarray(sheet), 2, axis=1)
    for tile in (left, right):
        assert (tile[:20, :24] != 255).any()
        assert (tile[112:] < 128).any()
    assert (left != right).any()
    mistakes_sheet(source, 1 - source.labels, most=4)
    rows, captions = shown.pop()
    assert len(captions) == len(set(rows)) == 4


def test_tiles_go_on_in_the_next_line(source):
    one, two = (contact_sheet(source, range(6), "abcdef", columns=columns) for columns in (6, 4))
    assert (one.width // 6, one.height) == (two.width // 4, two.height // 2)
    assert contact_sheet(source, [], []) is None


def test_no_mistake_no_sheet(source):
    assert mistakes_sheet(source, source.labels) is None
    with pytest.raises(InputError, match=r"shape \(6,\). Received: shape \(5,\)"):
        mistakes_sheet(source, source.labels[:5])
