"""The rules that other libraries have too, against these."""

import numpy as np
import pytest

from keras_cmm.labelling import suggest

CLASSES = 5


@pytest.fixture
def rows():
    """Embeddings of unit length, of five groups of different sizes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), [40, 30, 25, 20, 15])
    rows = np.eye(CLASSES, 12)[labels] + 0.2 * rng.normal(size=(len(labels), 12))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32"), labels


def test_k_centre_is_that_of_scikit_activeml(rows):
    pool = pytest.importorskip("skactiveml.pool")
    embeddings, labels = rows
    known = [0, 45]
    given = np.full(len(labels), np.nan)
    given[known] = labels[known]
    expected = pool.CoreSet(random_state=0).query(embeddings, given, batch_size=12)
    rest = np.setdiff1d(np.arange(len(labels)), known)
    chosen = suggest(
        embeddings[rest],
        np.full((len(rest), CLASSES), 1 / CLASSES),
        12,
        labelled=embeddings[known],
        labels=labels[known],
        strategy="k_centre",
    )
    assert rest[chosen].tolist() == expected.tolist()


def test_typiclust_is_that_of_scikit_activeml(rows):
    pool = pytest.importorskip("skactiveml.pool")
    embeddings, labels = rows
    seed = int(np.random.default_rng(1).integers(2**31))
    # Five groups of five sizes: which cluster is the largest is no matter of chance.
    strategy = pool.TypiClust(
        random_state=0, k=20, cluster_algo_dict={"random_state": seed, "n_init": 1}
    )
    expected = strategy.query(embeddings, np.full(len(labels), np.nan), batch_size=CLASSES)
    chosen = suggest(
        embeddings,
        np.full((len(labels), CLASSES), 1 / CLASSES),
        CLASSES,
        strategy="typiclust",
        seed=1,
    )
    assert chosen.tolist() == expected.tolist()
