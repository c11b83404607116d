"""An image file inside an archive or a data set."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredImage:
    """One image file in an archive or data set, read when it is needed.

    Args:
        name: Its name in messages, such as "photos.zip/cat/1.jpg".
        read: Returns the bytes of the file. It must be picklable for worker processes.

    Example:
        >>> image = StoredImage("photos.zip/cat/1.jpg", read=b"...".strip)
        >>> str(image), image.read_bytes()
        ('photos.zip/cat/1.jpg', b'...')
    """

    name: str
    read: Callable[[], bytes]

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        """Returns the bytes of the file, as `pathlib.Path.read_bytes` does."""
        return self.read()
