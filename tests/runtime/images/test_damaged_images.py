"""Damage that Pillow mends in silence is refused; what decides no pixel may be damaged."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from hostile_files import encode
from PIL import Image, ImageFile
from refusals import refusal

from keras_cmm.clip import read_image


def picture(mode="RGB", size=(64, 48), seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), "uint8")
    return Image.fromarray(values).convert(mode)


def saved(image, name, **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def same(data, expected):
    np.testing.assert_array_equal(np.asarray(read_image(data)), np.asarray(read_image(expected)))


def chunk(name, content):
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def with_chunk(png, name, content):
    return png[:33] + chunk(name, content) + png[33:]


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P"])
def test_no_flipped_bit_gives_other_pixels_in_a_png(mode):
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved(picture(mode, (12, 9)), "PNG", exif=exif)
    expected = np.asarray(read_image(whole))
    refused = 0
    for place in range(8, len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        try:
            pixels = np.asarray(read_image(bytes(flipped)))
        except ValueError:
            refused += 1
            continue
        np.testing.assert_array_equal(pixels, expected)
    assert refused > 0.9 * len(whole)


def test_a_png_needs_its_end():
    whole = saved(picture(), "PNG")
    assert "it is cut off" in refusal(read_image, whole[:-12])
    # The orientation may follow the pixels.
    exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    assert read_image(whole[:-12] + exif + whole[-12:]).size == (48, 64)
    broken = exif[:-1] + bytes([exif[-1] ^ 1])
    assert "checksum of eXIf" in refusal(read_image, whole[:-12] + broken + whole[-12:])


def test_texts_and_profiles_of_a_png_are_not_unpacked():
    whole = saved(picture(), "PNG")
    bomb = zlib.compress(bytes(50_000_000), 9)
    for name, content in (
        (b"zTXt", b"Comment\0\0" + bomb),
        (b"zTXt", b"Raw profile type exif\0\0" + bomb),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
        (b"iCCP", b"profile\0\0" + bomb),
        (b"tEXt", b"workflow\0" + b"x" * 3_000_000),
    ):
        same(with_chunk(whole, name, content), whole)


def test_png_orientation_in_texts():
    whole = saved(picture(), "PNG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
    text = b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())
    profile = b"Raw profile type exif\0\0" + zlib.compress(text)
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="8"/>'
    for name, content in ((b"zTXt", profile), (b"iTXt", xmp)):
        data = with_chunk(whole, name, content)
        with Image.open(io.BytesIO(data)) as image:
            expected = image.getexif()[0x0112]
        turn = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}[expected]
        np.testing.assert_array_equal(
            np.asarray(read_image(data)), np.asarray(picture().transpose(turn))
        )


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\5\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x63\0\0\0\0\0\0",
        b"garbage",
    ],
)
def test_no_readable_orientation_means_no_turn(name, exif):
    if name == "AVIF" and exif == b"garbage":
        return  # Pillow does not write it
    options = {"tiffinfo": {34665: 999_999}} if name == "TIFF" else {"exif": exif}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's
        damaged = saved(picture(), name, **options)
    same(damaged, saved(picture(), name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's
        image = Image.open(io.BytesIO(damaged))
        image.load()
    np.testing.assert_array_equal(
        np.asarray(read_image(image)), np.asarray(read_image(saved(picture(), name)))
    )


def test_a_phone_photo_that_was_copied_half_way():
    plain = saved(picture(size=(160, 120)), "JPEG")
    phone = saved(
        picture(size=(160, 120)),
        "MPO",
        save_all=True,
        append_images=[picture(size=(160, 120), seed=1)],
    )
    same(phone, plain)
    third = len(plain) // 3
    for data in (plain, phone):
        zeros = data[:third].ljust(len(data), b"\0")
        assert "ends in zeros" in refusal(read_image, zeros)
        assert "cut off" in refusal(read_image, data[:third])
    hole = phone[:third] + bytes(third) + phone[2 * third :]
    assert "zeros in place of pixels" in refusal(read_image, hole)


def test_what_follows_the_first_picture_of_a_jpeg_does_not_matter():
    plain = saved(picture(), "JPEG")
    for more in (bytes(100), b"ftypmp42" * 20, plain[: len(plain) // 2]):
        same(plain + more, plain)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_whose_end_comes_too_early(mode, subsampling):
    options = {} if mode == "L" else {"subsampling": subsampling}
    whole = saved(picture(mode, (160, 120)), "JPEG", **options)
    start = whole.index(b"\xff\xda")
    for share in (0.1, 0.5, 0.8):
        end = start + int(share * (len(whole) - start))
        assert "cut off" in refusal(read_image, whole[:end].rstrip(b"\xff") + b"\xff\xd9")
    grey = saved(Image.new(mode, (160, 120), 128 if mode == "L" else (128,) * len(mode)), "JPEG")
    assert read_image(grey).size == (160, 120)


def test_a_progressive_jpeg_without_its_last_scans():
    whole = saved(picture(), "JPEG", progressive=True)
    scans = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    assert len(scans) == 10
    for place in scans[1:]:
        table = whole.rfind(b"\xff\xc4", 0, place)  # its Huffman table
        assert "cut off" in refusal(read_image, whole[:table] + b"\xff\xd9")
    with Image.open(io.BytesIO(whole)) as image:
        np.testing.assert_array_equal(np.asarray(read_image(whole)), np.asarray(image))


def test_jpegs_of_many_scans_are_refused_before_they_are_decoded():
    whole = saved(Image.new("L", (64, 48)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    more = whole[:-2] + 200 * whole[last:-2] + b"\xff\xd9"
    same(more, whole)  # it is small
    large = bytearray(more)
    size = large.index(b"\xff\xc2") + 5
    large[size : size + 4] = struct.pack(">HH", 9000, 9000)
    assert "scans" in refusal(read_image, bytes(large))
    assert "segments" in refusal(read_image, whole[:2] + b"\xff\xfe\0\2" * 20_000 + whole[2:])


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_switch_of_pillow_that_others_have_set(name, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encode(name)
    assert "cannot be read" in refusal(read_image, whole[: len(whole) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    threads = [threading.Thread(target=read_image, args=(whole,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_an_image_cannot_be_read_by_an_old_pillow(monkeypatch):
    whole = saved(picture(), "AVIF")
    monkeypatch.delitem(Image.OPEN, "AVIF")
    assert "update Pillow" in refusal(read_image, whole)


def test_a_pil_image_that_is_not_loaded_yet():
    whole = encode("PNG")
    with Image.open(io.BytesIO(whole[: len(whole) // 2])) as image:
        assert refusal(read_image, image).startswith("PngImageFile: cannot be read as an image (")


def test_frames_of_a_gif_that_are_missing():
    frames = [picture("P", seed=seed) for seed in range(3)]
    whole = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    same(whole + bytes(100), whole)
    for share in (0.5, 0.9, 0.99):
        assert "cut off" in refusal(read_image, whole[: int(share * len(whole))])
    assert "cut off" in refusal(read_image, whole[:-1])
    one = saved(frames[0], "GIF")
    same(one[:-1], one)


def test_a_gif_that_ends_in_zeros():
    whole = saved(Image.new("P", (60, 40), 3), "GIF")
    # Blocks of zeros end at a zero too, so some of these look like whole ones without an end.
    for start in range(len(whole) - 2):
        assert "cannot be read" in refusal(read_image, whole[:start] + bytes(len(whole) - start))


def tiff(tags, content=b""):
    """Returns a TIFF file of tags `(number, type, count, value)`; `content` begins at byte 1000."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    return head.ljust(1000, b"\0") + content


