import json
import os
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features
from refusals import refusal

from keras_cmm.clip import read_image
from keras_cmm.data import ImageList, sample_few_shot
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.folders import IMAGE_SUFFIXES
from keras_cmm_runtime.sources.image_tables import is_parquet_list


def make(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path(root)


def table(root, text, encoding="utf-8"):
    path = Path(root, "labels.csv")
    path.write_bytes(text.encode(encoding))
    return path


def test_folder(tmp_path):
    make(tmp_path, "dog/b.JPG", "dog/a.png", "cat/deep/er/c.webp", "cat/d.TIFF", "Zebra/e.jpeg")
    make(
        tmp_path, "cat/notes.txt", "dog/.hidden.png", "dog/.git/x.png", ".cache/y.png", "README.md"
    )
    images = ImageList.from_folder(str(tmp_path))
    assert images.class_names == ("Zebra", "cat", "dog")
    assert images.keys() == [
        "Zebra/e.jpeg",
        "cat/d.TIFF",
        "cat/deep/er/c.webp",
        "dog/a.png",
        "dog/b.JPG",
    ]
    assert images.labels.tolist() == [0, 1, 1, 2, 2]
    assert images.labels.dtype == np.int32
    assert images.root == tmp_path
    assert len(images) == 5
    assert images.paths[0] == tmp_path / "Zebra/e.jpeg"


@pytest.mark.parametrize(
    "suffix",
    [
        *("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "webp", "gif", "tif", "tiff", "JPG"),
        *("ppm", "pgm", "pbm", "pnm", "avif", "Avif"),
    ],
)
def test_folder_suffixes(tmp_path, suffix):
    make(tmp_path, f"a/1.{suffix}", f"b/1.{suffix}", "b/1.txt", "b/jpg", "b/folder.jpg/2.png")
    assert len(ImageList.from_folder(tmp_path)) == 3


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_images_of_every_suffix_are_read(tmp_path, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    mode = {".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")
    path = tmp_path / f"1{suffix}"
    Image.effect_noise((20, 16), 50).convert(mode).save(path)
    assert read_image(path).size == (20, 16)


def read_with_one_warning(folder, first, words):
    with pytest.warns(UserWarning, match=words) as caught:
        images = ImageList.from_folder(folder)
    assert images.keys() == ["cat/1.png", "dog/1.png"]
    (warning,) = caught
    assert str(warning.message).startswith(f"{folder / first}: left out, with all")
    assert warning.filename == __file__


def test_images_of_other_formats_are_counted_once(tmp_path):
    make(tmp_path, "cat/1.png", "cat/2.JXL", "dog/1.png", "dog/deep/3.jxl", "dog/.4.jxl")
    make(tmp_path, "dog/5.svg", "dog/notes.txt")
    read_with_one_warning(tmp_path, "cat/2.JXL", r"\(2 \.jxl, 1 \.svg\); convert them")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_images_without_a_suffix_are_counted_once(tmp_path, kind):
    make(tmp_path, "cat/1.png", "dog/1.png", "dog/README", "dog/Makefile", "dog/.hidden")
    (tmp_path / "dog" / "README").write_text("BM and MM are texts")
    for name in ("cat/2", "dog/deep", "dog/.hidden"):
        Image.effect_noise((20, 16), 50).save(tmp_path / name, format=kind)
    if hasattr(os, "mkfifo"):  # Windows has none.
        os.mkfifo(tmp_path / "cat" / "pipe")
    read_with_one_warning(tmp_path, "cat/2", r"have no known suffix \(2, such as '2'\); add")


def test_images_beside_the_class_folders_are_counted_once(tmp_path):
    make(tmp_path, "cat/1.png", "dog/1.png", "1.jpg", "2.jxl", "README", "labels.csv", ".3.png")
    read_with_one_warning(tmp_path, "1.jpg", r"directly in .* \(2\); move them into")


def test_folder_with_the_classes_of_a_model(tmp_path):
    make(tmp_path, "cat/1.png", "dog/1.png")
    images = ImageList.from_folder(tmp_path, class_names=["dog", "emu", "cat"])
    assert images.class_names == ("dog", "emu", "cat")
    assert images.labels.tolist() == [2, 0]
    message = refusal(ImageList.from_folder, tmp_path, class_names=["dog", "emu"])
    assert "'cat'" in message
    assert "'emu'" in message
    assert "twice" in refusal(ImageList.from_folder, tmp_path, class_names=["cat", "dog", "cat"])


def test_classes_that_differ_in_case_alone_are_warned_of(tmp_path):
    path = table(tmp_path, "path,label\n1.png,Cat\n2.png,cat\n3.png,dog\n")
    make(tmp_path, "1.png", "2.png", "3.png")
    with pytest.warns(UserWarning, match="the classes 'Cat' and 'cat' differ in case alone; re"):
        images = ImageList.from_csv(path, root=tmp_path)
    assert images.class_names == ("Cat", "cat", "dog")
    assert len(ImageList.from_csv(path, root=tmp_path, class_names=["Cat", "cat", "dog"])) == 3


def test_one_class_is_enough_with_the_classes_of_a_model(tmp_path):
    make(tmp_path, "cat/1.png")
    assert "one class only, 'cat'" in refusal(ImageList.from_folder, tmp_path)
    assert ImageList.from_folder(tmp_path, class_names=["cat", "dog"]).labels.tolist() == [0]


def test_class_without_images_is_left_out(tmp_path):
    make(tmp_path, "cat/1.png", "dog/1.png", "emu/notes.txt")
    with pytest.warns(UserWarning, match="left out: 'emu'"):
        images = ImageList.from_folder(tmp_path)
    assert images.class_names == ("cat", "dog")
    with pytest.warns(UserWarning, match="class folders without images: 'emu'"):
        images = ImageList.from_folder(tmp_path, class_names=["emu", "cat", "dog"])
    assert images.labels.tolist() == [1, 2]


def test_folder_refusals(tmp_path):
    assert "no such folder" in refusal(ImageList.from_folder, tmp_path / "none")
    file = tmp_path / "file"
    file.touch()
    assert "is a file" in refusal(ImageList.from_folder, file)
    assert "no images" in refusal(ImageList.from_folder, tmp_path)
    make(tmp_path, "1.png")
    message = refusal(ImageList.from_folder, tmp_path)
    assert "directly" in message
    assert "own sub-folder" in message
    make(tmp_path, "cat/notes.txt")
    assert str(tmp_path) in refusal(ImageList.from_folder, tmp_path)


def test_link_loops_end(tmp_path):
    make(tmp_path, "cat/1.png", "dog/1.png")
    for name, target in {
        "cat/self": "cat",
        "cat/up": ".",
        "cat/sibling": "dog",
        "dog/sibling": "cat",
        "dog/nowhere": "none",
    }.items():
        (tmp_path / name).symlink_to(tmp_path / target, target_is_directory=True)
    (tmp_path / "dog" / "itself.png").symlink_to(tmp_path / "dog" / "itself.png")
    images = ImageList.from_folder(tmp_path)
    keys = images.keys()
    assert [key for key in keys if not key.endswith("itself.png")] == [
        "cat/1.png",
        "cat/sibling/1.png",
        "dog/1.png",
        "dog/sibling/1.png",
    ]
    # It has the name of an image; whoever reads it says what it is.
    assert "dog/itself.png" in keys


def test_what_only_has_the_name_of_an_image_is_listed(tmp_path):
    make(tmp_path, "cat/1.png", "cat/album.png/2.png", "dog/1.png")
    (tmp_path / "cat" / "empty.png").mkdir()
    (tmp_path / "cat" / "nowhere.png").symlink_to("none.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert ImageList.from_folder(tmp_path).keys() == [
        "cat/1.png",
        "cat/album.png/2.png",
        "cat/empty.png",
        "cat/nowhere.png",
        "cat/pipe.png",
        "dog/1.png",
    ]


def test_linked_class_folders_are_followed(tmp_path):
    make(tmp_path / "elsewhere", "1.png")
    make(tmp_path / "data", "dog/1.png")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ImageList.from_folder(tmp_path / "data").keys() == ["cat/1.png", "dog/1.png"]


def test_unreadable_folder(tmp_path, monkeypatch):
    make(tmp_path, "cat/1.png", "dog/1.png")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "Permission denied" in refusal(ImageList.from_folder, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv(tmp_path, encoding, newline):
    make(tmp_path, "b, 1.png", "é.png", "sub/c.png")
    lines = ["label,path", ' dog ,"b, 1.png"', "çat,é.png", "", "dog,sub/c.png", ""]
    images = ImageList.from_csv(table(tmp_path, newline.join(lines), encoding))
    assert images.class_names == ("dog", "çat")
    assert images.labels.tolist() == [0, 1, 0]
    assert images.labels.dtype == np.int32
    assert images.keys() == ["b, 1.png", "é.png", "sub/c.png"]


def test_csv_root_and_absolute_paths(tmp_path):
    make(tmp_path / "images", "a.png")
    make(tmp_path, "b.png", "tables/x")
    path = table(tmp_path / "tables", f"path,label\na.png,cat\n{tmp_path}/b.png,dog\n")
    images = ImageList.from_csv(str(path), root=tmp_path / "images")
    assert images.paths == (tmp_path / "images/a.png", tmp_path / "b.png")
    assert images.keys() == ["a.png", (tmp_path / "b.png").as_posix()]


def test_folder_and_csv_have_the_same_identities(tmp_path):
    make(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    folder = ImageList.from_folder(tmp_path)
    lines = "".join(f"{key},{key[:3]}\n" for key in reversed(folder.keys()))
    listed = ImageList.from_csv(table(tmp_path, "path,label\n" + lines))
    drawn = [
        images.take(sample_few_shot(images.labels, 1, seed=1, keys=images.keys()).indices).keys()
        for images in (folder, listed)
    ]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["(none)", "path and label"]),
        ("path,class\n1.png,cat\n", ["'path', 'class'", "path and label"]),
        ("path|label\n1.png|cat\n", ["'path|label'", "comma, semicolon or tab"]),
        ("path,path,label\n", ["'path', 'path', 'label'"]),
        ("1.png,cat\n2.png,dog\n", ["'1.png', 'cat'", "path and label"]),
        ("path,label\n", ["lists no images"]),
        ("path,label\n1.png,cat\nno.png,dog\n", ["line 3", "'no.png'", "no image file"]),
        ("path,label\n1.png\n", ["line 2", "1 values"]),
        ("path,label\n1.png,cat,x\n", ["line 2", "3 values", "expected 2"]),
        ("path;label\n1.png,cat\n", ["line 2", "1 values", "expected 2"]),
        ("path,label\n1.png,cat\n1.png,dog\n", ["1.png as 'cat' and as 'dog'", "right label"]),
        ("path,label\n1.png,\n", ["line 2", "empty"]),
        ("path,label\n,cat\n", ["line 2", "empty"]),
        ("path,label\n1.png,cat\n2.png,cat\n", ["one class only", "'cat'"]),
        ('path,label\n1.png,"cat\n', ["not a valid CSV"]),
        ("path,label\n1.png," + "x" * 200_000, ["not a valid CSV"]),
        (f"path,label\n{'x' * 5000}.png,cat\n", ["line 2", "no image file"]),
        ("path,label\na\0b.png,cat\n", ["labels.csv", "NUL bytes"]),
        ("path,label\n1.png,ca\0t\n", ["NUL bytes", "save it as CSV in UTF-8"]),
        ("path,label\n1.png," + "x" * 3_000_000, ["a line is longer than 1 MiB"]),
        ("x" * 3_000_000, ["a line is longer than 1 MiB"]),
    ],
)
def test_csv_refusals(tmp_path, text, words):
    make(tmp_path, "1.png", "2.png")
    path = table(tmp_path, text)
    message = refusal(ImageList.from_csv, path)
    for word in [*words, str(path)]:
        assert word in message


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_of_other_programs(tmp_path, separator):
    make(tmp_path, "1.png", "2,;\t.png")
    rows = [("Label", " PATH "), ("cat", "1.png"), ("a, b; c", '"2,;\t.png"')]
    if separator != "\t":
        rows[2] = ('"a, b; c"', rows[2][1])
    path = table(tmp_path, "".join(separator.join(row) + "\n" for row in rows))
    images = ImageList.from_csv(path)
    assert images.keys() == ["1.png", "2,;\t.png"]
    assert images.class_names == ("a, b; c", "cat")


def test_csv_from_a_pipe(tmp_path):
    make(tmp_path, "1.png", "2.png")
    end, start = os.pipe()
    os.write(start, b"path;label\n1.png;cat\n2.png;dog\n")
    os.close(start)
    assert len(ImageList.from_csv(f"/dev/fd/{end}", root=tmp_path)) == 2
    os.close(end)


def test_other_columns_are_ignored_with_a_warning(tmp_path, parquet):
    make(tmp_path, "1.png", "2.png")
    path = table(tmp_path, "id,path,Split,label\n7,1.png,train,cat\n8,2.png,test,dog\n")
    columns = {"id": [7, 8], "Label": ["cat", "dog"], "Split": ["a", "b"]}
    listed = parquet(**columns, Path=["1.png", "2.png"])
    assert is_parquet_list(listed)
    for read, source in ((ImageList.from_csv, path), (ImageList.from_parquet, listed)):
        with pytest.warns(UserWarning, match="of all rows; ignored: 'id', 'Split'") as caught:
            images = read(source)
        assert [warning.filename for warning in caught] == [__file__]
        assert images.keys() == ["1.png", "2.png"]
        assert images.class_names == ("cat", "dog")
        assert images.labels.tolist() == [0, 1]


def test_an_image_that_is_listed_again_counts_once(tmp_path, parquet):
    make(tmp_path, "1.png", "2.png", "3.png")
    paths = ["1.png", "2.png", "./1.png", "3.png", "1.png"]
    labels = ["cat", "dog", " cat", "dog", "cat"]
    rows = "".join(f"{path},{label}\n" for path, label in zip(paths, labels, strict=True))
    for read, source in (
        (ImageList.from_csv, table(tmp_path, "path,label\n" + rows)),
        (ImageList.from_parquet, parquet(path=paths, label=labels)),
    ):
        with pytest.warns(UserWarning, match="2 of 5 rows list an image again") as caught:
            images = read(source)
        assert [warning.filename for warning in caught] == [__file__]
        assert images.keys() == ["1.png", "2.png", "3.png"]
        assert images.labels.tolist() == [0, 1, 1]


def test_csv_that_cannot_be_read(tmp_path):
    assert "cannot be read" in refusal(ImageList.from_csv, tmp_path / "none.csv")
    assert "cannot be read" in refusal(ImageList.from_csv, tmp_path)
    assert "UTF-8" in refusal(ImageList.from_csv, table(tmp_path, "path,label\né,b\n", "latin-1"))
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        path = table(tmp_path, "path,label\n", encoding)
        assert "save it as CSV in UTF-8" in refusal(ImageList.from_csv, path)


def test_a_list_of_a_gigabyte_in_one_line(tmp_path):
    path = table(tmp_path, "path,label\n1.png,")
    with path.open("ab") as file:
        file.truncate(2**32)  # It takes no space on the disk.
    tracemalloc.start()
    assert "longer than 1 MiB" in refusal(ImageList.from_csv, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_labels_that_are_numbers_are_warned_of(tmp_path, parquet):
    make(tmp_path, "1.png", "2.png", "3.png")
    text = "path,label\n1.png,10\n2.png,2\n3.png,0\n"
    listed = parquet(path=["1.png", "2.png", "3.png"], label=[10, 2, 0])
    for read, source in (
        (ImageList.from_csv, table(tmp_path, text)),
        (ImageList.from_parquet, listed),
    ):
        with pytest.warns(UserWarning, match="numbers, such as '0', which CLIP reads as names; wr"):
            images = read(source)
        assert [images.class_names[label] for label in images.labels] == ["10", "2", "0"]
        # The classes of a model go by name, not by place.
        images = read(source, class_names=["0", "1", "10", "2"])
        assert images.labels.tolist() == [2, 3, 0]
        message = refusal(read, source, class_names=["ant", "bee", "cat"])
        assert "'0', '10', '2' (write names in the place of numbers)" in message


def test_csv_with_the_classes_of_a_model(tmp_path):
    make(tmp_path, "1.png")
    path = table(tmp_path, "path,label\n1.png,cat\n")
    assert ImageList.from_csv(path, class_names=("dog", "cat")).labels.tolist() == [1]
    assert "'cat'" in refusal(ImageList.from_csv, path, class_names=("dog", "emu"))


@pytest.fixture
def parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(**columns):
        parquet.write_table(pyarrow.table(columns), tmp_path / "labels.parquet")
        return tmp_path / "labels.parquet"

    return write


def test_parquet(tmp_path, parquet):
    make(tmp_path, "b, 1.png", "é.png", "sub/c.png")
    paths, labels = ["b, 1.png", "é.png", "sub/c.png"], [" dog ", "çat", "dog"]
    images = ImageList.from_parquet(parquet(label=labels, path=paths))
    assert images.class_names == ("dog", "çat")
    assert images.labels.tolist() == [0, 1, 0]
    assert images.keys() == paths
    table = tmp_path / "tables" / "labels.parquet"
    table.parent.mkdir()
    parquet(path=paths, label=[3, 1, 3]).rename(table)
    images = ImageList.from_parquet(str(table), root=tmp_path, class_names=["1", "2", "3"])
    assert images.labels.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["1.png"], "class": ["cat"]}, ["'path', 'class'", "path and label"]),
        ({"path": ["1.png", "no.png"], "label": ["a", "b"]}, ["row 1", "'no.png'"]),
        ({"path": ["1.png", None], "label": ["a", "b"]}, ["row 1", "empty"]),
        ({"path": ["1.png", "2.png"], "label": ["a", None]}, ["row 1", "empty"]),
        ({"path": [1, 2], "label": ["a", "b"]}, ["row 0", "empty"]),
        ({"path": ["1.png", "2.png"], "label": ["a", "a"]}, ["one class only"]),
        ({"path": ["1.png", "1.png"], "label": ["a", "b"]}, ["1.png as 'a' and as 'b'"]),
        ({"path": ["1.png"], "Path": ["1.png"], "label": ["a"]}, ["'Path'", "once each"]),
    ],
)
def test_parquet_refusals(tmp_path, parquet, columns, words):
    make(tmp_path, "1.png", "2.png")
    path = parquet(**columns)
    message = refusal(ImageList.from_parquet, path)
    for word in [*words, str(path)]:
        assert word in message


