import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import SHARED
from refusals import refusal
from safetensors import safe_open
from safetensors.numpy import save_file

from keras_cmm.data import EmbeddingSet, key_digests
from keras_cmm_runtime.errors import InputError

EMBEDDINGS = SHARED / "embeddings"

METADATA = {
    "format": "keras-cmm-embeddings/1",
    "dataset": "toy",
    "backbone": "toy CLIP",
    "logit_scale": "100.0",
    "class_names": '["ant", "bee", "cat"]',
    "notes": "made by a test",
}


def tensors(dtype="float16", width=8):
    rng = np.random.default_rng(0)
    return {
        "train_embeddings": rng.normal(size=(6, width)).astype(dtype),
        "train_labels": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "test_embeddings": rng.normal(size=(4, width)).astype(dtype),
        "test_labels": np.array([2, 1, 0, 0], np.int32),
        "text_embeddings": rng.normal(size=(3, width)).astype(dtype),
    }


def fields(**changes):
    names = {"class_names": ["ant", "bee", "cat"], "dataset": "toy", "backbone": "toy CLIP"}
    return tensors() | names | changes


def write(path, changed=(), without=(), metadata=()):
    """Writes a valid file, but for the given changes, with safetensors' own writer."""
    content = {k: v for k, v in (tensors() | dict(changed)).items() if k not in without}
    texts = {k: v for k, v in (METADATA | dict(metadata)).items() if v is not None}
    save_file(content, path, texts)
    return path


def with_value(array, row, value):
    array = array.copy()
    array[row] = value
    return array


def refused(path):
    message = refusal(EmbeddingSet.read, path)
    assert str(path) in message
    return message


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_reads_what_safetensors_wrote(tmp_path, dtype):
    expected = tensors(dtype)
    path = tmp_path / "toy.safetensors"
    save_file(expected, path, METADATA | {"protocol": "coop"})
    read = EmbeddingSet.read(path)
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(read, name), array, strict="labels" not in name)
    assert read.train_embeddings.dtype == dtype
    assert read.train_labels.dtype == np.int32
    assert (read.dataset, read.backbone, read.notes) == ("toy", "toy CLIP", "made by a test")
    assert (read.logit_scale, read.protocol, read.num_classes) == (100.0, "coop", 3)
    assert read.class_names == ["ant", "bee", "cat"]
    assert read.val_embeddings is None
    assert read.val_labels is None


def test_embeddings_are_views_into_the_file(tmp_path):
    read = EmbeddingSet.read(write(tmp_path / "toy.safetensors"))
    assert isinstance(read.train_embeddings, np.memmap)
    assert not read.train_embeddings.flags.writeable


def test_validation_pool_is_read(tmp_path):
    val = {
        "val_embeddings": np.ones((2, 8), np.float16),
        "val_labels": np.array([0, 1], np.int64),
    }
    read = EmbeddingSet.read(write(tmp_path / "toy.safetensors", val))
    assert read.val_embeddings.shape == (2, 8)
    assert read.val_labels.dtype == np.int32


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_any_integer_labels(tmp_path, kind):
    labels = tensors()["train_labels"]
    path = write(tmp_path / "toy.safetensors", {"train_labels": labels.astype(kind)})
    np.testing.assert_array_equal(EmbeddingSet.read(path).train_labels, labels)


def test_small_integer_labels_with_many_classes():
    text = np.ones((300, 8), np.float32)
    names = [str(index) for index in range(300)]
    EmbeddingSet(
        **fields(
            text_embeddings=text,
            class_names=names,
            train_labels=tensors()["train_labels"].astype("i1"),
        )
    )


def test_optional_metadata_has_defaults(tmp_path):
    absent = dict.fromkeys(["dataset", "backbone", "logit_scale", "notes"])
    read = EmbeddingSet.read(write(tmp_path / "birds.safetensors", metadata=absent))
    assert (read.dataset, read.backbone) == ("birds", "unknown")
    assert (read.logit_scale, read.protocol, read.notes) == (100.0, "embeddings", "")


