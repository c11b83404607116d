"""Adam on NumPy arrays, for methods whose gradients are written out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_FIRST_DECAY, _SECOND_DECAY = 0.9, 0.999


class CosineAdam:
    """Adam with decoupled weight decay and a cosine schedule to 0, as PyTorch has them.

    Args:
        parameters: float32 arrays, which `step` changes in place.
        learning_rate: Initial learning rate.
        steps: Number of steps after which the learning rate is 0.
        epsilon: Added to the root of the second moment.
        weight_decay: Every step multiplies the parameters by `1 - rate * weight_decay`.

    Example:
        >>> import numpy as np
        >>> parameter = np.ones(1, dtype="float32")
        >>> adam = CosineAdam([parameter], learning_rate=0.1, steps=10)
        >>> adam.step([np.ones(1, dtype="float32")])
        >>> parameter.round(3)
        array([0.9], dtype=float32)

    References:
        Kingma and Ba, ICLR 2015, arXiv:1412.6980; Loshchilov and Hutter, ICLR 2019,
        arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Sequence[npt.NDArray[np.float32]],
        learning_rate: float,
        steps: int,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self._parameters = parameters
        self._moments = [(np.zeros_like(each), np.zeros_like(each)) for each in parameters]
        self._learning_rate = learning_rate
        self._steps = steps
        self._epsilon = np.float32(epsilon)
        self._weight_decay = weight_decay
        self._done = 0

    def step(self, gradients: Sequence[npt.NDArray[np.float32]]) -> None:
        """Moves every parameter along its gradient."""
        rate = self._learning_rate * 0.5 * (1 + math.cos(math.pi * self._done / self._steps))
        self._done += 1
        first_part = 1 - _FIRST_DECAY**self._done
        root_of_second_part = np.float32(math.sqrt(1 - _SECOND_DECAY**self._done))
        moments = zip(self._parameters, self._moments, gradients, strict=True)
        for parameter, (first, second), gradient in moments:
            first *= np.float32(_FIRST_DECAY)
            first += np.float32(1 - _FIRST_DECAY) * gradient
            second *= np.float32(_SECOND_DECAY)
            second += np.float32(1 - _SECOND_DECAY) * np.square(gradient)
            if self._weight_decay:
                parameter *= np.float32(1 - rate * self._weight_decay)
            scale = np.sqrt(second) / root_of_second_part + self._epsilon
            parameter -= np.float32(rate / first_part) * first / scale
