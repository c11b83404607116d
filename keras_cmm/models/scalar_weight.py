"""A number of a model that is a weight of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_cmm_runtime.utils.check_number import check_number


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
        check_number(self._name, value, ">= 0" if self._zero else "> 0")
        if not hasattr(model, f"_{self._name}"):
            weight = model.add_weight(
                shape=(), name=self._name, trainable=False, dtype="float32", autocast=False
            )
            setattr(model, f"_{self._name}", weight)
        self.weight(model).assign(value)

    def weight(self, model: Any) -> Any:
        """Returns the weight of a model that holds the number."""
        return getattr(model, f"_{self._name}")