def test_parquet_that_cannot_be_read(tmp_path, parquet, monkeypatch):
    assert "cannot be read" in refusal(ImageList.from_parquet, tmp_path / "none.parquet")
    path = parquet(path=[], label=[])
    assert "lists no images" in refusal(ImageList.from_parquet, path)
    path.write_bytes(path.read_bytes()[:-8])
    assert "not a valid Parquet" in refusal(ImageList.from_parquet, path)
    path.write_text("path,label")
    assert "not a valid Parquet" in refusal(ImageList.from_parquet, path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install 'keras-cmm[parquet]'" in refusal(ImageList.from_parquet, path)


def coop_file(root, train, test=()):
    path = Path(root, "split_zhou_Pets.json")
    path.write_text(json.dumps({"train": train, "val": [], "test": list(test)}))
    return path


def test_coop(tmp_path):
    make(tmp_path / "images", "sub/b.jpg", "a.jpg", "c.jpg")
    train = [["sub/b.jpg", 1, "cat"], ["a.jpg", 0, "dog"]]
    path = coop_file(tmp_path, train, [["c.jpg", 2, "emu"]])
    images = ImageList.from_coop(str(path), tmp_path / "images", "train")
    # Names by id, of all splits, and rows in the file's order.
    assert images.class_names == ("dog", "cat", "emu")
    assert images.labels.tolist() == [1, 0]
    assert images.labels.dtype == np.int32
    assert images.keys() == ["sub/b.jpg", "a.jpg"]
    test = ImageList.from_coop(path, tmp_path / "images", "test", class_names=["emu", "cat"])
    assert (test.class_names, test.labels.tolist()) == (("emu", "cat"), [0])
    assert len(ImageList.from_coop(path, tmp_path / "images", "val")) == 0
    with pytest.raises(ValueError, match="split='valid'"):
        ImageList.from_coop(path, tmp_path / "images", "valid")


def test_coop_with_missing_images(tmp_path):
    make(tmp_path, "a.jpg")
    path = coop_file(tmp_path, [["a.jpg", 0, "dog"], ["b.jpg", 1, "cat"], ["c.jpg", 1, "cat"]])
    message = refusal(ImageList.from_coop, path, tmp_path, "train")
    assert message.startswith(f"{tmp_path / 'b.jpg'}: is listed in {path}")
    assert "1 more of 3" in message
    assert "complete the download" in message
    assert "no such folder" in refusal(ImageList.from_coop, path, tmp_path / "none", "train")


def test_take(tmp_path):
    make(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png")
    images = ImageList.from_folder(tmp_path)
    taken = images.take(np.array([2, 0]))
    assert taken.keys() == ["dog/1.png", "cat/1.png"]
    assert taken.labels.tolist() == [1, 0]
    assert taken.class_names == images.class_names
    assert len(images.take([])) == 0
    assert images.take([True, False, True]).keys() == ["cat/1.png", "dog/1.png"]
    with pytest.raises(IndexError):
        images.take([3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("csv"), "1.png", "2.png")


cells = st.sampled_from(["path", "label", "1.png", "2.png", "cat", "dog", "", '"', "\0", "é", " "])
separators = st.sampled_from([",", ";", "\t", "\n", "\r", "\r\n"])
near_csv = st.lists(st.tuples(cells, separators)).map(lambda parts: "".join(map("".join, parts)))


@settings(max_examples=400)
@given(content=st.binary() | st.text() | near_csv | near_csv.map("path,label\n".__add__))
def test_random_csv_gives_images_or_input_error(folder, content):
    path = folder / "random.csv"
    path.write_bytes(content if isinstance(content, bytes) else os.fsencode(encodable(content)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of rows and columns that are left out
            images = ImageList.from_csv(path)
    except InputError:
        return
    assert len(images) == len(images.labels) >= 2
    assert len(images.class_names) >= 2
    assert all(image.is_file() for image in images.paths)


def encodable(text):
    return text.encode("utf-8", "replace").decode("utf-8")


@pytest.mark.parametrize("label", ["ant;bee", "ant; bee", "bee ; ant ;"])
def test_several_labels_a_row_are_refused(tmp_path, label):
    make(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, f"path,label\n1.png,ant\n2.png,{label}\n3.png,bee\n")
    message = refusal(ImageList.from_csv, path)
    assert f"{path}, line 3: has 2 labels (" in message
    assert "multi-label data) are not supported; keep one label" in message


def test_rows_of_several_labels_alone_are_refused_too(tmp_path):
    make(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, "path,label\n1.png,cat\n2.png,ant;bee\n3.png,ant;dog\n")
    assert "line 3: has 2 labels ('ant', 'bee')" in refusal(ImageList.from_csv, path)


def test_a_name_with_a_semicolon_is_one_class(tmp_path):
    make(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, "path,label\n1.png,ant;\n2.png,bee\n3.png,salt; pepper\n")
    assert ImageList.from_csv(path).class_names == ("ant;", "bee", "salt; pepper")
