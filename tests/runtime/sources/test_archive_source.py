import struct
import tarfile
import tracemalloc
import warnings
import zipfile

import pytest
from labelled_pictures import as_cls, pictures, webdataset, write_tar, write_zip
from refusals import refusal

from keras_cmm.data import ArchiveSource
from keras_cmm_runtime.errors import InputError

WRITERS = {"zip": write_zip, "tar": write_tar}
FEW = {"cat/1.png": b"one", "dog/2.PNG": b"two"}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """Writes an archive of each kind."""

    def write(files):
        return WRITERS[request.param](tmp_path / f"photos.{request.param}", files)

    return write


def refused(path, **kwargs):
    message = refusal(ArchiveSource.from_file, path, **kwargs)
    assert message.startswith(str(path))
    return message


def unreadable(image):
    message = refusal(image.read_bytes)
    assert message.startswith(f"{image}: ")
    return message


def test_hidden_and_other_files_are_left_out(write):
    others = ["cat/notes.txt", "cat/.x.png", "__MACOSX/cat/1.png", ".git/1.png", "README.md"]
    source = ArchiveSource.from_file(write(FEW | dict.fromkeys(others, b"...")))
    assert source.keys() == ["cat/1.png", "dog/2.PNG"]
    assert source.class_names == ("cat", "dog")
    assert str(source.images[0]).endswith(("photos.zip/cat/1.png", "photos.tar/cat/1.png"))


def test_images_of_other_formats_are_counted_once(write):
    others = ["cat/3.jxl", "dog/deep/4.JXL", "dog/5.psd", "__MACOSX/cat/._3.jxl"]
    path = write(FEW | {"dog/6.jfif": b"six"} | dict.fromkeys(others, b"..."))
    with pytest.warns(UserWarning, match=r"\(2 \.jxl, 1 \.psd\)") as caught:
        source = ArchiveSource.from_file(path)
    assert source.keys() == ["cat/1.png", "dog/2.PNG", "dog/6.jfif"]
    (warning,) = caught
    assert str(warning.message).startswith(f"{path}/cat/3.jxl: left out, with all images")
    assert warning.filename == __file__


def test_folders_around_the_classes_are_dropped(write):
    files = {f"data/photos/{name}": data for name, data in FEW.items()}
    files["data/photos/dog/deep/3.png"] = b"three"
    path = write(files)
    source = ArchiveSource.from_file(path)
    assert source.keys() == ["cat/1.png", "dog/2.PNG", "dog/deep/3.png"]
    assert [image.read_bytes() for image in source.images] == [b"one", b"two", b"three"]
    assert str(source.images[0]) == f"{path}/data/photos/cat/1.png"


def test_a_class_of_a_model_is_no_folder_around_the_classes(write):
    path = write({"cat/old/1.png": b"1", "cat/new/2.png": b"2"})
    assert ArchiveSource.from_file(path).class_names == ("new", "old")
    source = ArchiveSource.from_file(path, class_names=["dog", "cat"])
    assert source.labels.tolist() == [1, 1]
    assert source.keys() == ["cat/new/2.png", "cat/old/1.png"]


