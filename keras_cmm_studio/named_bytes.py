"""The bytes of an image file, with a name for messages."""


class NamedBytes:
    """The bytes of an image file, as `read_image` takes them.

    Args:
        name: What messages call it.
        data: The file.

    Example:
        >>> str(NamedBytes("cat.jpg", b""))
        'cat.jpg'
    """

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._data = data

    def read_bytes(self) -> bytes:
        """Returns the file."""
        return self._data

    def __str__(self) -> str:
        return self._name
