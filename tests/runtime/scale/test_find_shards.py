import tarfile

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_cmm_runtime import InputError
from keras_cmm_runtime.scale import Storage, find_shards


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def found(folder, size=1000):
    return list(find_shards(Storage(str(folder)), size))


def listed(shards):
    return [
        row for shard in shards for row in zip(shard.paths, shard.labels, shard.splits, strict=True)
    ]


def test_class_folders_are_cut_into_parts(tmp_path):
    touch(tmp_path, *(f"cat/{n}.jpg" for n in range(5)), "dog/a/0.png", "dog/notes.txt")
    shards = found(tmp_path, 2)
    assert [len(shard.paths) for shard in shards] == [2, 2, 1, 1]
    assert listed(shards)[-1] == ("dog/a/0.png", "dog", None)
    assert len({shard.name for shard in shards}) == 4


def test_folders_of_splits_are_no_classes(tmp_path):
    touch(tmp_path, "train/cat/0.jpg", "test/cat/1.jpg", ".hidden/2.jpg", "train/@eaDir/3.jpg")
    assert listed(found(tmp_path)) == [
        ("test/cat/1.jpg", "cat", "test"),
        ("train/cat/0.jpg", "cat", "train"),
    ]


def test_a_folder_with_more_images_gives_other_parts(tmp_path):
    touch(tmp_path, "cat/0.jpg", "dog/0.jpg")
    before = {shard.name for shard in found(tmp_path)}
    assert {shard.name for shard in found(tmp_path)} == before
    touch(tmp_path, "cat/1.jpg")
    after = {shard.name for shard in found(tmp_path)}
    assert len(before & after) == 1


def test_files_of_an_archive_are_one_part(tmp_path):
    for name in ("train-000.tar", "train-001.tar", "test-000.tar"):
        tarfile.open(tmp_path / name, "w").close()
    shards = found(tmp_path)
    assert [(shard.kind, shard.paths, shard.splits) for shard in shards] == [
        ("tar", ("test-000.tar",), ("test",)),
        ("tar", ("train-000.tar",), ("train",)),
        ("tar", ("train-001.tar",), ("train",)),
    ]
    assert found(tmp_path / "train-001.tar")[0].name == shards[2].name


def test_images_beside_archives_are_not_lost_without_a_word(tmp_path):
    touch(tmp_path, "cat/1.jpg", "old.tar")
    with pytest.warns(UserWarning, match=r"such as 'old.tar', and the images in its folders are"):
        (shard,) = found(tmp_path)
    assert shard.paths == ("old.tar",)


def test_archives_in_folders_of_splits(tmp_path):
    touch(tmp_path, "train/0.tar", "train/1.tar", "train/._1.tar", "val/0.parquet", "notes/x.tar")
    assert [(shard.kind, shard.paths[0], shard.splits) for shard in found(tmp_path)] == [
        ("tar", "train/0.tar", ("train",)),
        ("tar", "train/1.tar", ("train",)),
        ("parquet", "val/0.parquet", ("val",)),
    ]
    assert len({shard.name for shard in found(tmp_path)}) == 3


def test_parquet_files_as_on_the_hub(tmp_path):
    touch(tmp_path, "data/validation-00000-of-00001.parquet", "README.md")
    (shard,) = found(tmp_path)
    assert (shard.kind, shard.paths) == ("parquet", ("data/validation-00000-of-00001.parquet",))
    assert shard.splits == ("val",)


@pytest.mark.parametrize(
    ("suffix", "mark"), [(".csv", ","), (".csv", ";"), (".tsv", "\t"), (".parquet", "")]
)
def test_lists(tmp_path, suffix, mark):
    path = tmp_path / f"list{suffix}"
    rows = {"path": ["a.jpg", "b.jpg", "c.jpg"], "label": ["x", "y", ""], "split": ["train"] * 3}
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(rows), path)
    else:
        lines = [mark.join(rows), *(mark.join(row) for row in zip(*rows.values(), strict=True))]
        path.write_text("\n".join(lines))
    shards = found(path, 2)
    assert listed(shards) == [
        ("a.jpg", "x", "train"),
        ("b.jpg", "y", "train"),
        ("c.jpg", None, "train"),
    ]
    assert [len(shard.paths) for shard in shards] == [2, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", "name,label\na,b\n", "has no column of paths"),
        ("list.csv", "path,label\n,b\n", "row 2 has no image"),
        ("list.csv", b"path,label\n\xff,b\n", "cannot be read as a list"),
        ("list.parquet", "no parquet", "cannot be read as Parquet"),
        ("photo.jpg", "...", "is a file; give a folder"),
    ],
)
def test_what_cannot_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        found(path)


def test_no_images(tmp_path):
    with pytest.raises(InputError, match="has no images"):
        found(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        found(tmp_path / "nowhere")
    touch(tmp_path, "job.json", "shards/a.parquet")
    with pytest.raises(InputError, match="is the output of a run in parts; give images, or"):
        found(tmp_path)


@given(
    counts=st.dictionaries(
        st.text("abc", min_size=1, max_size=3), st.integers(1, 7), min_size=1, max_size=4
    ),
    size=st.integers(1, 5),
)
def test_each_image_is_in_one_part(tmp_path_factory, counts, size):
    folder = tmp_path_factory.mktemp("images")
    names = [f"{label}/{n}.png" for label, count in counts.items() for n in range(count)]
    touch(folder, *names)
    shards = found(folder, size)
    assert sorted(path for shard in shards for path in shard.paths) == sorted(names)
    assert all(len(shard.paths) <= size for shard in shards)
    assert len({shard.name for shard in shards}) == len(shards)


def test_numbers_as_labels_and_the_names_of_splits(tmp_path):
    path = tmp_path / "list.parquet"
    rows = {
        "path": [f"{n}.jpg" for n in range(5)],
        "label": [0.0, 1.0, float("nan"), None, -1.0],
        "split": ["Train", "validation", "TEST", "extra", None],
    }
    pyarrow.parquet.write_table(pyarrow.table(rows), path)
    (shard,) = found(path)
    assert shard.labels == ("0", "1", None, None, None)
    assert shard.splits == ("train", "val", "test", "extra", None)


def test_several_labels_are_refused(tmp_path):
    path = tmp_path / "list.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"], "label": [["x", "y"]]}), path)
    with pytest.raises(InputError, match=r"row 1: has the label \['x', 'y'\]; an image must have"):
        found(path)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "elsewhere/1.jpg", "images/dog/2.jpg")
    (tmp_path / "images" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "dog" / "again").symlink_to(tmp_path / "images")
    assert listed(found(tmp_path / "images")) == [
        ("cat/1.jpg", "cat", None),
        ("dog/2.jpg", "dog", None),
    ]


def test_two_colons_in_a_name(tmp_path):
    touch(tmp_path, "a::b/cat/1.jpg")
    assert listed(found(tmp_path / "a::b")) == [("cat/1.jpg", "cat", None)]


def test_images_of_formats_that_cannot_be_read_are_not_lost(tmp_path):
    touch(tmp_path, "cat/1.jpg", "cat/2.svg", "cat/3.HEIC", "cat/notes.txt")
    assert [path for path, _, _ in listed(found(tmp_path))] == [
        *("cat/1.jpg", "cat/2.svg", "cat/3.HEIC"),
    ]
