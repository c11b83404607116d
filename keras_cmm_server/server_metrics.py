"""What a server counts and times, for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of the folder in which several workers share what they count."""

METRICS_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServerMetrics:
    """What a server counts and times.

    Several workers share it if the variable `PROMETHEUS_MULTIPROC_DIR` names a folder when
    prometheus_client is imported.

    Example:
        >>> metrics = ServerMetrics()
        >>> metrics.images.inc(3)
        >>> "keras_cmm_images_total 3.0" in metrics.text().decode()
        True
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "keras_cmm_requests",
            "Requests that were answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "keras_cmm_request_seconds",
            "Seconds from the headers of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.images = Counter("keras_cmm_images", "Images that were classified.", registry=registry)
        self.refused = Counter(
            "keras_cmm_refused",
            "Requests that were refused for want of room or time.",
            ("reason",),
            registry=registry,
        )
        self.queue = Gauge(
            "keras_cmm_queue_images",
            "Images in the server: waiting, being decoded or in the model.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.wait_seconds = Histogram(
            "keras_cmm_batch_wait_seconds",
            "Seconds that a decoded image waited for its batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_images = Histogram(
            "keras_cmm_batch_images", "Images of a batch.", buckets=_IMAGES, registry=registry
        )
        self.batch_seconds = Histogram(
            "keras_cmm_batch_seconds",
            "Seconds of a batch in the model.",
            buckets=_SECONDS,
            registry=registry,
        )

    def text(self) -> bytes:
        """Returns all of it in Prometheus's text format, of all workers together."""
        if METRICS_FOLDER not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
