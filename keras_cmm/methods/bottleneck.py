"""The bottleneck of CLIP-Adapter: two dense layers without biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def start_kernels(dim: int, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the kernels before training, shapes `(dim, dim // 4)` and `(dim // 4, dim)`.

    They are drawn as PyTorch draws those of a linear layer, like the authors'. NumPy draws the same
    numbers on every backend.

    Example:
        >>> [kernel.shape for kernel in start_kernels(8, seed=1)]
        [(8, 2), (2, 8)]
    """
    generator = np.random.default_rng(seed)
    width = max(1, dim // 4)
    first, second = (
        generator.uniform(-1 / np.sqrt(shape[0]), 1 / np.sqrt(shape[0]), size=shape)
        for shape in ((dim, width), (width, dim))
    )
    return first, second