def test_a_logit_scale_that_may_be_a_logarithm_is_warned_of(tmp_path):
    path = write(tmp_path / "birds.safetensors", metadata={"logit_scale": "4.6052"})
    with pytest.warns(UserWarning, match=r"birds.safetensors: `logit_scale` 4.6052 .* = 100 "):
        assert EmbeddingSet.read(path).logit_scale == 4.6052


TRAIN = tensors()["train_embeddings"]
LABELS = tensors()["train_labels"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metadata": {"format": "other/1"}}, ["format", "other/1", "keras-cmm-embeddings/1"]),
        ({"metadata": {"format": None}}, ["format", "None"]),
        ({"without": ["text_embeddings"]}, ["no tensor `text_embeddings`"]),
        ({"without": ["test_labels"]}, ["no tensor `test_labels`"]),
        ({"changed": {"train_embeddings": TRAIN[0]}}, ["`train_embeddings` has shape (8,)"]),
        ({"changed": {"train_embeddings": TRAIN[None]}}, ["shape (1, 6, 8)", "(rows, dim)"]),
        ({"changed": {"train_labels": LABELS[:, None]}}, ["`train_labels` has shape (6, 1)"]),
        ({"changed": {"test_embeddings": TRAIN[:4, :7].copy()}}, ["7 columns", "8"]),
        ({"changed": {"train_labels": LABELS[:5]}}, ["5 values for 6 rows"]),
        ({"changed": {"train_labels": with_value(LABELS, 4, 3)}}, ["has 3 at row 4", "0 to 2"]),
        ({"changed": {"train_labels": with_value(LABELS, 1, -1)}}, ["has -1 at row 1"]),
        (
            {"changed": {"train_labels": with_value(LABELS.astype("i8"), 1, -(2**32))}},
            [f"has {-(2**32)} at row 1"],
        ),
        (
            {"changed": {"train_labels": with_value(LABELS.astype("u8"), 1, 2**32)}},
            [f"has {2**32} at row 1"],
        ),
        ({"changed": {"train_labels": LABELS.astype("f4")}}, ["stored as F32", "integer"]),
        ({"changed": {"train_labels": LABELS.astype(bool)}}, ["stored as BOOL", "integer"]),
        ({"changed": {"train_embeddings": TRAIN.astype("i4")}}, ["stored as I32", "float16"]),
        (
            {"changed": {"train_embeddings": with_value(TRAIN, 5, np.nan)}},
            ["`train_embeddings`", "NaN", "row 5"],
        ),
        (
            {"changed": {"text_embeddings": with_value(TRAIN[:3], (1, 2), -np.inf)}},
            ["`text_embeddings`", "infinite", "row 1"],
        ),
        (
            {"changed": {"test_embeddings": with_value(TRAIN[:4], 3, 0)}},
            ["`test_embeddings`", "only zeros", "row 3"],
        ),
        (
            {"changed": {"train_embeddings": with_value(TRAIN.astype("f8"), 2, 1e200)}},
            ["row 2", "too large"],
        ),
        ({"metadata": {"class_names": None}}, ["no `class_names`"]),
        ({"metadata": {"class_names": "ant, bee"}}, ["`class_names` is not JSON"]),
        ({"metadata": {"class_names": "[" * 100_000}}, ["`class_names` is not JSON"]),
        ({"metadata": {"class_names": '{"0": "ant"}'}}, ["not a list"]),
        ({"metadata": {"class_names": '["ant", "bee", 3]'}}, ["list of strings"]),
        ({"metadata": {"class_names": '["ant", "bee"]'}}, ["2 names", "3 rows"]),
        ({"metadata": {"class_names": '["ant", "bee", "ant"]'}}, ["'ant' twice", "0 and 2"]),
        ({"metadata": {"class_names": '["ant", " ", "cat"]'}}, ["blank name", "class 1"]),
        ({"metadata": {"class_names": '["ant", "", "cat"]'}}, ["blank name", "class 1"]),
        (
            {"metadata": {"class_names": r'["ant", "b\u001b[31m", "cat"]'}},
            [r"control character in 'b\x1b[31m'", "class 1"],
        ),
        ({"metadata": {"class_names": r'["ant", "b\nc", "cat"]'}}, ["control character"]),
        ({"metadata": {"class_names": r'["ant", "b\ud800", "cat"]'}}, ["control character"]),
        (
            {"changed": {"text_embeddings": with_value(TRAIN[:3].astype("f4"), 1, 1e-16)}},
            ["`text_embeddings`", "too short to have a direction", "row 1"],
        ),
        ({"metadata": {"logit_scale": "high"}}, ["`logit_scale`", "'high'"]),
        ({"metadata": {"logit_scale": "-1"}}, ["`logit_scale`", "-1.0"]),
        ({"metadata": {"logit_scale": "0"}}, ["`logit_scale`"]),
        ({"metadata": {"logit_scale": "nan"}}, ["`logit_scale`", "nan"]),
        ({"metadata": {"logit_scale": "inf"}}, ["`logit_scale`", "inf"]),
        ({"changed": {"text_embeddings": TRAIN[:1]}}, ["one row", "2 classes"]),
        ({"changed": {"train_embeddings": TRAIN[:0]}}, ["`train_embeddings` is empty"]),
        ({"changed": {"test_embeddings": TRAIN[:0]}}, ["`test_embeddings` is empty"]),
        ({"changed": {"val_embeddings": TRAIN}}, ["`val_embeddings` and `val_labels`"]),
        ({"changed": {"val_labels": LABELS}}, ["`val_embeddings` and `val_labels`"]),
    ],
)
def test_refuses_with_one_sentence(tmp_path, changes, words):
    message = refused(write(tmp_path / "toy.safetensors", **changes))
    for word in words:
        assert word in message


