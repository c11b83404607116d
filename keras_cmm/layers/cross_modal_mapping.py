"""The linear map from image to text space."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import keras
from keras import initializers, ops, regularizers

from keras_cmm.layers.input_width import input_width
from keras_cmm.layers.unit_length import unit_length


@keras.saving.register_keras_serializable(package="keras_cmm")
class CrossModalMapping(keras.layers.Layer):
    """Maps image embeddings into the text embedding space with one linear map.

    With the defaults, `z = normalize(x + x W)`. `W` starts at zero, so a new layer returns its
    (normalised) input and training can only move away from CLIP where the support set asks for it.

    With `also_dim`, each input is an image embedding `x` of CLIP followed by one `v` of a second
    encoder, and `z = normalize(x + [x, also_weight v] W)`. Both are scaled to unit length first.
    `W` starts at zero here too, so a new layer returns CLIP's part. `also_weight` is a weight that
    is not trained; it starts at 1, and at 0 the second encoder has no part in anything.

    Norms are computed in float32 under every dtype policy. The matrix product follows the policy.

    Args:
        units: int or `None`. Width of the text space. `None` keeps the width of the input, less
            `also_dim`.
        residual: bool. Add the input, or CLIP's part of it, to the mapped input; needs `units`
            equal to its width.
        use_bias: bool. Add a trained bias, which starts at zero.
        normalize: bool. Scale every output to unit length.
        rank: int or `None`. Factor the kernel into `(dim, rank)` and `(rank, units)`, to train
            `rank * (dim + units)` values instead of `dim * units`. `None` trains the full kernel.
        kernel_initializer: initializer of the kernel (with `rank`: of its second factor). With
            `None` a new layer returns its input: `"zeros"` if `residual`, else `"identity"`. A
            low-rank layer without `residual` cannot return its input; `None` then means
            `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernel (with `rank`: of both factors), or `None`.
        also_dim: int >= 0. Width of the second encoder's part, at the end of each input.
        **kwargs: the arguments of `keras.layers.Layer`.

    Input shape:
        `(..., dim)`, usually `(batch, dim)`.

    Output shape:
        `(..., units)`, usually `(batch, units)`.

    Raises:
        ValueError: if an argument is out of range, or `residual` is set and the widths differ.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_cmm.layers import CrossModalMapping
        >>> mapping = CrossModalMapping()
        >>> z = mapping(np.array([[3.0, 4.0]], dtype="float32"))
        >>> print(np.round(keras.ops.convert_to_numpy(z), 3))
        [[0.6 0.8]]

    References:
        - [Yang et al., Cross-Modal Mapping, arXiv:2412.20110](https://arxiv.org/abs/2412.20110).
          The zero start, the normalisation and the low-rank form are this project's.
    """

    def __init__(
        self,
        units: int | None = None,
        residual: bool = True,
        use_bias: bool = False,
        normalize: bool = True,
        rank: int | None = None,
        kernel_initializer: Any = None,
        kernel_regularizer: Any = None,
        also_dim: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("units", units), ("rank", rank)):
            if value is not None and not _is_int(value, 1):
                raise ValueError(f"`{name}` must be an int >= 1 or None. Received: {name}={value}")
        if not _is_int(also_dim, 0):
            raise ValueError(f"`also_dim` must be an int >= 0. Received: {also_dim=}")
        self.units = None if units is None else int(units)
        self.also_dim = int(also_dim)
        self.residual = residual
        self.use_bias = use_bias
        self.normalize = normalize
        self.rank = None if rank is None else int(rank)
        self.kernel_initializer = (
            None if kernel_initializer is None else initializers.get(kernel_initializer)
        )
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel and the bias for inputs of `input_shape`."""
        dim = input_width(self, input_shape)
        clip_dim = dim - self.also_dim
        if clip_dim < 1:
            raise ValueError(
                "`also_dim` must be less than the width of the input, which holds CLIP's part "
                f"first. Received: also_dim={self.also_dim}, input_shape={input_shape}"
            )
        units = self.units or clip_dim
        if self.residual and units != clip_dim:
            raise ValueError(
                "`units` must equal the width of the input with `residual=True`: set "
                f"`residual=False` to change the width. Received: units={units}, "
                f"input_shape={input_shape}"
            )
        initializer = self.kernel_initializer or self._identity_start()
        if self.rank is None:
            self.kernel = self.add_weight(
                name="kernel",
                shape=(dim, units),
                initializer=initializer,
                regularizer=self.kernel_regularizer,
            )
        else:
            # Not zero, because with both factors at zero neither would receive a gradient.
            self.down_kernel = self.add_weight(
                name="down_kernel",
                shape=(dim, self.rank),
                initializer="glorot_uniform",
                regularizer=self.kernel_regularizer,
            )
            self.up_kernel = self.add_weight(
                name="up_kernel",
                shape=(self.rank, units),
                initializer=initializer,
                regularizer=self.kernel_regularizer,
            )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        if self.also_dim:
            self.also_weight = self.add_weight(
                name="also_weight", shape=(), initializer="ones", trainable=False
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=1, axes={-1: dim})

    def _identity_start(self) -> str:
        if self.residual:
            return "zeros"
        return "identity" if self.rank is None else "glorot_uniform"

    def call(self, inputs: Any) -> Any:
        """Maps `inputs`, `(..., dim)`, to `(..., units)`."""
        joined = inputs
        if self.also_dim:
            # Each at unit length: otherwise the longer embeddings would count for more.
            inputs = ops.cast(unit_length(joined[..., : -self.also_dim]), self.compute_dtype)
            also = ops.cast(unit_length(joined[..., -self.also_dim :]), self.compute_dtype)
            joined = ops.concatenate([inputs, self.also_weight * also], axis=-1)
        if self.rank is None:
            outputs = ops.matmul(joined, self.kernel)
        else:
            outputs = ops.matmul(ops.matmul(joined, self.down_kernel), self.up_kernel)
        if self.use_bias:
            outputs = outputs + self.bias
        if self.residual:
            outputs = ops.add(inputs, outputs)  # Inputs may be integers.
        if self.normalize:
            outputs = ops.cast(unit_length(outputs), self.compute_dtype)
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `(..., units)` for an input of shape `(..., dim)`."""
        if self.units:
            return (*input_shape[:-1], self.units)
        width = input_shape[-1]
        return (*input_shape[:-1], None if width is None else width - self.also_dim)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return super().get_config() | {
            "units": self.units,
            "residual": self.residual,
            "use_bias": self.use_bias,
            "normalize": self.normalize,
            "rank": self.rank,
            "also_dim": self.also_dim,
            "kernel_initializer": (
                None
                if self.kernel_initializer is None
                else initializers.serialize(self.kernel_initializer)
            ),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
        }


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
