"""Files that are named like images and are damaged or something else, with a word of the error."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Formats, and the shares of a file after which it is cut off.
_CUT = {
    "jpg": ("JPEG", (0.1, 0.5, 0.9)),
    "png": ("PNG", (0.1, 0.5, 0.9)),
    "gif": ("GIF", (0.1, 0.5, 0.9)),
    "bmp": ("BMP", (0.1, 0.5, 0.99)),
    "webp": ("WEBP", (0.1, 0.5, 0.99)),
    "tif": ("TIFF", (0.1, 0.5, 0.99)),
}


def encode(name, size=(160, 120)):
    """Returns a noisy picture, which no format can compress to a few bytes."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(values).save(file, name)
    return file.getvalue()


def png_of_size(width, height, data=b""):
    """Returns a PNG file that claims a size, with `data` as its pixels."""

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def _contents():
    """Yields name, bytes and a word of the error."""
    for suffix, (name, shares) in _CUT.items():
        whole = encode(name)
        for share in shares:
            # Pillow has many errors for missing data.
            yield f"cut at {share}.{suffix}", whole[: int(share * len(whole))], ""
        word = "it is cut off" if suffix == "jpg" else "no known image format"
        yield f"cut after 3 bytes.{suffix}", whole[:3], word
        yield f"wrong start.{suffix}", b"\0\0\0\0" + whole[4:], "no known image format"
        yield f"empty.{suffix}", b"", "is empty"
        yield f"zeros.{suffix}", bytes(len(whole)), "zeros only"
    png = encode("PNG")
    for place in (20, 45, len(png) // 3, len(png) // 2):
        flipped = bytearray(png)
        flipped[place] ^= 4
        yield f"bit flipped at {place}.png", bytes(flipped), ""
    middle = slice(len(png) // 3, len(png) // 2)
    yield "zeros in the middle.png", png[: middle.start] + bytes(10_000) + png[middle.stop :], ""
    for suffix, name in (("jpg", "JPEG"), ("webp", "WEBP")):
        whole = encode(name)
        for share in (0.3, 0.9):
            start = whole[: int(share * len(whole))]
            yield f"zeros from {share}.{suffix}", start.ljust(len(whole), b"\0"), "ends in zeros"
    yield "headers only.jpg", encode("JPEG")[:20] + b"\xff\xd9", ""

    yield "bomb.png", png_of_size(12_000, 12_000, bytes(12_001) * 12_000), "more than 89,478,485"
    yield "huge.png", png_of_size(2**31 - 1, 2**31 - 1), "more than 89,478,485"
    yield "just over.png", png_of_size(10_000, 9000), "more than 89,478,485"
    yield "no width.png", png_of_size(0, 10), ""
    yield "no pixels.png", png_of_size(100, 100), "truncated"
    jpeg = bytearray(encode("JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = struct.pack(">HH", 65_000, 65_000)
    yield "huge.jpg", bytes(jpeg), "more than 89,478,485"
    gif = encode("GIF")
    yield (
        "huge.gif",
        gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:],
        "more than 89,478,485",
    )
    bmp = encode("BMP")
    yield "huge.bmp", bmp[:18] + struct.pack("<ii", 60_000, 60_000) + bmp[26:], "more than 89,478"
    text_bomb = b"tEXt" + b"x\0" + bytes(10)
    yield "bad chunk.png", png[:33] + struct.pack(">I", 2**31 - 1) + text_bomb + png[33:], ""

    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"
    declared = b"<?xml version='1.0'?>\n<!-- by hand -->\n<svg/>"
    yield "declared drawing.jpg", declared, "an SVG drawing"
    yield "page.jpg", b"<!DOCTYPE html>\n<title>404 Not Found</title>", "a web page"
    yield "old page.gif", b"<HTML><BODY>Please log in", "a web page"
    yield "pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"
    yield "document.png", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"
    yield "phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo"
    yield "text.png", b"to be replaced by a picture\n", "no known image format"
    yield "json.png", b'{"error": "quota exceeded"}', "no known image format"
    yield "archive.jpg", b"PK\3\4\x14\0\0\0", "no known image format"
    yield "program.png", b"\x7fELF\2\1\1" + bytes(200), "no known image format"
    yield "script.eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known image"
    yield "source.bmp", b"#define x_width 8\n#define x_height 8\nstatic char b[]={1};", "no known"
    yield (
        "tga without a signature.png",
        bytes([0, 0, 2]) + bytes(9) + b"\4\0\4\0\x18\0" + bytes(48),
        "no known image format",
    )
    for seed in range(3):
        noise = random.Random(seed).randbytes(5000)
        yield f"noise {seed}.jpg", noise, "no known image format"
    yield "noise behind a start.jpg", b"\xff\xd8\xff\xe0" + random.Random(9).randbytes(5000), ""
    yield "two\nlines.png", b"", "is empty"


def write_hostile_files(folder):
    """Writes the files into a folder.

    Returns:
        `{path: word of its error}`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for name, data, word in _contents():
        (folder / name).write_bytes(data)
        reasons[folder / name] = word

    (folder / "folder.jpg").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "to and.png").symlink_to("fro.png")
    (folder / "fro.png").symlink_to("to and.png")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    # It takes no space on the disk.
    with (folder / "too large.tif").open("wb") as file:
        file.truncate(2**31)
    special = {
        "folder.jpg": "is a folder",
        "loop.png": "symbolic links",
        "to and.png": "symbolic links",
        "fro.png": "symbolic links",
        "dangling.jpg": "a link to a file that does not exist",
        "device.png": "is a device or pipe",
        "pipe.png": "is a device or pipe",
        "too large.tif": "larger than 1 GiB",
    }
    reasons |= {folder / name: word for name, word in special.items()}
    if os.geteuid():  # root reads everything
        (folder / "forbidden.jpg").write_bytes(encode("JPEG"))
        (folder / "forbidden.jpg").chmod(0)
        reasons[folder / "forbidden.jpg"] = "Permission denied"
    return reasons
