"""From the tensors of a checkpoint to the variables of a Keras model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keras_cmm.errors import InputError

Weights = Mapping[str, Any]
"""Torch tensors on the CPU, by the names that the checkpoint has for them."""


class WeightAssignment:
    """Gives Keras variables the tensors of a checkpoint, and knows which have been given.

    Args:
        weights: the tensors by name.

    Example:
        >>> import keras, torch
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> assignment = WeightAssignment({"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)})
        >>> assignment.dense(layer, "fc")
        >>> assignment.check_all_given()
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._given: set[str] = set()

    def variable(
        self,
        variable: Any,
        name: str,
        transpose: tuple[int, ...] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Assigns a tensor to a variable.

        Args:
            variable: the Keras variable.
            name: name of the tensor.
            transpose: the tensor's axes in the order that the variable has them.
            shape: shape of the transposed tensor, where the variable splits one of its axes.

        Raises:
            InputError: If there is no such tensor, or it is of another shape.
        """
        if name not in self.weights:
            raise InputError(
                f"the checkpoint has no tensor {name!r}; it is not of the model that its config "
                "describes."
            )
        value = self.weights[name].detach().float().numpy()
        if transpose is not None and value.ndim == len(transpose):
            value = value.transpose(transpose)
        shape = shape or tuple(variable.shape)
        if value.shape != shape:
            raise InputError(
                f"the checkpoint's tensor {name!r} is of the shape {value.shape} where the model "
                f"that its config describes has {shape}; weights and config do not belong together."
            )
        variable.assign(value.reshape(variable.shape))
        self._given.add(name)

    def dense(self, layer: Any, name: str) -> None:
        """Assigns kernel and bias of a `keras.layers.Dense`."""
        self.variable(layer.kernel, f"{name}.weight", (1, 0))
        self.variable(layer.bias, f"{name}.bias")

    def attention(self, layer: Any, name: str) -> None:
        """Assigns a `keras.layers.MultiHeadAttention`, which keeps its heads on an axis."""
        for part, projection in (
            ("q_proj", layer.query_dense),
            ("k_proj", layer.key_dense),
            ("v_proj", layer.value_dense),
        ):
            width, heads, head_dim = projection.kernel.shape
            shape = (width, heads * head_dim)
            self.variable(projection.kernel, f"{name}.{part}.weight", (1, 0), shape)
            self.variable(projection.bias, f"{name}.{part}.bias", shape=shape[1:])
        heads, head_dim, width = layer.output_dense.kernel.shape
        shape = (heads * head_dim, width)
        self.variable(layer.output_dense.kernel, f"{name}.out_proj.weight", (1, 0), shape)
        self.variable(layer.output_dense.bias, f"{name}.out_proj.bias")

    def layer_norm(self, layer: Any, name: str) -> None:
        """Assigns scale and offset of a `keras.layers.LayerNormalization`."""
        self.variable(layer.gamma, f"{name}.weight")
        self.variable(layer.beta, f"{name}.bias")

    def check_all_given(self, unused: Iterable[str] = ()) -> None:
        """Checks that every tensor has its place.

        Args:
            unused: names of tensors that need none.

        Raises:
            InputError: If one has not: the checkpoint is of some other model.
        """
        rest = sorted(set(self.weights).difference(self._given, unused))
        if rest:
            raise InputError(
                f"the checkpoint has {len(rest)} tensors that CLIP has not, such as {rest[0]!r}; "
                "only plain CLIP models can be loaded."
            )
