"""Folders and archives as people have them: with what systems and programs put into them."""

import struct
import tarfile
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from labelled_pictures import write_folder, write_tar, write_zip
from PIL import Image
from refusals import refusal

from keras_cmm.data import ArchiveSource, ImageList, find_images, open_images, read_class_names

FEW = {"cat/1.png": b"one", "dog/2.png": b"two"}
CLUTTER = [
    "@eaDir/cat.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    "cat/Thumbs.db",
    "$RECYCLE.BIN/S-1-5/$RABCDEF.jpg",
    "System Volume Information/1.png",
    "lost+found/#123.jpg",
    ".ipynb_checkpoints/1-checkpoint.png",
    "dog/.ipynb_checkpoints/1-checkpoint.png",
    "__MACOSX/cat/._1.png",
    "#recycle/old/1.png",
    "dog/.@__thumb/2.png",
    "DESKTOP.INI",
]


@pytest.fixture(params=["folder", "zip", "tar"])
def write(request, tmp_path):
    """Writes the files of a folder or an archive; returns its path."""
    path = tmp_path / f"photos.{request.param}"
    writers = {"folder": write_folder, "zip": write_zip, "tar": write_tar}
    return lambda files: writers[request.param](path, files)


@pytest.fixture
def jpeg(tmp_path):
    path = tmp_path / "picture.jpg"
    Image.fromarray(np.zeros((9, 9, 3), "uint8")).save(path)
    return path.read_bytes()


def test_what_systems_write_is_no_class_and_no_image(write, jpeg):
    images = open_images(write(FEW | dict.fromkeys(CLUTTER, jpeg)))
    assert images.class_names == ("cat", "dog")
    assert images.keys() == ["cat/1.png", "dog/2.png"]


def test_found_images_have_no_clutter_either(tmp_path, jpeg):
    write_folder(tmp_path / "photos", FEW | dict.fromkeys(CLUTTER, jpeg))
    assert len(find_images([tmp_path / "photos"])) == 2


STRANGE = ["b.jpg?w=640", "c.jpg_large", "d.jpg.1", "f (2023.05.12)", "subject01.happy", "none"]


def test_images_without_a_known_suffix_are_told(write, jpeg):
    others = {f"cat/{name}": jpeg for name in STRANGE} | {"dog/x.1": b"no image", "a.txt": jpeg}
    path = write(FEW | others)
    with pytest.warns(UserWarning, match=r"no known suffix \(6, such as 'b\.jpg\?w=640'\)") as got:
        assert len(open_images(path)) == 2
    assert [str(warning.message) for warning in got] == [str(got[0].message)]


def test_nothing_but_images_without_a_known_suffix(write, jpeg):
    path = write({f"{name}/subject01.{name}": jpeg for name in ("happy", "sad")})
    message = refusal(open_images, path)
    assert "has only images whose names have no known suffix (2, such as 'subject01." in message


