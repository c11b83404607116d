import hashlib
import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import SHARED

from keras_cmm.data import (
    EmbeddingSet,
    FewShotDraws,
    FewShotSample,
    ImageList,
    key_digests,
    row_keys,
    sample_few_shot,
)
from keras_cmm.evaluation import make_task
from keras_cmm_runtime.errors import InputError

EMBEDDINGS = SHARED / "embeddings"

LABELS = [0, 0, 0, 0, 1, 1, 1, 1, 4, 4, 4, 4]
KEYS = [f"images/{index}.jpg" for index in range(12)]


def quiet_sample(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sample_few_shot(*args, **kwargs)


@pytest.mark.parametrize(
    ("shots", "seed", "expected"),
    [
        (1, 1, [2, 6, 8]),
        (1, 3, [2, 5, 8]),
        (2, 3, [2, 3, 5, 6, 8, 9]),
        (2, 5, [2, 0, 4, 5, 10, 9]),
        ("all", 5, [2, 0, 1, 3, 4, 5, 7, 6, 10, 9, 11, 8]),
    ],
)
def test_golden(shots, seed, expected):
    """Pins the choice for ever: published indices must not change with a version or platform."""
    sample = sample_few_shot(LABELS, shots, seed=seed, keys=KEYS)
    assert sample.indices.tolist() == expected
    assert sample.indices.dtype == np.int64
    assert sample.short == {}


def test_golden_keys_of_rows():
    rows = np.array([[1.0, -0.5], [0.0, 65504.0]], np.float16)
    assert [key.hex()[:16] for key in row_keys(rows)] == ["e5e0ce39fac89cd9", "a47cc4b14119e87c"]
    assert row_keys(rows) == row_keys(rows.astype(">f4")) == row_keys(rows.astype("f8"))
    with pytest.raises(InputError, match="shape"):
        row_keys(rows[0])


def test_a_name_and_its_digest_are_the_same_identity():
    digests = [hashlib.sha256(key.encode()).digest() for key in KEYS]
    assert [row.tobytes() for row in key_digests(KEYS)] == digests
    for seed in range(5):
        names = sample_few_shot(LABELS, 2, seed=seed, keys=KEYS)
        rows = sample_few_shot(np.array(LABELS), np.int64(2), seed=seed, keys=digests)
        assert names.indices.tolist() == rows.indices.tolist()


@pytest.mark.parametrize("has_val", [True, False])
def test_images_and_the_file_of_their_embeddings_give_the_same_draw(tmp_path, has_val):
    labels = np.repeat(np.arange(3, dtype="int32"), 8)
    paths = tuple(tmp_path / f"{label}/{row}.jpg" for row, label in enumerate(labels))
    images = ImageList(paths, labels, ("ant", "bee", "cat"), tmp_path)
    # Row r is image r, in another order than the images have.
    order = np.random.default_rng(0).permutation(len(labels))
    rows = np.eye(len(labels), dtype="float32")[order]
    pool = {"embeddings": rows, "labels": labels[order]}
    pool["keys"] = key_digests([images.keys()[row] for row in order])
    parts = ("train", "val") if has_val else ("train",)
    data = EmbeddingSet(
        **{f"{part}_{name}": array for part in parts for name, array in pool.items()},
        test_embeddings=rows[:1],
        test_labels=labels[:1],
        text_embeddings=np.eye(3, len(labels), dtype="float32"),
        class_names=list(images.class_names),
        dataset="insects",
        backbone="none",
    )
    draws = FewShotDraws(images, images if has_val else None)
    for shots, seed in ((1, 1), (2, 1), (2, 7), (5, 3)):
        task = make_task(data, shots, seed)
        drawn = task.embeddings.argmax(axis=1), task.val_embeddings.argmax(axis=1)
        assert drawn[0].tolist() == draws.support(shots, seed).indices.tolist()
        assert drawn[1].tolist() == draws.validation(shots, seed).indices.tolist()


def test_names_that_are_not_utf8():
    keys = [b"\xff.jpg".decode("utf-8", "surrogateescape"), "b.jpg"]
    assert len(sample_few_shot([0, 1], 1, seed=1, keys=keys).indices) == 2
    assert key_digests(keys)[0].tobytes() == hashlib.sha256(b"\xff.jpg").digest()


def test_same_keys_go_by_row_number():
    sample = sample_few_shot([0, 0, 0, 1, 1], 2, seed=1, keys=["same"] * 5)
    assert sample.indices.tolist() == [0, 1, 3, 4]


data = st.lists(st.tuples(st.integers(0, 6), st.text(max_size=4)), min_size=1, max_size=60)


@given(rows=data, shots=st.integers(1, 8), seed=st.integers(), order=st.randoms())
def test_row_order_does_not_matter(rows, shots, seed, order):
    shuffled = order.sample(rows, len(rows))

    def drawn(rows):
        labels, keys = zip(*rows, strict=True)
        return [rows[i] for i in quiet_sample(labels, shots, seed=seed, keys=keys).indices]

    assert drawn(rows) == drawn(shuffled)


@given(rows=data, shots=st.integers(1, 8), seed=st.integers(), exclude=st.data())
def test_takes_min_of_shots_and_rows(rows, shots, seed, exclude):
    labels, keys = zip(*rows, strict=True)
    excluded = exclude.draw(st.lists(st.integers(0, len(rows) - 1)))
    sample = quiet_sample(labels, shots, seed=seed, keys=keys, exclude=excluded)
    drawn = sample.indices.tolist()
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & set(excluded)
    left = [label for i, label in enumerate(labels) if i not in excluded]
    for label in set(labels):
        assert sum(labels[i] == label for i in drawn) == min(shots, left.count(label))
    short = {label: left.count(label) for label in set(labels) if left.count(label) < shots}
    assert sample.short == short
    assert [labels[i] for i in drawn] == sorted(labels[i] for i in drawn)


@given(rows=data, fewer=st.integers(1, 4), more=st.integers(0, 4), seed=st.integers())
def test_fewer_shots_are_a_subset(rows, fewer, more, seed):
    labels, keys = zip(*rows, strict=True)
    small = quiet_sample(labels, fewer, seed=seed, keys=keys).indices.tolist()
    large = quiet_sample(labels, fewer + more, seed=seed, keys=keys).indices.tolist()
    every = sample_few_shot(labels, "all", seed=seed, keys=keys).indices.tolist()
    assert set(small) <= set(large) <= set(every) == set(range(len(rows)))


def test_seeds_differ():
    labels, keys = [0] * 50, [str(i) for i in range(50)]
    draws = {tuple(sample_few_shot(labels, 4, seed=s, keys=keys).indices) for s in range(20)}
    assert len(draws) == 20


def test_short_classes_are_named():
    with pytest.warns(
        UserWarning, match=r"2 of 3 classes .* class 0 \(1\), class 2 \(0\)\."
    ) as seen:
        sample = sample_few_shot([0, 1, 1, 2], 2, seed=1, keys=list("abcd"), exclude=[3])
    assert sample.short == {0: 1, 2: 0}
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_many_short_classes_are_summarised():
    with pytest.warns(UserWarning, match=r"class 9 \(1\) and 20 more\."):
        sample_few_shot(range(30), 2, seed=1, keys=[str(i) for i in range(30)])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"shots": 0}, "`shots`"),
        ({"shots": True}, "`shots`"),
        ({"shots": 1.0}, "`shots`"),
        ({"shots": "some"}, "`shots`"),
        ({"seed": 1.5}, "`seed`"),
        ({"seed": None}, "`seed`"),
        ({"labels": [0.0] * 12}, "`labels`"),
        ({"labels": [-1] * 12}, "`labels`"),
        ({"labels": [[0]] * 12}, "`labels`"),
        ({"labels": [], "keys": []}, "`labels`"),
        ({"keys": KEYS[:5]}, "`keys`"),
        ({"keys": "abcdefghijkl"}, "`keys`"),
        ({"exclude": [12]}, "`exclude`"),
        ({"exclude": [-1]}, "`exclude`"),
        ({"exclude": [0.5]}, "`exclude`"),
        ({"exclude": [True] * 12}, "`exclude`"),
    ],
)
def test_refuses(changes, word):
    arguments = {"labels": LABELS, "shots": 1, "seed": 1, "keys": KEYS} | changes
    with pytest.raises(InputError, match=word):
        sample_few_shot(**arguments)


