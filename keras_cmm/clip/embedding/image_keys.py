"""The keys by which an embedding store knows images."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from keras_cmm_runtime.embeddings.embedding_space import KEY_BYTES
from keras_cmm_runtime.images import ImageView, file_bytes, image_name, read_image
from keras_cmm_runtime.images.image_view import VIEW_RECIPE


def identify(image: Any) -> tuple[bytes, Any]:
    """Returns the key of an image, and the image in a form that need not be read from disk again.

    The key is 128 bits of a SHA-256: of the bytes of a file, or of the pixels of an image that has
    no file. The key of a view is that of its image with the number of the view.

    Args:
        image: what `read_image` takes, or an `ImageView` of it.

    Raises:
        InputError: If the image cannot be read.
    """
    if isinstance(image, ImageView):
        key, content = identify(image.image)
        head = f"view {image.number}: {VIEW_RECIPE}"
        return _key(head.encode(), key), ImageView(content, image.number)
    content = file_bytes(image)
    if content is not None:
        return _key(b"file", content), _FileContent(content, image_name(image))
    picture = read_image(image)
    return _key(b"%d %d" % picture.size, picture.tobytes()), picture


class _FileContent(NamedTuple):
    """The bytes of a file for `read_image`, so that the bytes that are hashed are embedded."""

    content: bytes
    name: str

    def read_bytes(self) -> bytes:
        return self.content

    def __str__(self) -> str:
        return self.name


def _key(head: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(head + b"\0")
    digest.update(content)
    return digest.digest()[:KEY_BYTES]