def test_listed_images_may_have_any_name(tmp_path, jpeg):
    write_folder(tmp_path, dict.fromkeys(STRANGE[:2], jpeg))
    lines = [f"{name},{label}" for label, name in zip("ab", STRANGE, strict=False)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    assert open_images(tmp_path / "list.csv").images[0].read_bytes() == jpeg


def test_a_folder_in_a_folder_of_its_name(tmp_path, monkeypatch):
    write_folder(tmp_path, {f"flowers/flowers/{name}": data for name, data in FEW.items()})
    write_folder(tmp_path, {"flowers/README.md": b"...", "flowers/@eaDir/x.jpg": b""})
    assert ImageList.from_folder(tmp_path / "flowers").keys() == list(FEW)
    monkeypatch.chdir(tmp_path / "flowers")
    assert ImageList.from_folder(".").keys() == list(FEW)
    # Below a folder of another name it is a class.
    write_folder(tmp_path, {"other/flowers/cat/1.png": b"", "other/flowers/dog/1.png": b""})
    assert f"are the classes, give {tmp_path / 'other' / 'flowers'}." in refusal(
        ImageList.from_folder, tmp_path / "other"
    )
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop", target_is_directory=True)
    assert "there are no images" in refusal(ImageList.from_folder, tmp_path / "loop")


def test_a_split_file_sees_through_such_folders(tmp_path):
    write_folder(tmp_path, {"cars_train/cars_train/1.jpg": b"1", "cars_test/2.jpg": b"2"})
    rows = '"train": [["cars_train/1.jpg", 0, "a"]], "val": [], "test": [["cars_test/2.jpg",1,"b"]]'
    (tmp_path / "split.json").write_text(f"{{{rows}}}")
    images = ImageList.from_coop(tmp_path / "split.json", tmp_path, "train")
    # The identity is that of a copy without the second folder.
    assert images.keys() == images.take([0]).keys() == ["cars_train/1.jpg"]
    assert images.images[0].read_bytes() == b"1"
    assert len(ImageList.from_coop(tmp_path / "split.json", tmp_path, "test")) == 1


def zip_of_names(path, names):
    """Writes a zip archive with names of the given bytes, which does not say their encoding."""
    stand_ins = [f"{number:0{len(name)}d}" for number, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(stand_ins):
            archive.writestr(name, f"image {number}")
    data = path.read_bytes()
    for old, new in zip(stand_ins, names, strict=True):
        data = data.replace(old.encode(), new)
    path.write_bytes(data)
    return path


def test_backslashes_between_folders(tmp_path):
    path = write_zip(tmp_path / "photos.zip", {})
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("photos\\", "photos\\cat\\1.png", "photos\\dog\\2.png", "..\\up\\3.png"):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, name.encode())
    with pytest.warns(UserWarning, match=r"lead out of the archive: '\.\./up/3\.png'"):
        source = ArchiveSource.from_file(path)
    assert source.keys() == ["cat/1.png", "dog/2.png"]
    assert source.images[1].read_bytes() == b"photos\\dog\\2.png"


def test_a_backslash_in_a_name_is_no_folder(write):
    images = open_images(write({"AC\\DC/1.png": b"", "Abba/a\\b.png": b""}))
    assert images.class_names == ("AC\\DC", "Abba")


@pytest.mark.parametrize("name", ["café", "ねこ", "плюш"])
def test_names_in_utf8_that_do_not_say_so(tmp_path, name):
    names = [f"{folder}/1.png".encode() for folder in (name, "xxx")]
    source = ArchiveSource.from_file(zip_of_names(tmp_path / "photos.zip", names))
    assert set(source.class_names) == {name, "xxx"}
    assert len({image.read_bytes() for image in source.images}) == 2


def test_names_in_an_unknown_encoding_are_warned_of(tmp_path):
    names = ["café/1.png".encode("cp437"), b"xxx/1.png"]
    path = zip_of_names(tmp_path / "photos.zip", names)
    with pytest.warns(UserWarning, match=r"unknown encoding .* such as 'café/1\.png'; pack"):
        assert ArchiveSource.from_file(path).class_names == ("café", "xxx")
    path = zip_of_names(tmp_path / "photos.zip", ["ねこ/1.png".encode("cp932"), b"xxx/1.png"])
    with pytest.warns(UserWarning, match="unknown encoding"):
        ArchiveSource.from_file(path)


def test_names_that_are_repeated_in_utf8(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("ねこ/1.png", "xxx/1.png"):
            info = zipfile.ZipInfo(name.encode("ascii", "replace").decode())
            text = b"\1" + bytes(4) + name.encode()
            info.extra = struct.pack("<HH", 0x7075, len(text)) + text
            archive.writestr(info, name)
    assert ArchiveSource.from_file(tmp_path / "photos.zip").class_names == ("xxx", "ねこ")


def test_files_of_the_same_name(tmp_path):
    path = tmp_path / "photos.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data in (("cat/1.png", b"old"), ("dog/1.png", b"x"), ("cat/1.png", b"new")):
            archive.writestr(name, data)
    with pytest.warns(UserWarning, match=r"has 'cat/1\.png' more than once; the last"):
        source = ArchiveSource.from_file(path)
    assert [image.read_bytes() for image in source.images] == [b"new", b"x"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("\ufeffred\ngreen\n".encode(), None),
        (b"red\ngreen\n\n\n", None),
        (b" red \r\ngreen\t\r\n", None),
        ("rouge foncé\ngreen\n".encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        ("red\ngreen\n".encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
        (b"red\n\ngreen\n", "line 2 is empty, which would move"),
        (b"red\nred\n", "names 'red' twice"),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_names_of_numbered_classes(tmp_path, data, words, inside):
    files = {f"s{n}.{end}": str(n).encode() for n in range(2) for end in ("png", "cls")}
    if inside:
        files["classnames.txt"] = data
    else:
        (tmp_path / "classnames.txt").write_bytes(data)
    path = write_tar(tmp_path / "0.tar", files)
    if words is not None:
        assert words in refusal(ArchiveSource.from_file, path)
        return
    assert ArchiveSource.from_file(path).class_names == ("red", "green")
    (tmp_path / "names.txt").write_bytes(data)
    assert read_class_names(tmp_path / "names.txt") == ["red", "green"]


def test_a_tar_of_many_files_takes_little_memory(tmp_path):
    path = write_tar(tmp_path / "photos.tar", FEW | {f"cat/{n}.txt": b"x" for n in range(5000)})
    ArchiveSource.from_file(path)  # What is imported at first use does not count.
    tracemalloc.start()
    ArchiveSource.from_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # tarfile's own list takes 5 MB


def test_a_header_without_end_in_a_tar(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**32
    path = tmp_path / "photos.tar"
    path.write_bytes(info.tobuf())
    with path.open("ab") as file:
        file.truncate(2**32 + 512)  # It takes no space on the disk.
    assert "a header in it is too large" in refusal(ArchiveSource.from_file, path)
