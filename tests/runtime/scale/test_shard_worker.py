import errno
import hashlib
import io
import os

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from stub_shard_model import MakeStubWorker, StubShardModel

from keras_cmm_runtime import InputError
from keras_cmm_runtime.scale import ShardWorker, Storage, find_shards
from keras_cmm_runtime.scale.decoded_rows import decode_rows
from keras_cmm_runtime.scale.read_shard import read_shard


def picture(color):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (color, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def images(tmp_path):
    for number in range(7):
        path = tmp_path / "images" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(30 * number))
    (tmp_path / "images" / "cat" / "9.png").write_bytes(b"no image")
    return tmp_path / "images"


@pytest.fixture
def output(tmp_path):
    return Storage(str(tmp_path / "output"))


def shards_of(images, size=100):
    return list(find_shards(Storage(str(images)), size))


def test_a_part_becomes_a_file(images, output):
    cats, _dogs = shards_of(images)
    result = MakeStubWorker(output)()(cats)
    assert (result.rows, result.errors, result.labels) == (4, 1, {"cat": 3})
    assert (result.is_new, result.failure) == (True, None)
    table = pyarrow.parquet.read_table(output.path(f"shards/{cats.name}.parquet"))
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: halffloat>[4]"
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == ["cat/1.png", "cat/3.png", "cat/5.png", "cat/9.png"]
    assert [round(row["embedding"][0] * 255) for row in rows[:3]] == [30, 90, 150]
    assert rows[0]["digest"] == hashlib.sha256(picture(30)).digest()
    assert rows[3]["embedding"] is None
    assert "cannot be read as an image" in rows[3]["error"]


def test_a_file_that_is_there_stays(images, output):
    shard = shards_of(images)[0]
    worker = MakeStubWorker(output)()
    first = worker(shard)
    name = f"shards/{shard.name}.parquet"
    data = output.read(name)
    again = worker(shard)
    assert (again.is_new, again.rows, again.errors, again.labels) == (
        *(False, first.rows, first.errors),
        first.labels,
    )
    assert output.read(name) == data


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_a_damaged_file_is_made_again(images, output, content):
    shard = shards_of(images)[0]
    worker = MakeStubWorker(output)()
    first = worker(shard)
    name = f"shards/{shard.name}.parquet"
    data = output.read(name)
    output.write(name, data[:-20] if content is None else content)
    again = worker(shard)
    assert (again.is_new, again.rows, again.failure) == (True, first.rows, None)
    assert output.read(name) == data


def test_names_that_are_no_utf8(tmp_path, output):
    folder = tmp_path / "images" / os.fsdecode(b"c\xe4t")
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"\xe4.png")).write_bytes(picture(1))
    (shard,) = shards_of(tmp_path / "images")
    assert MakeStubWorker(output)()(shard).labels == {"c\\udce4t": 1}
    (row,) = pyarrow.parquet.read_table(output.path(f"shards/{shard.name}.parquet")).to_pylist()
    assert row["id"] == "c\\udce4t/\\udce4.png"


def test_the_same_part_gives_the_same_bytes(images, tmp_path):
    shard = shards_of(images)[0]
    files = []
    for threads in (0, 3):
        output = Storage(str(tmp_path / f"output{threads}"))
        ShardWorker(StubShardModel, output, threads)(shard)
        files.append(output.read(f"shards/{shard.name}.parquet"))
    assert files[0] == files[1]


def test_batches_have_readable_images_and_what_is_between_them(images):
    shard = shards_of(images)[0]
    model = StubShardModel()
    batches = list(decode_rows(read_shard(shard), model.preprocessor, 2))
    assert [(len(batch.rows), len(batch.pixels)) for batch in batches] == [(2, 2), (2, 1)]
    assert all(row.data is None for batch in batches for row in batch.rows)


def test_a_part_that_fails_leaves_no_file(images, output, tmp_path):
    (tmp_path / "bad.tar").write_bytes(b"no tar")
    (shard,) = shards_of(tmp_path / "bad.tar")
    result = MakeStubWorker(output)()(shard)
    assert "is damaged, cut off, or not a tar file" in result.failure
    assert not output.exists("shards")


def test_a_storage_that_fails_is_asked_again(images, output, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    failures = [OSError("slow down"), OSError("slow down")]
    write = Storage.write

    def failing(self, name, data):
        if failures:
            raise failures.pop()
        write(self, name, data)

    monkeypatch.setattr(Storage, "write", failing)
    worker = MakeStubWorker(output)()
    assert worker(shards_of(images)[0]).failure is None
    failures += [OSError("slow down")] * 9
    assert worker(shards_of(images)[1]).failure == "slow down"


def test_a_full_disk_ends_the_run(images, output, monkeypatch):
    tries = []

    def full(self, name, data):
        tries.append(name)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Storage, "write", full)
    with pytest.raises(InputError, match=r"output: cannot be written \(.*No space left on device"):
        MakeStubWorker(output)()(shards_of(images)[0])
    assert len(tries) == 1


def test_images_without_one_that_can_be_read(tmp_path, output):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "0.png").write_bytes(b"")
    (shard,) = shards_of(tmp_path / "x")
    result = MakeStubWorker(output)()(shard)
    assert (result.rows, result.errors, result.labels) == (1, 1, {})
    table = pyarrow.parquet.read_table(output.path(f"shards/{shard.name}.parquet"))
    assert np.asarray(table.column("embedding").is_null()).all()
