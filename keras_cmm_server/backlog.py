"""How much a server has taken on."""

from collections.abc import Iterator
from contextlib import contextmanager

from keras_cmm_server.request_error import RequestError
from keras_cmm_server.server_metrics import ServerMetrics
from keras_cmm_server.server_settings import ServerSettings

_RETRY_AFTER = 1


class Backlog:
    """Counts the images and bytes in the server, and refuses more than it can hold.

    Args:
        settings: Their limits.
        metrics: Where the number of images is shown.
    """

    def __init__(self, settings: ServerSettings, metrics: ServerMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._images = 0
        self._bytes = 0

    @contextmanager
    def images(self, number: int) -> Iterator[None]:
        """Holds room for images while they are in the server.

        Args:
            number: How many.

        Raises:
            RequestError: If there are too many of one request (413), or too many in all (429).
        """
        if number > self._settings.max_images:
            raise RequestError(
                413,
                f"the request has {number} images; this server takes at most "
                f"{self._settings.max_images} a request.",
            )
        if self._images + number > self._settings.max_queue:
            self._metrics.refused.labels("queue").inc()
            raise RequestError(429, "the server is busy; try again later.", _RETRY_AFTER)
        self._count(number)
        try:
            yield
        finally:
            self._count(-number)

    def add_bytes(self, number: int) -> None:
        """Counts bytes of a body that arrived.

        Raises:
            RequestError: If the bodies of all requests hold too many (429).
        """
        if self._bytes + number > self._settings.max_pending_bytes:
            self._metrics.refused.labels("memory").inc()
            raise RequestError(429, "the server is busy; try again later.", _RETRY_AFTER)
        self._bytes += number

    def remove_bytes(self, number: int) -> None:
        """Forgets bytes of a body that are no longer held."""
        self._bytes -= number

    def _count(self, number: int) -> None:
        self._images += number
        self._metrics.queue.inc(number)
