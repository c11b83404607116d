"""From the tensors of a checkpoint to the variables of a Keras model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_cmm_runtime.errors import InputError

Weights = Mapping[str, Any]
"""Torch tensors on the CPU, by their names in the checkpoint."""


class WeightAssignment:
    """Assigns the tensors of a checkpoint to Keras variables, and remembers which it has assigned.

    Args:
        weights: the tensors by name.
        source: the file or folder of the checkpoint, for messages.

    Example:
        >>> import keras, torch
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> tensors = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
        >>> assignment = WeightAssignment(tensors, "model.safetensors")
        >>> assignment.dense(layer, "fc")
        >>> assignment.check_all_given()
    """

    def __init__(self, weights: Weights, source: str | Path) -> None:
        self.weights = weights
        self.source = source
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
            transpose: the tensor's axes, in the order of the variable's axes.
            shape: shape of the transposed tensor, if the variable splits one of its axes in two.

        Raises:
            InputError: If there is no such tensor, or it has another shape.
        """
        value = self._tensor(name).detach().float().numpy()
        if transpose is not None and value.ndim == len(transpose):
            value = value.transpose(transpose)
        shape = shape or tuple(variable.shape)
        self._check(name, value.shape, shape)
        variable.assign(value.reshape(variable.shape))
        self._given.add(name)

    def kernel(self, variable: Any, name: str, shape: tuple[int, ...] | None = None) -> None:
        """Assigns a kernel: torch has the outputs on its first axis, Keras on the last."""
        is_convolution = len(variable.shape) == 4
        self.variable(variable, name, (2, 3, 1, 0) if is_convolution else (1, 0), shape)

    def dense(self, layer: Any, name: str) -> None:
        """Assigns kernel and bias of a `keras.layers.Dense`."""
        self.kernel(layer.kernel, f"{name}.weight")
        self.variable(layer.bias, f"{name}.bias")

    def attention(self, layer: Any, name: str) -> None:
        """Assigns a `keras.layers.MultiHeadAttention`, which has an axis for its heads."""
        for part, projection in (
            ("q_proj", layer.query_dense),
            ("k_proj", layer.key_dense),
            ("v_proj", layer.value_dense),
        ):
            width, heads, head_dim = projection.kernel.shape
            shape = (width, heads * head_dim)
            self.kernel(projection.kernel, f"{name}.{part}.weight", shape)
            self.variable(projection.bias, f"{name}.{part}.bias", shape=shape[1:])
        heads, head_dim, width = layer.output_dense.kernel.shape
        shape = (heads * head_dim, width)
        self.kernel(layer.output_dense.kernel, f"{name}.out_proj.weight", shape)
        self.variable(layer.output_dense.bias, f"{name}.out_proj.bias")

    def layer_norm(self, layer: Any, name: str) -> None:
        """Assigns scale and offset of a `LayerNormalization` or `BatchNormalization`."""
        self.variable(layer.gamma, f"{name}.weight")
        self.variable(layer.beta, f"{name}.bias")

    def transformer(self, encoder: Any, tower: str) -> None:
        """Assigns the blocks of a `CLIPVisionEncoder` or `CLIPTextEncoder`."""
        for number, block in enumerate(encoder.encoder_layers):
            name = f"{tower}.encoder.layers.{number}"
            self.layer_norm(block.layer_norm_1, f"{name}.layer_norm1")
            self.attention(block.attention, f"{name}.self_attn")
            self.layer_norm(block.layer_norm_2, f"{name}.layer_norm2")
            self.dense(block.dense_1, f"{name}.mlp.fc1")
            self.dense(block.dense_2, f"{name}.mlp.fc2")

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Checks the shape of a tensor, before a model of this size is built.

        Raises:
            InputError: If there is no such tensor, or it has another shape.
        """
        self._check(name, tuple(self._tensor(name).shape), shape)

    def _tensor(self, name: str) -> Any:
        if name not in self.weights:
            raise InputError(
                f"{self.source}: has no tensor {name!r}; its weights and its config do not belong "
                "together."
            )
        return self.weights[name]

    def _check(self, name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if shape != expected:
            raise InputError(
                f"{self.source}: its tensor {name!r} has the shape {shape}, and its config asks "
                f"for {expected}; its weights and its config do not belong together."
            )

    def check_all_given(self, unused: Iterable[str] = (), family: str = "CLIP") -> None:
        """Checks that every tensor was assigned.

        Args:
            unused: names of tensors that the model does not need.
            family: the kind of model, for the message.

        Raises:
            InputError: If one was not: the checkpoint belongs to another model.
        """
        rest = sorted(set(self.weights).difference(self._given, unused))
        if rest:
            raise InputError(
                f"{self.source}: has {len(rest)} tensors that {family} does not have, such as "
                f"{rest[0]!r}; only plain {family} models can be loaded."
            )