def test_refuses_bfloat16(tmp_path):
    path = write(tmp_path / "toy.safetensors")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"dtype":"F16"', b'"dtype":"BF16"').replace(b"  ", b"", 1))
    # Renaming the dtype made the header longer: correct its length.
    header = path.read_bytes()[8:].split(b"}}")[0] + b"}}"
    body = content[8 + struct.unpack("<Q", content[:8])[0] :]
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)
    message = refused(path)
    assert "BF16" in message
    assert "no bfloat16" in message


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff" * 100, b"text that is long enough " * 9]
)
def test_refuses_what_is_not_safetensors(tmp_path, content):
    path = tmp_path / "toy.safetensors"
    path.write_bytes(content)
    assert "not a safetensors file" in refused(path)


@pytest.mark.parametrize("length", [5, 100, -1])
def test_refuses_truncated(tmp_path, length):
    path = write(tmp_path / "toy.safetensors")
    path.write_bytes(path.read_bytes()[:length])
    assert "cut short" in refused(path)


def test_refuses_missing_file_and_folder(tmp_path):
    assert "no such file" in refused(tmp_path / "none.safetensors")
    assert "is a folder; `keras-cmm embed` makes a file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"train_embeddings": [[1.0]]}, "numpy array. Received: list"),
        ({"train_embeddings": TRAIN.astype("i8")}, "int64"),
        ({"train_labels": LABELS.astype("f4")}, "float32"),
        ({"class_names": ("ant", "bee", "cat")}, "list of strings"),
        ({"logit_scale": -1}, "`logit_scale`"),
        ({"logit_scale": "100"}, "`logit_scale`"),
        ({"train_keys": np.zeros((5, 32), np.uint8)}, "expected (6, 32)"),
        ({"train_keys": np.zeros((6, 32), np.int64)}, "uint8"),
        ({"val_keys": np.zeros((6, 32), np.uint8)}, "without `val_embeddings`"),
        ({"dataset": None}, "`dataset`"),
        ({"notes": 3}, "`notes`"),
    ],
)
def test_constructor_refuses(changes, word):
    with pytest.raises(InputError, match="`") as caught:
        EmbeddingSet(**fields(**changes))
    assert word in str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_write_then_read(tmp_path, dtype):
    path = tmp_path / "toy.safetensors"
    before = EmbeddingSet(
        **fields(
            class_names=["é", "missile", "missile"],
            text_embeddings=tensors()["text_embeddings"][[0, 1, 1]],
            val_embeddings=np.ones((3, 8), np.float32),
            val_labels=np.array([2, 1, 0]),
            logit_scale=np.float32(14.25),
            protocol="coop",
            notes='with "quotes"\n',
        )
    )
    before.write(path, dtype)
    after = EmbeddingSet.read(path)
    for name, value in vars(before).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(after, name), value)
        else:
            assert getattr(after, name) == value
    assert after.test_embeddings.dtype == dtype
    assert list(tmp_path.iterdir()) == [path]


