"""`LazyRows` against the arrays that they stand for."""

import mmap
import types

import numpy as np
import pytest
from counted_reads import counted_reads

from keras_cmm.utils import lazy_rows
from keras_cmm.utils.lazy_rows import LazyRows

ROWS = np.random.default_rng(0).normal(size=(7, 5)).astype("float16")


def unit(rows):
    rows = rows.astype("float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(2, 5),
        slice(None, None, 3),
        np.array([4, 1, 1]),
        np.array([-2, -1]),
        np.array([-1]),
        np.array([], "int64"),
        np.arange(7) % 2 == 0,
    ],
)
def test_chosen_rows_are_those_of_the_array(key):
    chosen = LazyRows(ROWS)[key]
    assert chosen.shape == ROWS[key].shape
    np.testing.assert_array_equal(np.asarray(chosen), ROWS[key].astype("float32"))
    twice = chosen[: len(chosen) // 2]
    np.testing.assert_array_equal(
        np.asarray(twice, "float64"), ROWS[key][: len(chosen) // 2].astype("float64")
    )


@pytest.mark.parametrize("chosen", [slice(None), slice(2, 5)])
@pytest.mark.parametrize("key", [[7], [6, 7], [-8], [True, False]])
def test_rows_that_there_are_not(chosen, key):
    with pytest.raises(IndexError):
        LazyRows(ROWS)[chosen][key]


def test_each_part_is_of_unit_length():
    rows = LazyRows(ROWS)[[5, 0]].unit(slice(0, 2), slice(2, None))
    expected = np.concatenate([unit(ROWS[[5, 0], :2]), unit(ROWS[[5, 0], 2:])], axis=1)
    assert rows.shape == (2, 5)
    np.testing.assert_allclose(np.asarray(rows), expected, rtol=1e-6)
    assert LazyRows(ROWS).unit(slice(0, 2)).shape == (7, 2)


@pytest.mark.parametrize("numbers", [None, [6, 2]])
def test_rows_may_follow(numbers):
    added = np.arange(10, dtype="float32").reshape(2, 5)
    rows = LazyRows(ROWS) if numbers is None else LazyRows(ROWS)[numbers]
    first = ROWS if numbers is None else ROWS[numbers]
    both = rows.followed_by(added)
    expected = np.concatenate([first.astype("float32"), added])
    np.testing.assert_array_equal(np.asarray(both), expected)
    order = [len(expected) - 1, 0, len(expected) - 2]
    np.testing.assert_array_equal(np.asarray(both[order]), expected[order])
    # Rows that were added stay as they are.
    units = np.concatenate([unit(first), added])
    np.testing.assert_allclose(np.asarray(both.unit(slice(None))), units, rtol=1e-6)


def test_blocks_and_mean(monkeypatch):
    monkeypatch.setattr(lazy_rows, "BLOCK_ROWS", 3)
    rows = LazyRows(ROWS)
    blocks = list(rows.blocks())
    assert [(part.start, part.stop) for part, _ in blocks] == [(0, 3), (3, 6), (6, 7)]
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), ROWS)
    np.testing.assert_allclose(rows.mean(), ROWS.mean(axis=0, dtype="float64"))


def test_rows_of_a_file_are_read_a_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(lazy_rows, "BLOCK_ROWS", 2)
    mapped, read = counted_reads(tmp_path / "rows", ROWS)
    rows = LazyRows(mapped)
    np.testing.assert_allclose(rows.mean(), ROWS.mean(axis=0, dtype="float64"))
    assert read == [2, 2, 2, 1]


def test_rows_here_and_there_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(lazy_rows, "_SCATTERED_ROWS", 2)
    mapped, read = counted_reads(tmp_path / "rows", ROWS)
    order = [6, 0, 3, 1, 5]
    np.testing.assert_array_equal(np.asarray(LazyRows(mapped)[order]), ROWS[order])
    assert read == [2, 2, 1]


def test_what_was_written_to_a_mapping_is_kept(tmp_path):
    ROWS.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", ROWS.dtype, "c", shape=ROWS.shape)
    mapped[:] = 2
    np.testing.assert_array_equal(np.asarray(LazyRows(mapped)), np.full(ROWS.shape, 2))


def test_pages_that_were_read_are_let_go(monkeypatch):
    advice = []
    mapping = types.SimpleNamespace(madvise=advice.append)
    monkeypatch.setattr(lazy_rows, "_mapping_of", lambda rows: mapping)
    np.asarray(LazyRows(ROWS)[2:4])
    assert advice == [mmap.MADV_DONTNEED]
