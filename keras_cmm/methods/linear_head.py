"""What methods share that end in one weight vector a class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.checks import check_fitted
from keras_cmm.methods.few_shot_method import FewShotMethod


class LinearHead(FewShotMethod):
    """A method whose logits are `x @ weights_.T + bias_`.

    `fit` sets `weights_`, float32 `(classes, dim)`, and `bias_`, float32 `(classes,)` or 0.
    """

    weights_: npt.NDArray[np.float32]
    bias_: npt.NDArray[np.float32] | float = 0.0

    def predict_logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score every class.

        Args:
            embeddings: Unit-length float32 image embeddings, shape `(batch, dim)`.

        Returns:
            float32 logits, shape `(batch, classes)`.

        Raises:
            InputError: If the method is not fitted yet.
        """
        check_fitted(self)
        return embeddings @ self.weights_.T + self.bias_