def grey_tiff(*more, height=4, strips=1):
    tags = [(256, 4, 1, 10), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, strips, 1000), (278, 4, 1, 4), (279, 4, strips, 40), *more]
    return tiff(tags, bytes(range(200)) * 10)


def test_strips_of_a_tiff_that_are_missing():
    assert np.asarray(read_image(grey_tiff()))[0, :, 0].tolist() == list(range(10))
    # One strip of four rows, for eight rows.
    assert "1 of its 2 strips" in refusal(read_image, grey_tiff(height=8))
    whole = saved(picture("1", (640, 480)), "TIFF", compression="group4")
    place = whole.index(b"\x11\1\4\0") + 4  # the offsets of the strips
    count, where = struct.unpack_from("<II", whole, place)
    missing = bytearray(whole)
    start = where if count > 1 else place + 4
    missing[start : start + 4] = bytes(4)
    assert "missing" in refusal(read_image, bytes(missing))


def test_a_tiff_of_many_bands_says_so():
    tags = [(256, 4, 1, 10), (257, 4, 1, 4), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 1000), (277, 3, 1, 13), (278, 4, 1, 4), (279, 4, 1, 1040)]
    message = refusal(read_image, tiff(tags, bytes(1040)))
    assert "a TIFF of 13 bands of 16-bit integers" in message
    assert "red, green and blue" in message
    double = [tag for tag in tags if tag[0] not in (258, 277)] + [(258, 3, 1, 64), (339, 3, 1, 3)]
    assert "1 band of 64-bit floats" in refusal(read_image, tiff(double, bytes(1040)))


def test_tags_of_a_tiff_that_are_larger_than_the_file():
    many = [(40_000 + number, 1, 1500, 0) for number in range(50)]
    assert "tags are larger than the file" in refusal(read_image, grey_tiff(*many))


@pytest.mark.parametrize(
    ("kind", "most"),
    [(5, 100), (5, 1023), (5, 65535), (6, 7), (6, 255), (6, 4095), (2, 1000), (3, 9)],
)
def test_ppm_of_any_largest_value_is_read_as_pillow_reads_it(kind, most):
    bands = 3 if kind in (3, 6) else 1
    values = np.random.default_rng(0).integers(0, most + 1, (7, 5 * bands))
    if kind > 4:
        content = values.astype("u1" if most < 256 else ">u2").tobytes()
    else:
        content = b"# a comment\n" + " ".join(map(str, values.ravel())).encode()
    data = b"P%d # comment\n5 7\n%d\n" % (kind, most) + content
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(read_image(data)), np.asarray(read_image(image)))
    assert "cannot be read" in refusal(read_image, data[:-8])


def test_large_headers_and_slow_forms():
    comment = b"P6\n#" + b"x" * 10_000_000 + b"\n1 1 255\n123"
    assert "longer than 65,536 bytes" in refusal(read_image, comment)
    assert "as text" in refusal(read_image, b"P3 9000 9000 255\n" + b"1 " * 1000)
    assert "a value is no number" in refusal(read_image, b"P2 2 1 255\n1 x ")
    head = struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, 10**7, 1, 1, 8, 1, 0, 0, 0, 0, 0)
    assert "run lengths" in refusal(read_image, b"BM" + head + bytes(100))
    canvas = b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\0" * 2
    assert "more than 89,478,485 pixels" in refusal(read_image, canvas + bytes(8))
