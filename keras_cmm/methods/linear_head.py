"""The base of methods that end in one weight vector for each class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_method import FewShotMethod


class LinearHead(FewShotMethod):
    """A method whose logits are `x @ weights_.T + bias_`.

    `_fit` sets `weights_`, float32 `(classes, dim)`, and `bias_`, float32 `(classes,)` or 0.
    """

    weights_: npt.NDArray[np.float32]
    bias_: npt.NDArray[np.float32] | float = 0.0

    def _logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return embeddings @ self.weights_.T + self.bias_
