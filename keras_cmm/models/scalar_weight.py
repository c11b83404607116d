"""A number of a model that is a weight of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


class ScalarWeight:
    """A number that may be set at any time, kept as a weight that is not trained.

    A weight is saved with the model, and a traced training step sees its present value.

    Args:
        zero: bool. Whether 0 is allowed.
    """

    def __init__(self, zero: bool = False) -> None:
        self._zero = zero

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        # The digits of float32: 0.1 stays 0.1.
        return float(str(np.float32(ops.convert_to_numpy(self.weight(model)))))

    def __set__(self, model: Any, value: Any) -> None:
        is_number = isinstance(value, int | float | np.number)
        if not is_number or not (value > 0 or (self._zero and value == 0)):
            least = "a float >= 0" if self._zero else "a float > 0"
            raise ValueError(f"`{self._name}` must be {least}. Received: {self._name}={value!r}")
        if not hasattr(model, f"_{self._name}"):
            weight = model.add_weight(
                shape=(), name=self._name, trainable=False, dtype="float32", autocast=False
            )
            setattr(model, f"_{self._name}", weight)
        self.weight(model).assign(value)

    def weight(self, model: Any) -> Any:
        """Returns the weight of a model that holds the number."""
        return getattr(model, f"_{self._name}")
