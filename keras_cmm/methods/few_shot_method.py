"""The interface that all few-shot methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from keras_cmm.methods.few_shot_task import FewShotTask
from keras_cmm.recipes import checked_embeddings
from keras_cmm_runtime.errors import InputError


class FewShotMethod(ABC):
    """A classifier on frozen embeddings: fit it on a support set, then predict logits.

    A subclass takes its settings in the constructor and keeps them under their own names. It
    implements `_fit` and `_logits`, and keeps what it learns in attributes that end in an
    underscore.

    Attributes:
        name: Key of the method in `keras_cmm.methods.METHODS`, in records and on the command line.
        min_classes: Number of classes that must have support rows.
        reads_in_parts: Whether it reads a support set that is `LazyRows` in parts. Other methods
            get it as an array, in memory.
        uses_also: Whether it uses the embeddings of a second encoder. Other methods ignore them.
        temperature_: Set by `fit` of a method that fits a temperature: logits divided by it give
            calibrated probabilities.
        hyperparameters_: Set by `fit`: every value used, JSON-able. `"selection"` says how the
            values were chosen: `"fixed"` or `"few-shot validation: ..."`.

    Example:
        >>> import numpy as np
        >>> from keras_cmm.methods import FewShotTask, ZeroShot
        >>> eye = np.eye(2, dtype="float32")
        >>> task = FewShotTask(eye, np.array([0, 1]), eye, logit_scale=100.0, shots=1, seed=1)
        >>> ZeroShot().fit(task).predict_logits(eye)
        array([[100.,   0.],
               [  0., 100.]], dtype=float32)
    """

    name: ClassVar[str]
    min_classes: ClassVar[int] = 1
    reads_in_parts: ClassVar[bool] = False
    uses_also: ClassVar[bool] = False
    hyperparameters_: dict[str, object]
    temperature_: float | None = None

    def fit(self, task: FewShotTask) -> Self:
        """Fits the method, and chooses hyper-parameters on the task alone.

        Args:
            task: Support set, class texts and, where there are some, validation rows.

        Returns:
            The method itself, fitted.

        Raises:
            InputError: If fewer than `min_classes` classes have support rows.
        """
        present = np.count_nonzero(task.rows_per_class)
        if present < self.min_classes:
            raise InputError(
                f"The number of classes with support rows must be at least {self.min_classes} for "
                f"`{self.name}`; `zero_shot` needs none. Received: {present}"
            )
        if not self.reads_in_parts and not isinstance(task.embeddings, np.ndarray):
            task = replace(task, embeddings=np.asarray(task.embeddings))
        self.hyperparameters_ = self._fit(task)
        self._num_classes = task.num_classes
        self._dim = task.text_embeddings.shape[1]
        self._also_dim = task.also_dim if self.uses_also else 0
        return self

    def predict_logits(
        self,
        embeddings: npt.NDArray[np.float32],
        also_embeddings: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Returns the logits of every class, whose softmax gives probabilities.

        Args:
            embeddings: Unit-length float32 image embeddings, shape `(batch, dim)`.
            also_embeddings: Those of a second encoder, shape `(batch, also_dim)`. A method that
                uses them needs them where its task had them. Others ignore them.

        Returns:
            float32 logits, shape `(batch, classes)`.

        Raises:
            InputError: If the method is not fitted yet, or a row has no direction.
        """
        if not hasattr(self, "hyperparameters_"):
            raise InputError(
                f"`{self.name}` is not fitted yet: call `fit(task)` before it predicts."
            )
        if not len(embeddings):  # Keras refuses to predict an empty array.
            return np.empty((0, self._num_classes), dtype="float32")
        rows = checked_embeddings(embeddings, "embeddings", self._dim)
        if not self._also_dim:
            return self._logits(rows)
        if also_embeddings is None:
            raise InputError(
                f"`{self.name}` was fitted with a second encoder: give `also_embeddings` of shape "
                f"({len(rows)}, {self._also_dim}) too."
            )
        also = checked_embeddings(also_embeddings, "also_embeddings", self._also_dim)
        if len(also) != len(rows):
            raise InputError(
                "`also_embeddings` must have one row for each row of `embeddings`. "
                f"Received: {len(also)} rows for {len(rows)}"
            )
        return self._logits(np.concatenate([rows, also], axis=1))

    @abstractmethod
    def _fit(self, task: FewShotTask) -> dict[str, object]:
        """Fits on a task with enough support rows and returns `hyperparameters_`."""

    @abstractmethod
    def _logits(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns the logits of at least one image embedding.

        Where the task had embeddings of a second encoder and the method uses them, they stand after
        CLIP's in each row.
        """
