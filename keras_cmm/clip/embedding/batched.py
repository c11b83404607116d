"""The batch size of embedders."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def usual_batch_size(encoder: Any) -> int:
    """Returns the `batch_size` of an encoder that has one, or 32."""
    return int(getattr(encoder, "batch_size", 32))


class Batched:
    """Has a `batch_size`, which is checked whenever it is set; `None` is the usual one."""

    @property
    def batch_size(self) -> int:
        """Number of inputs in a forward pass."""
        return self._usual_batch_size if self._batch_size is None else self._batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int | None) -> None:
        if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
            raise ValueError(f"`batch_size` must be an int >= 1. Received: {batch_size=}")
        self._batch_size = None if batch_size is None else int(batch_size)

    @property
    def _usual_batch_size(self) -> int:
        """The size where none was given. Each embedder says its own."""
        raise NotImplementedError