@pytest.mark.parametrize("shots", [2, 5, "all"])
def test_save_and_load(tmp_path, shots):
    sample = quiet_sample(LABELS, shots, seed=3, keys=KEYS, exclude=[0])
    sample.save(tmp_path / "indices.json")
    again = FewShotSample.load(tmp_path / "indices.json", labels=LABELS, keys=KEYS)
    assert again.indices.tolist() == sample.indices.tolist()
    assert again.indices.dtype == np.int64
    for name in ("shots", "seed", "short", "num_rows", "fingerprint"):
        assert getattr(again, name) == getattr(sample, name)


def test_saved_file_is_plain_json(tmp_path):
    sample_few_shot(LABELS, 1, seed=1, keys=KEYS).save(tmp_path / "indices.json")
    content = json.loads((tmp_path / "indices.json").read_text())
    assert content == {
        "format": "keras-cmm-indices/1",
        "shots": 1,
        "seed": 1,
        "num_rows": 12,
        "fingerprint": "0c059d778a26812781ca6daa803daffef0042e0c69ad82b7afbec8a56f9a525b",
        "indices": [2, 6, 8],
    }


@pytest.mark.parametrize(
    ("labels", "keys"),
    [
        (LABELS[:-1], KEYS[:-1]),
        ([*LABELS[:-1], 1], KEYS),
        (LABELS, [*KEYS[:-1], "other.jpg"]),
        (LABELS, KEYS[::-1]),
        (LABELS[::-1], KEYS[::-1]),
    ],
)
def test_refuses_indices_of_other_data(tmp_path, labels, keys):
    sample_few_shot(LABELS, 1, seed=7, keys=KEYS).save(tmp_path / "indices.json")
    with pytest.raises(InputError, match=r"indices\.json: was made for other .* seed 7"):
        FewShotSample.load(tmp_path / "indices.json", labels=labels, keys=keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "keras-cmm-indices/2"},
        {"shots": 0},
        {"shots": "some"},
        {"seed": "1"},
        {"num_rows": None},
        {"fingerprint": 3},
        {"indices": 3},
        {"indices": [0, 0]},
        {"indices": [12]},
        {"indices": [-1]},
        {"indices": [0.0]},
        {"indices": [True]},
        {"indices": [10**30]},
    ],
)
def test_refuses_changed_files(tmp_path, changes):
    path = tmp_path / "indices.json"
    sample_few_shot(LABELS, 1, seed=1, keys=KEYS).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=r"indices\.json: "):
        FewShotSample.load(path, labels=LABELS, keys=KEYS)


