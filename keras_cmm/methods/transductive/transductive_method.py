"""The interface of methods that see all test images at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.recipes import checked_embeddings
from keras_cmm_runtime.errors import InputError


class TransductiveMethod(ABC):
    """A method that classifies many images together, from a support set and the images themselves.

    It has no `fit`: other images would have other answers. A subclass takes its settings in the
    constructor and keeps them under their own names. It implements `_predict`.

    Attributes:
        name: Key of the method in `TRANSDUCTIVE_METHODS`, in records and on the command line.
        hyperparameters_: Set by `predict_logits`: every value used, JSON-able, as those of a
            `FewShotMethod`.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.methods import FewShotTask
        >>> from keras_cmm.methods.transductive import EMDirichlet
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> EMDirichlet().predict_logits(task, np.repeat(eye, 3, axis=0)).argmax(axis=1)
        array([0, 0, 0, 1, 1, 1])
    """

    name: ClassVar[str]
    hyperparameters_: dict[str, object]

    def predict_logits(
        self, task: FewShotTask, embeddings: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Returns the logits of all images, which depend on all of them.

        Args:
            task: Support set, class texts and, where there are some, validation rows.
            embeddings: Unit-length float32 image embeddings, shape `(images, dim)`.

        Returns:
            float32 logits, shape `(images, classes)`.

        Raises:
            InputError: If no class has a support row, or a row has no direction.
        """
        if not len(task.labels):
            raise InputError(f"`{self.name}` needs support rows. Received: none")
        dim = task.text_embeddings.shape[1]
        if not len(embeddings):
            return np.empty((0, task.num_classes), dtype="float32")
        rows = checked_embeddings(embeddings, "embeddings", dim)
        logits, self.hyperparameters_ = self._predict(task, rows)
        return logits

    @abstractmethod
    def _predict(
        self, task: FewShotTask, embeddings: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], dict[str, object]]:
        """Returns the logits of at least one image, and `hyperparameters_`."""
