"""The store when processes are killed, share it, fill the disk or embed many images."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from store_worker import (
    DIM,
    SHARD_SIZE,
    counted_calls,
    files_of,
    fill,
    start_filling,
    write_pictures,
)

from keras_cmm_runtime.errors import InputError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")

COUNT = 52


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures") / "pictures", COUNT)


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    """The files of a store that one run filled, and the embeddings."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    embedder = fill(folder / "store", pictures, output=folder / "embeddings.npy")
    assert embedder.computed == len({path.read_bytes() for path in pictures}) < COUNT
    return files_of(folder / "store"), np.load(folder / "embeddings.npy")


def committed(store):
    """Returns the number of embeddings in a store, 0 if there is no store."""
    manifests = list(store.glob("*/manifest.json"))
    return json.loads(manifests[0].read_bytes())["rows"] if manifests else 0


def resume(store, pictures, uninterrupted, tmp_path, **kwargs):
    """Runs again. It must compute only what is missing, and give the files of one run."""
    files, embeddings = uninterrupted
    before = committed(store)
    embedder = fill(store, pictures, output=tmp_path / "embeddings.npy", **kwargs)
    unique = len({path.read_bytes() for path in pictures})
    assert embedder.computed == unique - before
    assert files_of(store) == files
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy"), embeddings)
    return before


