"""Parts on this machine's processes and on Ray: the same files, whatever dies."""

import functools
import os
import sys

import pytest
from stub_shard_model import MakeFailingWorker, MakeStubWorker
from test_shard_worker import picture

from keras_cmm_runtime import InputError
from keras_cmm_runtime.scale import EngineOptions, Storage, find_shards, run_workers

PARTS = 6


@pytest.fixture
def images(tmp_path):
    for number in range(2 * PARTS):
        path = tmp_path / "images" / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(10 * number))
    return functools.partial(find_shards, Storage(str(tmp_path / "images")), 2)


def files(output):
    return {name: output.read(f"shards/{name}") for name in output.entries("shards")[1]}


@pytest.fixture
def expected(images, tmp_path):
    output = Storage(str(tmp_path / "expected"))
    worker = MakeStubWorker(output)()
    for shard in images():
        assert worker(shard).failure is None
    return files(output)


@pytest.fixture
def output(tmp_path):
    return Storage(str(tmp_path / "output"))


def test_processes_write_the_same_files(images, expected, output):
    seen = []
    options = EngineOptions(num_workers=2)
    report = run_workers(
        options, images, MakeStubWorker(output), lambda report: seen.append(report.rows)
    )
    assert files(output) == expected
    assert (report.rows, report.new, report.failed) == (2 * PARTS, PARTS, {})
    assert seen == [2 * n for n in range(1, PARTS + 1)]
    again = run_workers(options, images, MakeStubWorker(output))
    assert (again.rows, again.new) == (2 * PARTS, 0)
    assert sorted(again.shards) == sorted(report.shards)


def test_a_part_that_is_listed_twice_counts_once(images, output):
    def twice():
        return [*images(), *images()]

    report = run_workers(EngineOptions(num_workers=1), twice, MakeStubWorker(output))
    assert (report.rows, len(report.shards)) == (2 * PARTS, PARTS)


def test_a_process_that_dies_loses_no_part(images, expected, output, tmp_path):
    trigger = tmp_path / "trigger"
    trigger.touch()
    report = run_workers(
        EngineOptions(num_workers=2), images, MakeStubWorker(output, trigger=str(trigger))
    )
    assert not trigger.exists()
    assert (report.rows, report.failed) == (2 * PARTS, {})
    assert files(output) == expected


def test_processes_that_die_always_end_the_run(images, output, tmp_path):
    trigger = tmp_path / "trigger"
    trigger.touch()
    make_worker = MakeStubWorker(output, trigger=str(trigger), once=False)
    with pytest.raises(InputError, match="worker processes died 5 times before"):
        run_workers(EngineOptions(num_workers=2), images, make_worker)


def test_a_model_that_cannot_be_made(images, output):
    with pytest.raises(InputError, match="the model of a worker cannot be made: no such model"):
        run_workers(EngineOptions(num_workers=1), images, MakeFailingWorker(output))


def test_no_model_is_made_where_all_files_are_there(images, output):
    worker = MakeStubWorker(output)()
    for shard in images():
        worker(shard)
    report = run_workers(EngineOptions(num_workers=1), images, MakeFailingWorker(output))
    assert (len(report.shards), report.new) == (PARTS, 0)


def test_a_part_that_fails_is_told(tmp_path, output):
    folder = tmp_path / "tars"
    folder.mkdir()
    (folder / "a.tar").write_bytes(b"no tar")
    (folder / "b.tar").write_bytes(bytes(1024))
    listing = functools.partial(find_shards, Storage(str(folder)))
    report = run_workers(EngineOptions(num_workers=1), listing, MakeStubWorker(output))
    assert [name.split("-")[0] for name, *_ in report.shards] == ["b"]
    ((name, reason),) = report.failed.items()
    assert name.startswith("a-")
    assert "not a tar file" in reason


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore:Tip. In future:FutureWarning"
)
def test_ray_writes_the_same_files(images, expected, output, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    # Its processes find the stub.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    trigger = tmp_path / "trigger"
    trigger.touch()
    report = run_workers(
        EngineOptions("ray", num_workers=1, decoders=1),
        images,
        MakeStubWorker(output, trigger=str(trigger)),
    )
    assert not trigger.exists()
    assert (report.rows, report.failed) == (2 * PARTS, {})
    assert files(output) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("address", "message"),
    [(None, "Ray cannot be started on this machine"), ("auto", "the Ray cluster 'auto' cannot be")],
)
def test_ray_that_does_not_start(images, output, monkeypatch, address, message):
    ray = pytest.importorskip("ray")

    def init(**options):
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=rf"{message}.* \(The current node timed out during"):
        run_workers(EngineOptions("ray", address=address), images, MakeStubWorker(output))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "spark"}, "`engine` must be one of"),
        ({"num_workers": 0}, "`num_workers` must be"),
        ({"address": "auto"}, 'need `engine="ray"`'),
        ({"engine": "ray", "gpus_per_worker": -1.0}, "`gpus_per_worker` must be"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        EngineOptions(**options)