def test_safetensors_reads_what_we_wrote(tmp_path):
    path = tmp_path / "toy.safetensors"
    EmbeddingSet(**fields(train_labels=LABELS.astype("i8"))).write(path)
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(tensors())
        assert file.get_tensor("train_labels").dtype == np.int32
        assert file.get_tensor("train_embeddings").dtype == np.float16
        for name, array in tensors().items():
            np.testing.assert_array_equal(file.get_tensor(name), array)
        assert json.loads(file.metadata()["class_names"]) == ["ant", "bee", "cat"]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_every_tensor_is_aligned(tmp_path, dtype):
    odd = {name: array[..., :7] if array.ndim == 2 else array for name, array in tensors().items()}
    EmbeddingSet(**fields(**odd)).write(tmp_path / "odd.safetensors", dtype)
    read = EmbeddingSet.read(tmp_path / "odd.safetensors")
    assert read.train_embeddings.flags.aligned
    assert read.train_embeddings.offset % read.train_embeddings.itemsize == 0


def test_a_file_can_be_written_over_itself(tmp_path):
    path = write(tmp_path / "toy.safetensors")
    replace(EmbeddingSet.read(path), notes="again").write(path)
    assert EmbeddingSet.read(path).notes == "again"
    np.testing.assert_array_equal(EmbeddingSet.read(path).train_embeddings, TRAIN)


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (np.nan, "float16", "NaN"),
        (0, "float16", "only zeros"),
        (70_000, "float16", "too large values in row 2 (as float16)"),
        (1e-9, "float16", "only zeros in row 2 (as float16)"),
    ],
)
def test_write_refuses_and_keeps_the_old_file(tmp_path, value, dtype, words):
    path = tmp_path / "toy.safetensors"
    path.write_bytes(b"old")
    bad = with_value(TRAIN.astype("f4"), 2, value)
    with pytest.raises(InputError) as caught:
        EmbeddingSet(**fields(train_embeddings=bad)).write(path, dtype)
    assert words in str(caught.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_refuses_bad_targets(tmp_path):
    embeddings = EmbeddingSet(**fields())
    with pytest.raises(InputError, match="does not exist"):
        embeddings.write(tmp_path / "none" / "toy.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        embeddings.write(tmp_path)
    with pytest.raises(InputError, match="`dtype`"):
        embeddings.write(tmp_path / "toy.safetensors", "int8")


def test_memory_is_flat(tmp_path):
    """Reading 32 MB, and finding a NaN in the last row, takes a few MB."""
    rows = 250_000
    big = np.ones((rows, 64), np.float16)
    big[-1, -1] = np.nan
    path = write(
        tmp_path / "big.safetensors",
        {
            "train_embeddings": big,
            "train_labels": np.zeros(rows, np.uint8),
            "test_embeddings": np.ones((4, 64), np.float16),
            "text_embeddings": np.ones((3, 64), np.float16),
        },
    )
    del big
    tracemalloc.start()
    message = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"row {rows - 1}" in message
    assert peak < 12e6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("embeddings")


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_corruption_is_refused_or_leaves_a_valid_set(folder, changes):
    path = write(folder / "corrupt.safetensors")
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content)
    try:
        read = EmbeddingSet.read(path)
    except InputError:
        return
    assert len(read.class_names) == read.num_classes == 3
    for part in ("train", "test"):
        rows, labels = getattr(read, f"{part}_embeddings"), getattr(read, f"{part}_labels")
        assert len(rows) == len(labels)
        assert np.isfinite(rows).all()
        assert rows.any(axis=1).all()
        assert ((labels >= 0) & (labels < 3)).all()


@settings(max_examples=200)
@given(content=st.binary(max_size=200), text=st.text(max_size=100))
def test_random_bytes_are_refused(folder, content, text):
    path = folder / "random.safetensors"
    header = text.encode("utf-8", "replace")
    for data in (content, struct.pack("<Q", len(header)) + header + content):
        path.write_bytes(data)
        refused(path)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["imagenet", "stanford_cars", "caltech101", "dtd"])
