import io
import json
import tarfile

import pyarrow
import pyarrow.parquet
import pytest

from keras_cmm_runtime import InputError
from keras_cmm_runtime.scale import Storage, find_shards, read_shard


def write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def rows_of(path):
    return [row for shard in find_shards(Storage(str(path))) for row in read_shard(shard)]


def test_image_files(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(b"one")
    shards = list(find_shards(Storage(str(tmp_path))))
    assert [(row.id, row.label, row.data) for row in read_shard(shards[0])] == [
        ("cat/1.jpg", "cat", b"one")
    ]
    (tmp_path / "cat" / "1.jpg").unlink()
    (row,) = read_shard(shards[0])
    assert (row.data, row.error) == (None, "cannot be read (No such file or directory)")


def test_a_webdataset(tmp_path):
    write_tar(
        tmp_path / "a.tar",
        {
            "000.jpg": b"0",
            "000.cls": b"cat\n",
            "001.json": json.dumps({"label": 3}).encode(),
            "001.jpg": b"1",
            "002.png": b"2",
        },
    )
    assert [(row.id, row.label, row.data) for row in rows_of(tmp_path / "a.tar")] == [
        ("a.tar/000.jpg", "cat", b"0"),
        ("a.tar/001.jpg", "3", b"1"),
        ("a.tar/002.png", None, b"2"),
    ]


def test_class_folders_in_a_tar_file(tmp_path):
    write_tar(
        tmp_path / "a.tar", {"./all/cat/1.jpg": b"1", "all/dog/1.psd": b"2", "x/._1.jpg": b""}
    )
    assert [(row.id, row.label) for row in rows_of(tmp_path / "a.tar")] == [
        ("a.tar/all/cat/1.jpg", "cat"),
        ("a.tar/all/dog/1.psd", "dog"),
    ]


def test_a_link_in_a_tar_file_is_no_image(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("cat/1.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    (row,) = rows_of(tmp_path / "a.tar")
    assert (row.data, row.error) == (None, "is a link or device, not an image file")


@pytest.mark.parametrize("kept", [100, 512, 700, 1024, 1536])
def test_a_tar_file_that_is_cut_off(tmp_path, kept):
    path = tmp_path / "a.tar"
    write_tar(path, {"cat/1.jpg": b"1" * 300, "cat/2.jpg": b"2" * 300})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"a\.tar: is damaged, cut off"):
        rows_of(path)


def test_a_label_that_cannot_be_read(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.jpg": b"0", "0.json": b"{"})
    with pytest.raises(InputError, match="the file with its label cannot be read"):
        rows_of(tmp_path / "a.tar")


def test_parquet_as_hugging_face_writes_it(tmp_path):
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": [{"bytes": b"0", "path": None}, {"bytes": b"1", "path": "x.png"}, None]}
    data = datasets.Dataset.from_dict(rows | {"label": [1, 0, -1]}, features=features)
    data.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    name = "train-00000-of-00001.parquet"
    assert [(r.id, r.label, r.split, r.data, r.error) for r in rows_of(tmp_path)] == [
        (f"{name}[0]", "dog", "train", b"0", None),
        (f"{name}[1]", "cat", "train", b"1", None),
        (f"{name}[2]", None, "train", None, "has no image"),
    ]


def test_parquet_of_bytes_and_names(tmp_path):
    table = pyarrow.table({"jpg": [b"0", b"1"], "class_name": ["cat", None], "url": ["a", "b"]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    assert [(row.label, row.data) for row in rows_of(tmp_path)] == [("cat", b"0"), (None, b"1")]
    pyarrow.parquet.write_table(table.append_column("png", table["jpg"]), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="has 2 columns of image bytes; expected one"):
        rows_of(tmp_path)


def test_parquet_with_a_column_of_splits(tmp_path):
    rows = {"image": [b"0", b"1"], "label": ["cat", " "], "split": ["Testing", None]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    found = [(row.label, row.split) for row in rows_of(tmp_path)]
    assert found == [("cat", "test"), (None, None)]
    # The name of a file comes first.
    (tmp_path / "x.parquet").rename(tmp_path / "train-0.parquet")
    assert [row.split for row in rows_of(tmp_path)] == ["train", "train"]


@pytest.mark.parametrize(
    ("labels", "notes", "message"),
    [
        ([0, 2], '{"info": {"features": {"label": {"names": ["a"]}}}}', r"\[1\]: has the label 2"),
        ([0, 1], "{", "what Hugging Face notes of its columns cannot be read"),
        ([0, 1], "[]", "what Hugging Face notes of its columns cannot be read"),
        ([[0, 1], [1]], None, r"\[0\]: has the label \[0, 1\]; an image must have one class"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, labels, notes, message):
    table = pyarrow.table({"image": [b"0", b"1"], "label": labels})
    table = table.replace_schema_metadata({"huggingface": notes} if notes else None)
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        rows_of(tmp_path)


def test_errors_of_a_library_are_those_of_a_store(tmp_path, monkeypatch):
    class LibraryError(Exception):
        pass

    def read(self, *args):
        raise LibraryError("no answer")

    write_tar(tmp_path / "a.tar", {"cat/1.jpg": b"1"})
    monkeypatch.setattr(tarfile.ExFileObject, "read", read)
    with pytest.raises(OSError, match=r"a\.tar: LibraryError: no answer"):
        rows_of(tmp_path / "a.tar")
