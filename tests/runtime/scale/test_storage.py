"""Paths and URIs, whatever library opens them."""

import pickle
import sys

import fsspec
import pytest
from stub_shard_model import MakeStubWorker
from test_shard_worker import picture

from keras_cmm_runtime import InputError
from keras_cmm_runtime.scale import ShardFolder, Storage, find_shards, names_of_labels


class LibraryError(Exception):
    pass


class StubStore(fsspec.get_filesystem_class("memory")):
    """A store with files of its own. Its library has an error of its own."""

    protocol = "stub"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    def ls(self, path, **options):
        if "broken" in path:
            raise LibraryError("no answer\nfrom the library")
        return super().ls(path, **options)

    def isdir(self, path):
        if not path.strip("/"):
            raise NotImplementedError("Access to lists of repositories is not implemented.")
        return super().isdir(path)


@pytest.fixture
def stub():
    fsspec.register_implementation("stub", StubStore, clobber=True)
    StubStore.store.clear()


@pytest.mark.parametrize("kind", ["stub", "memory"])
def test_a_store_of_another_kind(stub, kind):
    source = Storage(f"{kind}://other/photos")
    for number in range(4):
        source.write(f"{'cat' if number % 2 else 'dog'}/{number}.png", picture(number))
    output = Storage(f"{kind}://other/output")
    results = [MakeStubWorker(output)()(shard) for shard in find_shards(source, 1)]
    assert [(result.rows, result.failure) for result in results] == [(1, None)] * 4
    # No files under other names are left over.
    assert len(output.entries("shards")[1]) == 4
    again = [MakeStubWorker(output)()(shard) for shard in find_shards(source, 1)]
    assert not any(result.is_new for result in again)


@pytest.mark.parametrize(
    ("kind", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub")]
)
def test_a_store_whose_library_is_not_installed(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, kind, raising=False)
    with pytest.raises(InputError) as error:
        Storage(f"{kind}://bucket/photos")
    assert str(error.value) == f"{kind}://bucket/photos: needs {package}; install it with pip."


def test_other_uris_that_cannot_be_opened():
    with pytest.raises(InputError, match=r"nowhere://x: cannot be opened \(Protocol not known"):
        Storage("nowhere://x")


def test_an_error_of_a_library_is_one_line(stub):
    source = Storage("stub://photos/broken")
    source.write("cat/1.png", b"...")
    with pytest.raises(InputError) as error:
        list(find_shards(source))
    assert str(error.value) == "stub://photos/broken: cannot be read (no answer)."


def test_nothing_lies_beside_what_has_no_folder(stub):
    source = Storage("stub:///photos")
    source.write("0/1.png", b"...")
    assert names_of_labels(["0", "1"], source) == {"0": "0", "1": "1"}


def test_names_that_cannot_be_looked_for(stub, monkeypatch):
    tries = []

    def isdir(self, path):
        tries.append(path)
        raise LibraryError("no answer")

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(StubStore, "isdir", isdir)
    with pytest.raises(InputError, match=r"no classnames\.txt can be looked for \(no answer\)"):
        names_of_labels(["0", "1"], Storage("stub://photos"))
    assert len(tries) == 4


def test_a_path_does_not_depend_on_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Storage("photos"))
    monkeypatch.chdir("/")
    assert pickle.loads(sent).path() == f"{tmp_path}/photos"


@pytest.mark.parametrize("uri", ["memory://photos", "memory://"])
def test_a_slash_at_the_end_is_the_same_place(uri, tmp_path):
    assert Storage(f"{uri}/").place == Storage(uri).place
    assert Storage(f"{tmp_path}/").place == str(tmp_path)


def test_a_listing_is_not_an_old_one(stub, monkeypatch):
    kept = {}

    def ls(self, path, **options):
        return kept.setdefault(path, fsspec.get_filesystem_class("memory").ls(self, path))

    monkeypatch.setattr(StubStore, "ls", ls)
    monkeypatch.setattr(StubStore, "invalidate_cache", lambda self, path=None: kept.clear())
    source = Storage("stub://photos")
    for number in range(2):
        source.write(f"{number}.png", b"...")
        assert len(source.entries()[1]) == number + 1


def test_an_output_that_fails_at_the_end(tmp_path, monkeypatch):
    folder = ShardFolder(Storage(str(tmp_path / "output")), {})

    def write(self, name, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Storage, "write", write)
    with pytest.raises(InputError, match=r"texts.npy cannot be written \(Permission denied\)"):
        folder.write("texts.npy", b"...")
