import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_cmm.models import find_duplicate_groups


def naive(embeddings, tolerance):
    """Join any two rows that are close, however they are chained."""
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    groups = [{row} for row in range(len(unit))]
    for row in range(len(unit)):
        for other in range(row):
            if np.linalg.norm(unit[row] - unit[other]) <= tolerance:
                joined = [group for group in groups if group & {row, other}]
                groups = [group for group in groups if not group & {row, other}]
                groups.append(set().union(*joined))
    return sorted(sorted(group) for group in groups if len(group) > 1)


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from([1e-3, 0.5, 1.2]),
)
def test_against_all_pairs(rows, tolerance):
    embeddings = np.array(rows, dtype="float32")
    groups = find_duplicate_groups(embeddings, tolerance)
    assert groups == sorted(groups)
    assert groups == naive(embeddings, tolerance)


def test_the_length_does_not_matter_but_the_sign_does():
    rows = np.array([[1, 2], [-1, -2], [10, 20], [0.5, 1.0]])
    assert find_duplicate_groups(rows) == [[0, 2, 3]]


def test_rounding_is_forgiven():
    rows = np.random.default_rng(0).normal(size=(3, 512))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.concatenate([rows, rows.astype("float16").astype("float64")])
    assert find_duplicate_groups(rows) == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_none(tolerance):
    assert find_duplicate_groups(np.eye(4), tolerance) == []


def test_one_pair_among_many_classes():
    rows = np.random.default_rng(0).normal(size=(4000, 64)).astype("float32")
    rows[3999] = rows[7]
    assert find_duplicate_groups(rows) == [[7, 3999]]


@pytest.mark.parametrize("seed", range(5))
def test_exact_and_near_duplicates_together(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(10, 16))[rng.integers(0, 10, size=60)]
    rows[:40] *= rng.uniform(0.5, 2, size=(40, 1))
    rows[20:50] += rng.normal(scale=6e-4, size=(30, 16))  # Some are near enough, some not.
    groups = find_duplicate_groups(rows)
    assert 40 < sum(map(len, groups)) < 60
    assert groups == naive(rows, 1e-3)


def test_all_classes_alike():
    # As an untrained text encoder's embeddings can be. Their 200 million pairs would take minutes.
    start = time.perf_counter()
    assert find_duplicate_groups(np.ones((20_000, 8))) == [list(range(20_000))]
    assert time.perf_counter() - start < 30
