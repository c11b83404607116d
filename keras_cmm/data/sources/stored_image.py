"""An image file that does not lie on disk under a name of its own."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredImage:
    """One image file in an archive or data set, read when it is needed.

    Args:
        name: What messages call it, such as "photos.zip/cat/1.jpg".
        read: Returns the bytes of the file; picklable, so that worker processes can call it.

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
