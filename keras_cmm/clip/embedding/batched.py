"""The batch size of embedders."""

from __future__ import annotations

from numbers import Integral


class Batched:
    """Has a `batch_size`, which is checked whenever it is set."""

    @property
    def batch_size(self) -> int:
        """Number of inputs in a forward pass."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise ValueError(f"`batch_size` must be an int >= 1. Received: {batch_size=}")
        self._batch_size: int = int(batch_size)