def test_shared_files(name, tmp_path):
    path = EMBEDDINGS / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    read = EmbeddingSet.read(path)
    assert read.dataset == name
    assert read.train_embeddings.shape[1] == 512
    assert (read.val_labels is not None) == (name == "caltech101")
    accuracy = {"imagenet": 65.90, "stanford_cars": 58.96, "caltech101": 88.48, "dtd": 43.32}
    scores = read.test_embeddings.astype("f4") @ read.text_embeddings.astype("f4").T
    top1 = 100 * np.mean(scores.argmax(axis=1) == read.test_labels)
    assert top1 == pytest.approx(accuracy[name], abs=0.1)
    read.write(tmp_path / "copy.safetensors")
    copy = EmbeddingSet.read(tmp_path / "copy.safetensors")
    np.testing.assert_array_equal(copy.train_embeddings, read.train_embeddings)


@pytest.mark.parametrize("keyed", [False, True])
def test_keys(tmp_path, keyed):
    names = [f"{row}.jpg" for row in range(6)]
    keys = {"train_keys": key_digests(names)} if keyed else {}
    data = EmbeddingSet(**fields(**keys))
    data.write(tmp_path / "toy.safetensors")
    again = EmbeddingSet.read(tmp_path / "toy.safetensors")
    assert again.keys("train") == data.keys("train")
    assert len(set(again.keys("train"))) == 6
    # The same images, embedded elsewhere: other last bits.
    other = EmbeddingSet(**fields(**keys, train_embeddings=np.nextafter(TRAIN, np.float16(9))))
    assert (other.keys("train") == data.keys("train")) is keyed
    with pytest.raises(InputError, match="no validation rows"):
        data.keys("val")


def test_the_digest_is_of_all_that_decides_a_result(tmp_path):
    val = {"val_embeddings": TRAIN, "val_labels": LABELS}
    keys = {name: key_digests(list("abcdef")) for name in ("train_keys", "val_keys")}
    content = fields(**val, **keys)
    data = EmbeddingSet(**content)
    data.write(tmp_path / "toy.safetensors")
    assert EmbeddingSet.read(tmp_path / "toy.safetensors").digest() == data.digest()
    assert replace(data, train_labels=LABELS.astype("int64")).digest() == data.digest()
    assert replace(data, notes="made anew").digest() == data.digest()

    changed = [{"class_names": ["ant", "bee", "dog"]}, {"logit_scale": 50.0}]
    for name, array in content.items():
        if isinstance(array, np.ndarray):
            changed.append({name: array[::-1].copy()})
            assert (changed[-1][name] != array).any()
    changed.append({"val_keys": None})
    digests = {replace(data, **changes).digest() for changes in changed}
    assert len(digests | {data.digest()}) == 2 + 9 + 1 + 1


def test_refuses_keys_of_another_type(tmp_path):
    path = write(tmp_path / "toy.safetensors", {"train_keys": np.zeros((6, 32), np.int32)})
    assert "`train_keys` is stored as I32; store it as U8" in refused(path)
