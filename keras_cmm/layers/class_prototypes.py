"""One prototype for each class, compared with embeddings by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import keras
from keras import initializers, ops

from keras_cmm.layers.input_width import input_width
from keras_cmm.layers.unit_length import unit_length


@keras.saving.register_keras_serializable(package="keras_cmm")
class ClassPrototypes(keras.layers.Layer):
    """Holds one prototype per class and returns cosine similarities to them.

    The prototypes are usually the text embeddings of the class prompts:
    `ClassPrototypes.from_embeddings(text_embeddings)`. They are saved with the model, so a restored
    layer needs no text encoder. Set `trainable=False` to freeze them.

    Norms and similarities are computed in float32 under every dtype policy, and the result is cast
    to the compute dtype. Choose `dtype="float32"` if a large logit scale follows.

    Args:
        num_classes: int, at least 1. The number of prototypes.
        embeddings_initializer: initializer of the prototypes.
        normalize: bool. Scale the prototypes to unit length at each use, so that only their
            directions matter. `False` saves the work for frozen prototypes of unit length.
        groups: lists of 0 and 1, or `None` for one group. Each group is compared in a product of
            its own, and a 0 is a place that no class has. A product of another width rounds
            differently. So classes come and go by `set_classes`, and those that stay keep their
            similarities to the bit.
        **kwargs: the arguments of `keras.layers.Layer`, among them `trainable`.

    Input shape:
        `(..., dim)`, usually `(batch, dim)`, of any length.

    Output shape:
        `(..., num_classes)`, usually `(batch, num_classes)`, values in [-1, 1].

    Raises:
        ValueError: if `num_classes` is not an int >= 1, or `groups` have another number of ones.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_cmm.layers import ClassPrototypes
        >>> prototypes = ClassPrototypes.from_embeddings([[1.0, 0.0], [0.0, 2.0]], trainable=False)
        >>> similarities = prototypes(np.array([[3.0, 4.0]], dtype="float32"))
        >>> print(np.round(keras.ops.convert_to_numpy(similarities), 3))
        [[0.6 0.8]]

    References:
        - [Radford et al., CLIP, arXiv:2103.00020](https://arxiv.org/abs/2103.00020), section 3.1.
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
    """

    def __init__(
        self,
        num_classes: int,
        embeddings_initializer: Any = "glorot_uniform",
        normalize: bool = True,
        groups: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        # No autocast, which would round inputs and prototypes under a half precision policy.
        super().__init__(autocast=False, **kwargs)
        # `Integral` includes NumPy's integers, which a count of labels often is.
        received: Any = num_classes
        if not isinstance(received, Integral) or isinstance(received, bool) or received < 1:
            raise ValueError(f"`num_classes` must be an int >= 1. Received: {num_classes=}")
        self.num_classes = int(received)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.normalize = normalize
        self._set_groups(groups)
        self.supports_masking = True

    @classmethod
    def from_embeddings(cls, embeddings: Any, **kwargs: Any) -> ClassPrototypes:
        """Builds the layer from class embeddings.

        Args:
            embeddings: array-like of shape `(classes, dim)`. Row `c` is the prototype of class `c`.
            **kwargs: the other arguments of the constructor, such as `trainable`.

        Returns:
            A built layer that holds `embeddings`.

        Raises:
            ValueError: if `embeddings` is not of rank 2.

        Example:
            >>> from keras_cmm.layers import ClassPrototypes
            >>> ClassPrototypes.from_embeddings([[1.0, 0.0], [0.0, 1.0]]).num_classes
            2
        """
        embeddings = ops.convert_to_tensor(embeddings, dtype="float32")
        if len(embeddings.shape) != 2:
            raise ValueError(
                "`embeddings` must have shape (classes, dim). "
                f"Received: embeddings of shape {tuple(embeddings.shape)}"
            )
        num_classes, dim = embeddings.shape
        layer = cls(num_classes, **kwargs)
        layer.build((None, dim))
        layer.embeddings.assign(embeddings)
        return layer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the prototypes for inputs of `input_shape`."""
        dim = input_width(self, input_shape)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_classes, dim),
            initializer=self.embeddings_initializer,
            autocast=False,
        )
        self.input_spec = keras.layers.InputSpec(min_ndim=1, axes={-1: dim})

    def set_classes(self, embeddings: Any, groups: Sequence[Sequence[int]] | None = None) -> None:
        """Replaces the prototypes by those of another number of classes.

        Models that hold the layer must be compiled anew.

        Args:
            embeddings: array-like of shape `(classes, dim)`.
            groups: as in the constructor.

        Raises:
            ValueError: if the layer is not built, or shape or groups do not fit.

        Example:
            >>> from keras_cmm.layers import ClassPrototypes
            >>> prototypes = ClassPrototypes.from_embeddings([[1.0, 0.0], [0.0, 1.0]])
            >>> prototypes.set_classes([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]], [[1, 1], [1]])
            >>> prototypes.num_classes
            3
        """
        if not self.built:
            raise ValueError("the layer must be built before its classes are set.")
        rows = ops.convert_to_tensor(embeddings, dtype="float32")
        dim = self.embeddings.shape[1]
        if len(rows.shape) != 2 or rows.shape[1] != dim or not rows.shape[0]:
            raise ValueError(
                f"`embeddings` must have shape (classes, {dim}). "
                f"Received: embeddings of shape {tuple(rows.shape)}"
            )
        self.num_classes = int(rows.shape[0])
        self._set_groups(groups)
        # As Keras replaces a weight where it quantizes a layer.
        self._untrack_variable(self.embeddings)
        self._tracker.unlock()
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_classes, dim),
            initializer=self.embeddings_initializer,
            autocast=False,
        )
        self._tracker.lock()
        self.embeddings.assign(rows)
        self.embeddings.trainable = bool(self.trainable)

    def _set_groups(self, groups: Sequence[Sequence[int]] | None) -> None:
        self.groups = None
        if groups is None:
            return
        plain = [[int(place) for place in group] for group in groups]
        if sum(map(sum, plain)) != self.num_classes or not all(map(any, plain)):
            raise ValueError(
                "`groups` must be lists of 0 and 1, none without a 1, with one 1 for each of the "
                f"{self.num_classes} classes. Received: groups={groups}"
            )
        # As a tuple: Keras would track the lists.
        self.groups = tuple(map(tuple, plain))

    def call(self, inputs: Any) -> Any:
        """Returns the cosine of `inputs`, `(..., dim)`, to each prototype."""
        prototypes = ops.cast(self.embeddings, "float32")
        unit_inputs = unit_length(inputs)
        if self.groups is None:
            return ops.cast(self._cosines(unit_inputs, prototypes), self.compute_dtype)
        cosines, first = [], 0
        for group in self.groups:
            count = sum(group)
            rows = prototypes[first : first + count]
            first += count
            cosines.append(self._cosines_of_group(unit_inputs, rows, group))
        return ops.cast(ops.concatenate(cosines, axis=-1), self.compute_dtype)

    def _cosines(self, unit_inputs: Any, prototypes: Any) -> Any:
        if self.normalize:
            prototypes = unit_length(prototypes)
        return ops.matmul(unit_inputs, ops.transpose(prototypes))

    def _cosines_of_group(self, unit_inputs: Any, rows: Any, group: tuple[int, ...]) -> Any:
        """Returns the cosines of a group, computed with its empty places as rows of zeros."""
        if all(group):
            return self._cosines(unit_inputs, rows)
        taken = [place for place, is_class in enumerate(group) if is_class]
        row_of_place = [len(taken)] * len(group)
        for row, place in enumerate(taken):
            row_of_place[place] = row
        padded = ops.take(ops.pad(rows, ((0, 1), (0, 0))), row_of_place, axis=0)
        return ops.take(self._cosines(unit_inputs, padded), taken, axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `(..., num_classes)` for an input of shape `(..., dim)`."""
        return (*input_shape[:-1], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments; the prototypes are saved as weights."""
        return super().get_config() | {
            "num_classes": self.num_classes,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "normalize": self.normalize,
            "groups": None if self.groups is None else [list(group) for group in self.groups],
        }