def test_the_store_is_sharded(uninterrupted):
    files, _ = uninterrupted
    rows = len({path for path in files if path.endswith(".safetensors")})
    assert rows == -(-(COUNT - COUNT // 9) // SHARD_SIZE)


def test_killed_at_random_moments(pictures, uninterrupted, tmp_path):
    rng = random.Random(0)
    settings = {"delay": 0.01, "seconds": 0.015}
    process = start_filling(tmp_path / "whole", pictures, **settings)
    started = time.monotonic()
    while process.is_alive() and not (tmp_path / "whole").exists():
        time.sleep(0.001)
    start_up = time.monotonic() - started
    process.join()
    length = time.monotonic() - started
    assert process.exitcode == 0
    assert files_of(tmp_path / "whole") == uninterrupted[0]
    found = []
    for number in range(20):
        store = tmp_path / f"store{number}"
        process = start_filling(store, pictures, **settings)
        time.sleep(rng.uniform(start_up / 2, length))
        process.kill()
        process.join()
        found.append(resume(store, pictures, uninterrupted, tmp_path))
    # Some were killed after the first commit and before the last.
    assert len(set(found)) > 3


def test_killed_at_each_step_of_a_commit(pictures, uninterrupted, tmp_path):
    calls = []
    with counted_calls(calls.append):
        fill(tmp_path / "whole", pictures)
    assert len(calls) > 20
    # All calls of the first two commits, the second of which rewrites a shard, then a sample.
    for number in [*range(12), *range(12, len(calls), 7)]:
        store = tmp_path / f"store{number}"
        process = start_filling(store, pictures, kill_at=number)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        resume(store, pictures, uninterrupted, tmp_path)


def test_killed_again_and_again(pictures, uninterrupted, tmp_path):
    store = tmp_path / "store"
    kills = 0
    while True:
        process = start_filling(store, pictures, seconds=0, kill_at=9)
        process.join()
        if process.exitcode == 0:
            break
        kills += 1
    assert kills > 3
    assert resume(store, pictures, uninterrupted, tmp_path) == uninterrupted_rows(uninterrupted)


def uninterrupted_rows(uninterrupted):
    return next(
        json.loads(content)["rows"]
        for name, content in uninterrupted[0].items()
        if name.endswith("manifest.json")
    )


def test_concurrent_writers_of_the_same_images(pictures, uninterrupted, tmp_path):
    from store_worker import context

    barrier = context.Barrier(3)
    processes = [
        start_filling(
            tmp_path / "store",
            pictures,
            delay=0.002 * number,
            seconds=0,
            output=tmp_path / f"{number}.npy",
            start=barrier,
        )
        for number in range(3)
    ]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert files_of(tmp_path / "store") == uninterrupted[0]
    for number in range(3):
        np.testing.assert_array_equal(np.load(tmp_path / f"{number}.npy"), uninterrupted[1])


def test_concurrent_writers_of_other_images(pictures, tmp_path):
    from store_worker import context

    barrier = context.Barrier(3)
    lists = [pictures[:50], pictures[20:], pictures[::-1]]
    processes = [
        start_filling(
            tmp_path / "store",
            paths,
            delay=0.002,
            seconds=0,
            output=tmp_path / f"{number}.npy",
            start=barrier,
        )
        for number, paths in enumerate(lists)
    ]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    # Every image is there once, and another run finds the embeddings that each run returned.
    assert committed(tmp_path / "store") == len({path.read_bytes() for path in pictures})
    for number, paths in enumerate(lists):
        embedder = fill(tmp_path / "store", paths, output=tmp_path / "found.npy")
        assert embedder.computed == 0
        np.testing.assert_array_equal(
            np.load(tmp_path / "found.npy"), np.load(tmp_path / f"{number}.npy")
        )


@pytest.mark.parametrize("number", [0, 1, 3, 5, 8, 14])
def test_a_full_disk_at_any_step(number, pictures, uninterrupted, tmp_path):
    def full(call):
        if call >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = tmp_path / "store"
    with counted_calls(full), pytest.raises(InputError, match="no space left on the disk; free"):
        fill_without_counting(store, pictures)
    assert not list(store.rglob("*.tmp"))
    resume(store, pictures, uninterrupted, tmp_path)


def fill_without_counting(store, pictures):
    from store_worker import StubEmbedder

    from keras_cmm.clip import EmbeddingStore

    StubEmbedder(EmbeddingStore(store, shard_size=SHARD_SIZE)).embed(pictures)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(small_disk, pictures, uninterrupted, tmp_path):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(44 << 10))
    store = small_disk / "store"
    with pytest.raises(InputError, match=r"store.*: there is no space left on the disk; free some"):
        fill(store, pictures)
    assert 0 < committed(store) < COUNT // 2
    assert shutil.disk_usage(small_disk).free < 8 << 10
    ballast.unlink()
    assert resume(store, pictures, uninterrupted, tmp_path) > 0


def test_a_disk_that_is_read_only(small_disk, pictures, uninterrupted):
    from store_worker import StubEmbedder

    from keras_cmm.clip import EmbeddingStore

    store = small_disk / "store"
    fill(store, pictures[:30])
    before = files_of(store)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    embedder = StubEmbedder(EmbeddingStore(store))
    assert len(embedder.embed(pictures[:30]).rows) == 30
    assert embedder.computed == 0
    with pytest.warns(UserWarning, match=r"cannot be written \(Read-only file system\)") as caught:
        embeddings, rows = embedder.embed(pictures)
    assert len(caught) == 1
    assert rows.tolist() == list(range(COUNT))
    assert embedder.computed > 0
    np.testing.assert_array_equal(embeddings[:16], uninterrupted[1][:16])
    assert files_of(store) == before


@pytest.mark.parametrize("with_store", [True, False])
def test_memory_is_flat(with_store, tmp_path):
    """An image takes its embedding and some bytes of an index, but not its 12 KiB of pixels."""
    few, many = 1000, 7000
    growth = []
    for count in (few, many):
        command = ["peak", count, tmp_path / str(count) if with_store else None]
        growth.append(peak_of_a_process(*command[1:]))
    added = growth[1] - growth[0] - (many - few) * DIM * 4
    assert added < (many - few) * 1500


def peak_of_a_process(count, store):
    from store_worker import context, send_peak

    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_peak, args=(sender, count, store))
    process.start()
    sender.close()
    peak = receiver.recv()
    process.join()
    return peak
