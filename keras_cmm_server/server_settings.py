"""The limits of a server."""

from dataclasses import dataclass

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int, check_number

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""The names by which a machine calls itself."""

_WHOLE = (
    "max_batch_size",
    "max_images",
    "max_queue",
    "max_body_bytes",
    "max_pending_bytes",
    "max_pixels",
)


@dataclass(frozen=True)
class ServerSettings:
    """The limits of a server.

    Args:
        max_batch_size: int. The most images of one pass through the model.
        max_delay: float, seconds. How long an image waits for others to fill its batch.
        max_images: int. The most images of one request.
        max_queue: int. The most images that may be in the server at once. More are refused with
            status 429.
        max_body_bytes: int. The largest body of one request. A larger one is refused with 413.
        max_pending_bytes: int. The most bytes that the bodies of all requests may hold at once.
            More are refused with 429.
        max_pixels: int. The most pixels of one encoded image. A larger one is refused with 413.
        timeout: float, seconds. For the body of a request to arrive (else 408), and for its answer
            to be computed (else 504).
        grace: float, seconds. How long requests may still run when the server is told to stop.
        allowed_hosts: Names that the `Host` header may have, or `None` for all. A page of another
            site that a browser shows cannot reach a server on loopback under a name of its own.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> ServerSettings(max_queue=512).max_batch_size
        16
    """

    max_batch_size: int = 16
    max_delay: float = 0.005
    max_images: int = 64
    max_queue: int = 256
    max_body_bytes: int = 32 * 2**20
    max_pending_bytes: int = 256 * 2**20
    max_pixels: int = 50_000_000
    timeout: float = 30.0
    grace: float = 30.0
    allowed_hosts: tuple[str, ...] | None = LOCAL_NAMES

    def __post_init__(self) -> None:
        for name in _WHOLE:
            check_int(name, getattr(self, name), 1)
        for name in ("timeout", "grace"):
            check_number(name, getattr(self, name), "> 0")
        check_number("max_delay", self.max_delay, ">= 0")
        if self.max_images > self.max_queue:
            raise InputError(
                "`max_images` must be at most `max_queue`, or no such request could ever be "
                f"answered. Received: max_images={self.max_images}, max_queue={self.max_queue}"
            )
        if self.max_body_bytes > self.max_pending_bytes:
            raise InputError(
                "`max_body_bytes` must be at most `max_pending_bytes`. Received: "
                f"max_body_bytes={self.max_body_bytes}, "
                f"max_pending_bytes={self.max_pending_bytes}"
            )
