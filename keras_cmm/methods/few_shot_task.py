"""What a few-shot method is allowed to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_cmm.utils.lazy_rows import LazyRows
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.check_number import check_int, check_number

# Unit vectors from a float16 file are off by about 1e-3. Larger errors mean: never normalised.
_UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class FewShotTask:
    """One few-shot problem: support set, class texts and, where there are some, validation rows.

    It holds no test data, so no method can choose anything on test data.

    Args:
        embeddings: Support set, unit-length float32 image embeddings, shape `(rows, dim)`. They may
            be `LazyRows`, so that a method may read them in parts.
        labels: Class of each support row, integers in `[0, classes)`, shape `(rows,)`. A class may
            have no support row.
        text_embeddings: Unit-length float32 class prototypes T0, shape `(classes, dim)`.
        logit_scale: CLIP's logit scale, 100 for the OpenAI models.
        shots: Requested shots per class; 0 for zero-shot.
        seed: Seed of the support set and of the training.
        val_embeddings: Unit-length float32 validation embeddings, shape `(val_rows, dim)`, or
            `None`.
        val_labels: Class of each validation row, shape `(val_rows,)`, or `None`.
        val_source: Where the validation rows come from, for the record.
        also_embeddings: Unit-length float32 embeddings of the support images by a second encoder,
            shape `(rows, also_dim)`, or `None`. Only methods with `uses_also` use them.
        val_also_embeddings: Those of the validation images, shape `(val_rows, also_dim)`, or
            `None`.

    Raises:
        InputError: If shapes disagree, a label or number is out of range or a row is not of unit
            length.

    Example:
        >>> import numpy as np
        >>> task = FewShotTask(
        ...     embeddings=np.eye(3, dtype="float32"),
        ...     labels=np.array([0, 1, 1]),
        ...     text_embeddings=np.eye(3, dtype="float32")[:2],
        ...     logit_scale=100.0,
        ...     shots=2,
        ...     seed=1,
        ... )
        >>> task.num_classes, task.has_validation
        (2, False)

    References:
        The few-shot protocol of CoOp: Zhou et al., IJCV 2022, arXiv:2109.01134.
    """

    embeddings: Any
    labels: npt.NDArray[np.integer]
    text_embeddings: npt.NDArray[np.float32]
    logit_scale: float
    shots: int
    seed: int
    val_embeddings: npt.NDArray[np.float32] | None = None
    val_labels: npt.NDArray[np.integer] | None = None
    val_source: str = "none"
    also_embeddings: npt.NDArray[np.float32] | None = None
    val_also_embeddings: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        check_number("logit_scale", self.logit_scale, "> 0")
        check_int("shots", self.shots, 0)
        check_int("seed", self.seed, 0)
        if self.text_embeddings.ndim != 2:
            raise InputError(
                "`text_embeddings` must have shape (classes, dim). "
                f"Received: {self.text_embeddings.shape}"
            )
        _check_unit_rows("text_embeddings", self.text_embeddings)
        self._check_rows("embeddings", self.embeddings, self.labels)
        if (self.val_embeddings is None) != (self.val_labels is None):
            raise InputError("`val_embeddings` and `val_labels` must be given together.")
        if self.val_embeddings is not None and self.val_labels is not None:
            self._check_rows("val_embeddings", self.val_embeddings, self.val_labels)
        self._check_also()

    @property
    def num_classes(self) -> int:
        """Number of classes, with or without support rows."""
        return int(self.text_embeddings.shape[0])

    @property
    def also_dim(self) -> int:
        """Width of the second encoder's embeddings, 0 without."""
        return 0 if self.also_embeddings is None else int(self.also_embeddings.shape[1])

    @property
    def rows_per_class(self) -> npt.NDArray[np.intp]:
        """Number of support rows of each class, shape `(classes,)`."""
        return np.bincount(self.labels, minlength=self.num_classes)

    @property
    def text_weights(self) -> npt.NDArray[np.float32]:
        """The classifier of zero-shot CLIP, `logit_scale * text_embeddings`."""
        return np.float32(self.logit_scale) * self.text_embeddings

    @property
    def has_validation(self) -> bool:
        """Whether there is at least one validation row."""
        return self.val_labels is not None and len(self.val_labels) > 0

    def _check_also(self) -> None:
        is_given = self.also_embeddings is not None and self.val_embeddings is not None
        if (self.val_also_embeddings is not None) != is_given:
            raise InputError(
                "`val_also_embeddings` must be given where there are `also_embeddings` and "
                "`val_embeddings`, and there alone."
            )
        for name, also, embeddings in (
            ("also_embeddings", self.also_embeddings, self.embeddings),
            ("val_also_embeddings", self.val_also_embeddings, self.val_embeddings),
        ):
            if also is None or embeddings is None:
                continue
            if also.ndim != 2 or also.shape != (len(embeddings), self.also_dim):
                raise InputError(
                    f"`{name}` must have one row for each row of `embeddings`, all of one width. "
                    f"Received: {also.shape} for {len(embeddings)} rows"
                )
            _check_unit_rows(name, also)

    def _check_rows(
        self,
        name: str,
        embeddings: npt.NDArray[np.float32] | LazyRows,
        labels: npt.NDArray[np.integer],
    ) -> None:
        expected = (len(labels), self.text_embeddings.shape[1])
        if labels.ndim != 1 or embeddings.shape != expected:
            raise InputError(
                f"`{name}` must have one row for each label and the width of `text_embeddings`, "
                f"shape {expected}. Received: {embeddings.shape}"
            )
        if labels.dtype.kind not in "iu":
            raise InputError(
                f"The labels of `{name}` must be class ids, integers. Received: {labels.dtype}"
            )
        if len(labels) and not (labels.min() >= 0 and labels.max() < self.num_classes):
            raise InputError(
                f"The labels of `{name}` must lie in [0, {self.num_classes}). "
                f"Received: {labels.min()} to {labels.max()}"
            )
        _check_unit_rows(name, embeddings)


def _check_unit_rows(name: str, embeddings: npt.NDArray[np.float32] | LazyRows) -> None:
    if embeddings.dtype != np.float32:
        raise InputError(f"`{name}` must be float32. Received: {embeddings.dtype}")
    blocks = [np.linalg.norm(rows, axis=1) for _, rows in LazyRows.of(embeddings).blocks()]
    lengths = np.concatenate(blocks or [np.empty(0)])
    # `not <=` also refuses NaN.
    if lengths.size and not np.abs(lengths - 1.0).max() <= _UNIT_TOLERANCE:
        raise InputError(
            f"The rows of `{name}` must have unit length: divide each by its norm. "
            f"Received: lengths from {lengths.min():.4g} to {lengths.max():.4g}"
        )