def test_names_that_lead_out_of_the_archive(write, tmp_path):
    tricks = ["../up.png", "/etc/root.png", "cat/../../up.png", "..\\up.png", "C:/x/up.png"]
    path = write(FEW | dict.fromkeys(tricks, b"..."))
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.warns(UserWarning, match=r"lead out of the archive: .*'\.\./up\.png'") as caught:
        source = ArchiveSource.from_file(path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert source.keys() == ["cat/1.png", "dog/2.PNG"]
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_refusals(write, tmp_path):
    assert "there are no images" in refused(write({"cat/notes.txt": b""}))
    assert "images lie directly in it" in refused(write({"1.png": b"", "2.png": b""}))
    assert "one class only, 'cat'" in refused(write({"cat/1.png": b"", "cat/2.png": b""}))
    assert "'cat'" in refused(write(FEW), class_names=["dog", "emu"])
    assert "no such file" in refused(tmp_path / "none.zip")
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\3\4" + bytes(99), b"hello" * 200])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "photos.zip").write_bytes(content)
    assert "neither a zip archive nor a tar archive" in refused(tmp_path / "photos.zip")


def test_compressed_tar(tmp_path):
    path = write_tar(tmp_path / "photos.tar.gz", FEW, mode="w:gz")
    assert "uncompress a .tar.gz first" in refused(path)


@pytest.mark.parametrize("writer", [write_zip, write_tar])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_archives_that_are_cut_off(tmp_path, writer, share):
    path = writer(tmp_path / "photos", pictures())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "is damaged" in refused(path)


def test_a_damaged_header_in_a_tar_loses_no_images_silently(tmp_path):
    path = write_tar(tmp_path / "photos.tar", pictures())
    data = path.read_bytes()
    header = data.index(b"red fox/1.jpg")
    path.write_bytes(data[:header] + b"X" + data[header + 1 :])
    assert f"damaged at byte {header:,}" in refused(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_file_in_a_zip_is_named(tmp_path, compression):
    path = write_zip(tmp_path / "photos.zip", pictures(), compression)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    source = ArchiveSource.from_file(path)
    assert "is damaged in the archive" in unreadable(source.images[0])
    assert source.images[1].read_bytes() == list(pictures().values())[1]


def test_a_file_in_a_zip_that_has_another_name_there(tmp_path):
    path = write_zip(tmp_path / "a.zip", pictures())
    data = path.read_bytes()
    listed = data.rindex(b"red fox/2.jpg")
    path.write_bytes(data[:listed] + b"red fox/3.jpg" + data[listed + 13 :])
    source = ArchiveSource.from_file(path)
    images = dict(zip(source.keys(), source.images, strict=True))
    with pytest.raises(InputError, match=r"red fox/3\.jpg: is damaged .*another name there"):
        images["red fox/3.jpg"].read_bytes()


def test_zip_members_that_cannot_be_read(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/bomb.png", bytes(10**6), zipfile.ZIP_DEFLATED)
        archive.writestr("cat/rare.png", b"...", zipfile.ZIP_BZIP2)
        archive.writestr("dog/1.png", b"...")
    data = bytearray(path.read_bytes())
    bomb = data.index(b"PK\1\2")
    data[bomb + 24 : bomb + 28] = struct.pack("<I", 2**31)  # the size it claims to have
    path.write_bytes(data)
    images = ArchiveSource.from_file(path).images
    assert "larger than 1 GiB" in unreadable(images[0])
    assert "rare way" in unreadable(images[1])
    # A file that unpacks to more than it claims is not unpacked further.
    data[bomb + 24 : bomb + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    assert "checksum" in unreadable(ArchiveSource.from_file(path).images[0])


def test_an_encrypted_archive_is_refused_as_a_whole(tmp_path):
    path = write_zip(tmp_path / "photos.zip", FEW)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1  # the flag of encryption of the last file
    path.write_bytes(data)
    assert refused(path) == f"{path}: is encrypted; unpack it with its password."


def test_links_in_a_tar_are_not_followed(tmp_path):
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("cat/link.png", tarfile.SYMTYPE),
            ("cat/hard.png", tarfile.LNKTYPE),
            ("dog/device.png", tarfile.CHRTYPE),
            ("dog/pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    source = ArchiveSource.from_file(path)
    assert len(source) == 4
    for image in source.images:
        assert "link or device" in unreadable(image)


def test_a_tar_that_shrinks_after_it_was_listed(tmp_path):
    path = write_tar(tmp_path / "photos.tar", FEW)
    image = ArchiveSource.from_file(path).images[1]
    path.write_bytes(path.read_bytes()[:100])
    assert "cut off" in unreadable(image)
    path.unlink()
    with pytest.raises(InputError, match=r"photos\.tar: cannot be read"):
        image.read_bytes()


def test_many_files_are_listed_once(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "photos.zip", FEW)
    source = ArchiveSource.from_file(path)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert [image.read_bytes() for image in source.images] == [b"one", b"two"]


def test_webdataset_classes_that_are_numbers(write, tmp_path):
    path = write(webdataset(pictures(), as_cls))
    assert "put their names into" in refused(path)
    with pytest.warns(UserWarning, match="0 is 'green tea', 1 is 'red fox', 2 is 'emu'; put"):
        source = ArchiveSource.from_file(path, class_names=["green tea", "red fox", "emu"])
    assert source.class_names == ("green tea", "red fox", "emu")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    # Where the numbers have names, `class_names` may be those of a model, in its order.
    (tmp_path / "classnames.txt").write_text("green tea\nred fox\n")
    assert ArchiveSource.from_file(path).class_names == ("green tea", "red fox")
    source = ArchiveSource.from_file(path, class_names=["red fox", "green tea"])
    assert source.labels.tolist() == [1, 1, 1, 0, 0, 0]
    (tmp_path / "classnames.txt").write_text("green tea\n")
    assert "lists 1 class names" in refusal(ArchiveSource.from_file, path)


def test_webdataset_keys_end_at_the_first_dot(write):
    files = {
        "a/0.left.png": b"1",
        "a/0.right.png": b"2",
        "a/0.cls": b" cat\n",
        "a/1.png": b"3",
        "a/1.json": b'{"label": "dog"}',
    }
    source = ArchiveSource.from_file(write(files))
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("1.cls", b"\xff", "cannot be read"),
        ("1.cls", b" ", "has no label"),
        ("1.json", b"{", "cannot be read"),
        ("1.json", b"[" * 100_000, "cannot be read"),
        ("1.json", b"3", "cannot be read"),
        ("1.json", b'{"caption": "x"}', "has no label"),
        ("1.json", b'{"label": null}', "has no label"),
        ("1.json", b'{"label": true}', "has no label"),
        ("1.json", b'{"label": [1]}', "has no label"),
        ("1.cls", b"9" * 5000, "cannot be read"),
        ("1.cls", b"9" * 50, "class ids from 0 to 1"),
        ("2.cls", b"1", "has no label"),
    ],
)
def test_webdataset_labels_that_cannot_be(write, name, content, words):
    path = write({"0.png": b"", "0.cls": b"0", "1.png": b"", name: content})
    assert words in refused(path, class_names=["cat", "dog"])


def test_json_files_that_are_not_labels(write):
    assert len(ArchiveSource.from_file(write(FEW | {"info.json": b"{}", "cat/x.cls": b"1"}))) == 2


def test_nothing_is_left_open(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for image in ArchiveSource.from_file(write(FEW)).images:
            image.read_bytes()


def test_a_member_that_is_a_trap_is_refused_before_it_is_unpacked(tmp_path):
    size = 900_000_000
    chunk = bytes(10**7)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/1.png", "dog/1.png"):
            archive.writestr(name, b"")
        with archive.open("cat/2.png", "w", force_zip64=True) as file:
            for _ in range(size // len(chunk)):
                file.write(chunk)
    image = ArchiveSource.from_file(path).images[1]
    tracemalloc.start()
    message = refusal(image.read_bytes)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    assert "to 900,000,000 bytes, as no image does" in message
