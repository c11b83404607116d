"""Checking PNG files."""

import re
import struct
import zlib

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import CheckedFile, cut_off
from keras_cmm_runtime.images.file_formats.orientation import exif_orientation

# Only these decide pixels. Texts and colour profiles may grow when they are unpacked.
_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# libpng writes 8 KiB of pixels a chunk, so even a file of 1 GiB has fewer.
_MAX_CHUNKS = 200_000
_MAX_TEXT = 2**20
_NAME = re.compile(rb"[A-Za-z]{4}")


def check_png(data: bytes) -> CheckedFile:
    """Checks the checksums, leaves out what decides no pixel, and reads the orientation.

    Pillow does not check the checksums of pixels, nor of what follows them.

    Args:
        data: The file.

    Raises:
        InputError: If the file is damaged or cut off.
    """
    view = memoryview(data)
    kept, kept_from = [], 0
    exif, raw_exif, xmp = b"", b"", b""
    place, name = 8, b""
    for _ in range(_MAX_CHUNKS):
        if name == b"IEND":
            break
        if place + 12 > len(data):
            raise InputError(cut_off(data))
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if not _NAME.fullmatch(name):
            raise InputError(_damaged("a chunk has no name", data))
        if end > len(data):
            raise InputError(cut_off(data))
        checksum = zlib.crc32(view[place + 4 : end - 4])
        if checksum != int.from_bytes(view[end - 4 : end], "big"):
            raise InputError(_damaged(f"the checksum of {name.decode()} is wrong", data))
        if name not in _PIXELS:
            kept.append(view[kept_from:place])
            kept_from = end
        if name == b"eXIf":
            exif = data[place + 8 : end - 4]
        elif name in _TEXTS and length <= _MAX_TEXT:
            keyword, text = _text(name, data[place + 8 : end - 4])
            if keyword == b"Raw profile type exif":
                raw_exif = _from_hex(text)
            elif keyword == b"XML:com.adobe.xmp":
                xmp = text
        place = end
    else:
        raise InputError(f"it has more than {_MAX_CHUNKS:,} chunks; save it again as PNG")
    kept.append(view[kept_from:place])
    # A file that is kept whole needs no copy.
    return CheckedFile(
        b"".join(kept) if kept_from else data, exif_orientation(exif or raw_exif, xmp)
    )


def _damaged(what: str, data: bytes) -> str:
    return cut_off(data) if data.endswith(bytes(64)) else f"it is damaged: {what}"


def _text(name: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Returns the keyword of a text and the text, which is empty if it is broken or too long."""
    keyword, _, text = content.partition(b"\0")
    is_packed = name == b"zTXt"
    if name == b"iTXt":
        is_packed = text[:1] == b"\1"
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif is_packed:
        text = text[1:]
    if is_packed and keyword in (b"Raw profile type exif", b"XML:com.adobe.xmp"):
        try:
            text = zlib.decompressobj().decompress(text, _MAX_TEXT)
        except zlib.error:
            text = b""
    return keyword, text


def _from_hex(text: bytes) -> bytes:
    """Unpacks ImageMagick's form of EXIF: name, length and hexadecimal digits."""
    digits = b"".join(text.split(b"\n")[3:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""
