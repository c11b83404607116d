"""The triplet loss between a mapped image and the class prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import keras
from keras import ops

from keras_cmm.losses.inputs import checked_inputs, class_ids, is_finite_number

_DISTANCES = ("cosine", "euclidean", "squared_euclidean")
_NEGATIVES = ("hardest", "semi_hard", "all")


@keras.saving.register_keras_serializable(package="keras_cmm")
class CrossModalTripletLoss(keras.losses.Loss):
    """Pulls each mapped image to its class's prototype and away from wrong ones.

    The loss is `relu(margin + d(z, T_y) - d(z, T_n))`, with `z` the mapped image (anchor), `T_y`
    the prototype of its class (positive) and `T_n` the prototype of a wrong class (negative). It
    takes the cosine similarities of the images to all prototypes, which `ClassPrototypes` returns:
    on unit vectors `||z - t||^2 = 2 - 2 cos(z, t)`, so one matrix serves every distance.

    The paper states neither margin nor distance. The defaults, 0.1 and cosine, are this project's.

    Args:
        margin: float >= 0, in units of the distance. The negative must be farther away than the
            positive by this much.
        distance: `"cosine"` (`1 - cos`), `"squared_euclidean"` (`2 - 2 cos`) or `"euclidean"`
            (its square root).
        negatives: which wrong classes count. `"hardest"`: the closest one, as in the paper.
            `"semi_hard"`: the closest one that is farther than the positive or, without one, the
            farthest one. `"all"`: the mean over all wrong classes.
        duplicate_groups: disjoint sequences of class ids, or `None`. Classes in one group have
            the same prototype, such as ImageNet's two classes named `missile`, and are never each
            other's negatives. Without the group, an image that is closest to the text of its own
            class has the same text as its hardest negative. Its loss is then the constant `margin`:
            it teaches the mapping nothing, and it pushes trained prototypes of equal meaning apart.
            See `find_duplicate_groups`.
        name, reduction: see `keras.losses.Loss`.
        dtype: dtype of the computation. `None` means float32: half precision rounds large ids.

    Call arguments:
        y_true: class ids `(batch,)` or `(batch, 1)`, or one-hot labels `(batch, classes)`. Of soft
            labels, the largest entry counts.
        y_pred: cosine similarities `(batch, classes)`.

    Raises:
        ValueError: if an argument is out of range, or `y_pred` does not have rank 2.

    Example:
        >>> from keras_cmm.losses import CrossModalTripletLoss
        >>> loss = CrossModalTripletLoss(margin=0.2)
        >>> print(round(float(loss([0], [[0.5, 0.4, -0.3]])), 3))
        0.1

    References:
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
        - [Schroff et al., FaceNet, arXiv:1503.03832](https://arxiv.org/abs/1503.03832), for
          semi-hard negatives.
    """

    def __init__(
        self,
        margin: float = 0.1,
        distance: str = "cosine",
        negatives: str = "hardest",
        duplicate_groups: Sequence[Sequence[int]] | None = None,
        name: str = "cross_modal_triplet_loss",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype or "float32")
        if not is_finite_number(margin) or margin < 0:
            raise ValueError(f"`margin` must be a float >= 0. Received: {margin=}")
        if distance not in _DISTANCES:
            raise ValueError(f"`distance` must be one of {_DISTANCES}. Received: {distance=}")
        if negatives not in _NEGATIVES:
            raise ValueError(f"`negatives` must be one of {_NEGATIVES}. Received: {negatives=}")
        self.margin = float(margin)
        self.distance = distance
        self.negatives = negatives
        self.duplicate_groups = (
            None
            if duplicate_groups is None
            else [[int(class_id) for class_id in group] for group in duplicate_groups]
        )
        given: list[Any] = [class_id for group in duplicate_groups or [] for class_id in group]
        if not all(isinstance(each, Integral) and not isinstance(each, bool) for each in given):
            raise ValueError(
                f"`duplicate_groups` must hold class ids. Received: {duplicate_groups=}"
            )
        grouped = [class_id for group in self.duplicate_groups or [] for class_id in group]
        if len(grouped) != len(set(grouped)):
            raise ValueError(
                "`duplicate_groups` must be disjoint and hold each class once: merge groups that "
                "overlap. "
                f"Received: {duplicate_groups=}"
            )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns one loss value per sample, `(batch,)`."""
        y_true, similarities = checked_inputs(
            y_true, y_pred, "cosine similarities of shape (batch, classes)"
        )
        num_classes = similarities.shape[-1]
        ids = class_ids(y_true, num_classes)
        positive = ops.take_along_axis(similarities, ids[:, None], axis=-1)
        wrong = self._wrong_classes(ids, num_classes)
        if self.negatives == "all":
            terms = ops.where(wrong, self._hinge(positive, similarities), 0.0)
            count = ops.sum(ops.cast(wrong, "float32"), axis=-1)
            return ops.sum(terms, axis=-1) / ops.maximum(count, 1.0)
        chosen = self._negative_class(similarities, positive, wrong)[:, None]
        hinge = self._hinge(positive, ops.take_along_axis(similarities, chosen, axis=-1))
        # Without a negative, where all other classes are duplicates, the loss is 0.
        hinge = ops.where(ops.take_along_axis(wrong, chosen, axis=-1), hinge, 0.0)
        return ops.squeeze(hinge, axis=-1)

    def _hinge(self, positive: Any, negative: Any) -> Any:
        if self.distance == "cosine":
            return ops.relu(self.margin + negative - positive)
        if self.distance == "squared_euclidean":
            return ops.relu(self.margin + 2.0 * (negative - positive))
        return ops.relu(self.margin + _euclidean(positive) - _euclidean(negative))

    def _wrong_classes(self, ids: Any, num_classes: int) -> Any:
        """Returns a bool mask `(batch, classes)`: which classes may be negatives."""
        duplicates = self.duplicate_groups or []
        grouped = [class_id for group in duplicates for class_id in group]
        groups = ops.arange(num_classes, dtype="int32")
        if not grouped:
            return ops.not_equal(ids[:, None], groups[None])
        strange = [class_id for class_id in grouped if not 0 <= class_id < num_classes]
        if strange:
            raise ValueError(
                f"`duplicate_groups` must hold class ids from 0 to {num_classes - 1}. "
                f"Received: {strange[0]}"
            )
        firsts = [group[0] for group in duplicates for _ in group]
        # Only grouped classes: Keras would take long over a list of all classes, in every step.
        groups = ops.scatter_update(
            groups,
            ops.convert_to_tensor([[class_id] for class_id in grouped], dtype="int32"),
            ops.convert_to_tensor(firsts, dtype="int32"),
        )
        return ops.not_equal(ops.take(groups, ids)[:, None], groups[None])

    def _negative_class(self, similarities: Any, positive: Any, wrong: Any) -> Any:
        """Returns the class id of each sample's negative, `(batch,)`."""
        # Every distance falls as the similarity rises: the closest class is the most similar one.
        infinity = float("inf")
        if self.negatives == "hardest":
            return ops.argmax(ops.where(wrong, similarities, -infinity), axis=-1)
        farther = ops.logical_and(wrong, similarities < positive)
        closest_farther = ops.argmax(ops.where(farther, similarities, -infinity), axis=-1)
        farthest = ops.argmin(ops.where(wrong, similarities, infinity), axis=-1)
        return ops.where(ops.any(farther, axis=-1), closest_farther, farthest)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return super().get_config() | {
            "margin": self.margin,
            "distance": self.distance,
            "negatives": self.negatives,
            "duplicate_groups": self.duplicate_groups,
            "dtype": self.dtype,
        }


def _euclidean(similarities: Any) -> Any:
    # The slope of the square root is infinite at 0, and rounding can make 2 - 2 cos negative.
    return ops.sqrt(ops.maximum(2.0 - 2.0 * similarities, 1e-12))