def test_refuses_missing_file_and_folder(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError, match="cannot be read"):
            FewShotSample.load(path, labels=LABELS, keys=KEYS)
    with pytest.raises(InputError, match="does not exist"):
        sample_few_shot(LABELS, 1, seed=1, keys=KEYS).save(tmp_path / "none" / "indices.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from(["format", "shots", "seed", "num_rows", "fingerprint", "indices"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indices")


@given(content=st.binary() | json_values | st.dictionaries(names, json_values))
def test_random_files_are_refused(folder, content):
    path = folder / "random.json"
    if isinstance(content, dict):
        content = {"format": "keras-cmm-indices/1"} | content
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError, match=r"random\.json: "):
        FewShotSample.load(path, labels=LABELS, keys=KEYS)


def test_deeply_nested_json_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match="not JSON"):
        FewShotSample.load(tmp_path / "deep.json", labels=LABELS, keys=KEYS)


@pytest.mark.shared
def test_shared_embeddings():
    path = EMBEDDINGS / "caltech101.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    read = EmbeddingSet.read(path)
    keys = row_keys(read.train_embeddings)
    sample = sample_few_shot(read.train_labels, 16, seed=1, keys=keys)
    assert sample.short == {}
    assert sorted(sample.indices) == list(range(1600))
