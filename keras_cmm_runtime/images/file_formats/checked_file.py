"""What Pillow is to read."""

from typing import NamedTuple


class CheckedFile(NamedTuple):
    """An image file that has passed the checks of its format.

    Args:
        data: What Pillow is to read. What decides no pixel may be left out.
        orientation: How the picture is to be turned, as in EXIF, or `None` if Pillow is to say.
    """

    data: bytes
    orientation: int | None = None


CUT_OFF = "it is cut off; copy or download it again"
ENDS_IN_ZEROS = "it ends in zeros; copy or download it again"


def cut_off(data: bytes) -> str:
    """Returns the reason for a file that is not whole. Some downloads reserve the space first."""
    return ENDS_IN_ZEROS if data.endswith(bytes(64)) else CUT_OFF
