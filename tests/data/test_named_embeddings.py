"""Embeddings of further encoders in an embeddings file."""

from dataclasses import replace

import numpy as np
import pytest
from refusals import refusal
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from keras_cmm.data import EmbeddingSet, NamedEmbeddings
from keras_cmm_runtime.errors import InputError

RNG = np.random.default_rng(0)
EYE = np.eye(3, 8, dtype="float32")


def make(also=None, **changes):
    arguments = {
        "train_embeddings": EYE,
        "train_labels": np.arange(3, dtype="int32"),
        "test_embeddings": EYE[:2],
        "test_labels": np.arange(2, dtype="int32"),
        "text_embeddings": EYE,
        "class_names": ["ant", "bee", "cat"],
        "dataset": "toy",
        "backbone": "CLIP",
    }
    return EmbeddingSet(**arguments | changes, also=also or {})


def rows(count, width=5):
    return RNG.normal(size=(count, width)).astype("float32")


def named(val=None, width=5):
    return NamedEmbeddings(rows(3, width), rows(2, width), val)


def test_written_and_read(tmp_path):
    path = tmp_path / "toy.safetensors"
    also = {"dinov3": named(), "facebook/dinov2.small": named(width=3)}
    make(also).write(path, "float32")
    with safe_open(path, framework="numpy") as file:
        assert {name for name in file.keys() if "." in name} == {  # noqa: SIM118
            "train_embeddings.dinov3",
            "test_embeddings.dinov3",
            "train_embeddings.facebook/dinov2.small",
            "test_embeddings.facebook/dinov2.small",
        }
    read = EmbeddingSet.read(path)
    assert set(read.also) == set(also)
    for name, further in also.items():
        np.testing.assert_array_equal(read.further(name).train, further.train)
        np.testing.assert_array_equal(read.further(name).test, further.test)
        assert read.further(name).val is None
        assert read.further(name).dim == further.dim
    # Written again, it has the same bytes.
    again = tmp_path / "again.safetensors"
    read.write(again, "float32")
    assert again.read_bytes() == path.read_bytes()


def test_with_validation_rows(tmp_path):
    path = tmp_path / "toy.safetensors"
    val = {"val_embeddings": EYE[:1], "val_labels": np.array([2])}
    data = make({"eye": named(rows(1))}, **val)
    data.write(path)
    assert EmbeddingSet.read(path).further("eye").val.shape == (1, 5)
    with pytest.raises(InputError, match="`also` must have `val` of 'eye' where the set"):
        make({"eye": named()}, **val)
    with pytest.raises(InputError, match="`also` must have `val` of 'eye' where the set"):
        make({"eye": named(rows(1))})


def test_a_file_without_them_is_as_before(tmp_path):
    path, other = tmp_path / "toy.safetensors", tmp_path / "other.safetensors"
    make().write(path)
    assert EmbeddingSet.read(path).also == {}
    data = make({"eye": named()})
    data.write(other)
    assert all(
        load_file(other)[name].tobytes() == each.tobytes() for name, each in load_file(path).items()
    )


def test_digests_name_what_a_result_depends_on(tmp_path):
    data = make({"eye": named()})
    assert data.digest() == make().digest()
    assert data.digest("eye") != data.digest()
    assert replace(data, also={"eye": named()}).digest("eye") != data.digest("eye")
    path = tmp_path / "toy.safetensors"
    data.write(path, "float32")
    assert EmbeddingSet.read(path).digest("eye") == data.digest("eye")
    with pytest.raises(
        InputError, match=r"no embeddings by a further encoder of the name 'nose'.*eye"
    ):
        data.digest("nose")
    with pytest.raises(InputError, match="it has: none"):
        make().further("eye")


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (NamedEmbeddings(rows(2), rows(2)), r"train_embeddings.eye` has shape \(2, 5\); expected"),
        (
            NamedEmbeddings(rows(3), rows(2, 4)),
            r"test_embeddings.eye` has shape \(2, 4\); expected",
        ),
        (NamedEmbeddings(rows(3)[0], rows(2)), r"train_embeddings.eye` has shape \(5,\)"),
        (NamedEmbeddings(rows(3).astype(int), rows(2)), "train_embeddings.eye` has dtype int64"),
    ],
)
def test_arrays_that_do_not_fit(further, message):
    with pytest.raises(InputError, match=message):
        make({"eye": further})


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="the names of `also` must be texts"):
        make({name: named()})


def test_files_that_are_damaged(tmp_path):
    path = tmp_path / "toy.safetensors"
    make({"eye": named()}).write(path, "float32")
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    whole = dict(tensors)
    del tensors["test_embeddings.eye"]
    save_file(tensors, path, metadata)
    assert "has no tensor `test_embeddings.eye`" in refusal(EmbeddingSet.read, path)
    whole["train_embeddings.eye"][1] = np.nan
    save_file(whole, path, metadata)
    assert "`train_embeddings.eye` has NaN" in refusal(EmbeddingSet.read, path)
    with pytest.raises(InputError, match=r"`train_embeddings.eye` has NaN"):
        replace(
            make({"eye": named()}),
            also={"eye": NamedEmbeddings(whole["train_embeddings.eye"], rows(2))},
        ).write(path)
