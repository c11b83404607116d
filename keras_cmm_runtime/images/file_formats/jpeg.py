"""Checking JPEG files."""

import io

import numpy as np
from PIL import Image

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images.file_formats.checked_file import CUT_OFF, CheckedFile, cut_off
from keras_cmm_runtime.images.file_formats.orientation import exif_orientation

_IS_MARKER = np.array([kind not in (0, *range(0xD0, 0xD8), 255) for kind in range(256)])
_ALONE = {0x01, 0xD8}
_TABLES, _START_OF_SCAN, _END = 0xC4, 0xDA, 0xD9
_STARTS_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xCA}
# APP1 to APP15 and comments decide no pixel, but for Adobe's APP14.
_LEFT_OUT = {*range(0xE1, 0xF0), 0xFE} - {0xEE}
# Encoders write about 10 scans. Each passes over the whole picture again, so more are read only
# while pixels times scans take a few seconds.
_USUAL_SCANS, _MAX_WORK, _MAX_SCANS = 20, 2 * 10**9, 1000
_MAX_SEGMENTS = 10_000
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


def check_jpeg(data: bytes) -> CheckedFile:
    """Checks that all scans are there, leaves out what decides no pixel, and reads the orientation.

    Phones append more pictures, depth maps and films to a JPEG file, and Pillow takes some of these
    files for another format, MPO. Only the first picture is kept.

    Args:
        data: The file.

    Raises:
        InputError: If the file is cut off, or has too many scans.
    """
    view = memoryview(data)
    kept, kept_from, place = [], 0, 2
    scans: list[bytes] = []
    exif, xmp, tables = b"", b"", b""
    pixels = first_pixels = 0
    is_progressive = False
    markers = _markers(data)
    if len(markers) > _MAX_SEGMENTS:
        raise InputError(f"it has more than {_MAX_SEGMENTS:,} segments; save it again as JPEG")
    for position in markers:
        if position < place:  # inside of a segment
            continue
        marker, start = data[position + 1], position + 2
        if marker == _END:
            kept.append(view[kept_from:start])
            end = position
            break
        if marker in _ALONE:
            place = start
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        place = start + length
        if length < 2 or place > len(data):
            raise InputError(cut_off(data))
        if marker in _STARTS_OF_FRAME:
            is_progressive |= marker in _PROGRESSIVE
            sides = data[start + 3 : start + 5], data[start + 5 : start + 7]
            pixels = int.from_bytes(sides[0], "big") * int.from_bytes(sides[1], "big")
        elif marker == _START_OF_SCAN:
            scans.append(data[start + 2 : place])
            first_pixels = first_pixels or place
        elif marker == _TABLES:
            tables += data[start + 2 : place]
        elif marker in _LEFT_OUT:
            kept.append(view[kept_from:position])
            kept_from = place
            content = data[start + 2 : place] if marker == 0xE1 else b""
            exif = exif or (content if content.startswith(b"Exif\0\0") else b"")
            xmp = xmp or (content if content.startswith(_XMP) else b"")
    else:
        raise InputError(cut_off(data))
    if not scans:
        raise InputError("it has no pixels")
    most = min(_MAX_SCANS, max(_USUAL_SCANS, _MAX_WORK // max(pixels, 1)))
    if len(scans) > most:
        raise InputError(f"it has {len(scans):,} scans; save it again as JPEG with fewer")
    if is_progressive:
        _check_scans(scans)
    elif _has_hole(data[first_pixels:end], tables, scans[0]):
        raise InputError("it has zeros in place of pixels; copy or download it again")
    return CheckedFile(b"".join(kept), exif_orientation(exif, xmp))


def _markers(data: bytes) -> list[int]:
    """Returns the places of all markers, and of what looks like one inside of segments."""
    values = np.frombuffer(data, "u1")
    places = np.flatnonzero(values[:-1] == 255)
    # In compressed pixels, FF 00 and restart markers (D0 to D7) are none. FF FF is a fill byte.
    kinds = values[1:][places]
    return places[_IS_MARKER[kinds]].tolist()


def is_cut_short(data: bytes, image: Image.Image) -> bool:
    """Returns whether the pixels of a JPEG file end before the picture does.

    Decoders say nothing if the end marker comes too early. They fill the rest with grey.

    Args:
        data: What `check_jpeg` returned.
        image: The picture that Pillow decoded from it.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    values = last if isinstance(last, tuple) else (last,)
    if not all(value in (127, 128) for value in values):
        return False
    # Grey may be the picture's own. Then more data behind the last pixel changes nothing.
    longer = data[:-2] + b"\x5a\xa5" * 512 + data[-2:]
    with Image.open(io.BytesIO(longer), formats=("JPEG",)) as other:
        return image.tobytes() != other.tobytes()


def _has_hole(pixels: bytes, tables: bytes, scan: bytes) -> bool:
    """Returns whether 64 zeros among the pixels of a sequential file stand for no picture.

    Zeros are pixels if their code ends a block, as optimal codes of flat pictures do.
    """
    if bytes(64) not in pixels:
        return False
    symbols = {}
    while len(tables) > 17:
        count = sum(tables[1:17])
        symbols[tables[0]] = tables[17 : 18 + count][:1]
        tables = tables[17 + count :]
    used = {0x10 | number & 15 for number in scan[2:-3:2]}
    return any(symbols.get(number, b"\0") != b"\0" for number in used)


def _check_scans(scans: list[bytes]) -> None:
    """Raises an error if the scans of a progressive file do not give all bits of all values."""
    missing: dict[int, list[int]] = {}
    for scan in scans:
        components = scan[0] if scan else 0
        if len(scan) != 4 + 2 * components:
            raise InputError("it is damaged: a scan has a wrong header")
        first, last, bits = scan[-3:]
        if first > last or last > 63:
            raise InputError("it is damaged: a scan has a wrong header")
        for component in scan[1:-3:2]:
            low = missing.setdefault(component, [14] * 64)
            low[first : last + 1] = [bits & 15] * (last + 1 - first)
    if any(any(low) for low in missing.values()):
        raise InputError(CUT_OFF)
