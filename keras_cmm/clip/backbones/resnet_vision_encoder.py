"""The image tower of CLIP's ResNets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import keras_hub
from keras import layers, ops

_EXPANSION = 4
_REDUCTION = 32
"""The last feature map has 1/32 of the image's height and width, and 32 times `width` channels."""


@keras.saving.register_keras_serializable(package="keras_cmm")
class ResNetVisionEncoder(keras_hub.models.Backbone):
    """The image tower of CLIP's ResNets, such as RN50, RN101 and RN50x4.

    It differs from a plain ResNet in three ways:

    - The stem has three convolutions and an average pool.
    - Every stride except the stem's first is an average pool. It comes before the last convolution
      of a block, and in the block's shortcut.
    - The last feature map is pooled by attention, with its mean as the query.

    It takes the place of the `keras_hub.models.CLIPVisionEncoder` in a
    `keras_hub.models.CLIPBackbone`, so everything made for that class works with it. Its output is
    a sequence of one token, `(batch, 1, 32 * width + 1)`. The last feature is always 1. In these
    models the image projection has a bias, and in `CLIPBackbone` it has none, so the last row of
    the `vision_projection` kernel holds the bias.

    `keras_cmm.clip.load` and `keras_cmm.CMMImageClassifier` load presets and saved models that
    contain this class. keras-hub and Keras load them once this module is imported.

    Args:
        stackwise_num_blocks: four ints. Bottleneck blocks of each stage.
        width: int, even. Channels after the stem.
        head_dim: int. Width of a head of the attention pool. It must divide the `32 * width`
            features.
        image_shape: `(height, width, 3)`, pixels. Height and width must be equal, and a multiple
            of 32.
        dtype: dtype or dtype policy, or `None` for Keras's.
        name: str or `None`.
        **kwargs: `trainable`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import keras_hub
        >>> vision_encoder = ResNetVisionEncoder([1, 1, 1, 1], width=2, image_shape=(32, 32, 3))
        >>> text_encoder = keras_hub.models.CLIPTextEncoder(
        ...     vocabulary_size=16, embedding_dim=8, hidden_dim=8, num_layers=1, num_heads=1,
        ...     intermediate_dim=32,
        ... )
        >>> backbone = keras_hub.models.CLIPBackbone(vision_encoder, text_encoder, projection_dim=6)
        >>> tuple(backbone.get_vision_embeddings(keras.ops.zeros((5, 32, 32, 3))).shape)
        (5, 6)

    References:
        - [Radford et al., ICML 2021, arXiv:2103.00020](https://arxiv.org/abs/2103.00020), 2.4.
        - https://github.com/openai/CLIP, clip/model.py, `ModifiedResNet`.
    """

    def __init__(
        self,
        stackwise_num_blocks: Sequence[int],
        width: int,
        head_dim: int = 64,
        image_shape: Sequence[int] = (224, 224, 3),
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        _check_arguments(stackwise_num_blocks, width, head_dim, image_shape)

        # === Functional Model ===
        images = layers.Input(shape=tuple(image_shape), name="images")
        x = layers.ZeroPadding2D(1, data_format="channels_last", dtype=dtype, name="stem_pad")(
            images
        )
        x = _convolution(x, width // 2, 3, "stem_1", dtype, strides=2, padding="valid")
        x = _convolution(x, width // 2, 3, "stem_2", dtype)
        x = _convolution(x, width, 3, "stem_3", dtype)
        x = _average_pool(x, 2, "stem_pool", dtype)
        for stage, num_blocks in enumerate(stackwise_num_blocks):
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = _bottleneck(x, width * 2**stage, stride, f"stage_{stage}_block_{block}", dtype)
        pooled = _attention_pool(x, head_dim, dtype)
        outputs = ops.concatenate([pooled, ops.ones_like(pooled[..., :1])], axis=-1)
        super().__init__(
            inputs={"images": images}, outputs=outputs, dtype=dtype, name=name, **kwargs
        )

        # === Config ===
        self.stackwise_num_blocks = list(stackwise_num_blocks)
        self.width = width
        self.head_dim = head_dim
        self.image_shape = tuple(image_shape)
        self.hidden_dim = _REDUCTION * width + 1

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "stackwise_num_blocks": self.stackwise_num_blocks,
            "width": self.width,
            "head_dim": self.head_dim,
            "image_shape": self.image_shape,
        }


def _convolution(
    x: Any,
    filters: int,
    kernel_size: int,
    name: str,
    dtype: Any,
    activation: str | None = "relu",
    strides: int = 1,
    padding: str = "same",
) -> Any:
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        data_format="channels_last",
        dtype=dtype,
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, dtype=dtype, name=f"{name}_norm")(x)
    if activation is None:
        return x
    return layers.Activation(activation, dtype=dtype, name=f"{name}_{activation}")(x)


def _average_pool(x: Any, size: int, name: str, dtype: Any) -> Any:
    return layers.AveragePooling2D(size, data_format="channels_last", dtype=dtype, name=name)(x)


def _bottleneck(x: Any, filters: int, stride: int, name: str, dtype: Any) -> Any:
    shortcut = x
    x = _convolution(x, filters, 1, f"{name}_1", dtype)
    x = _convolution(x, filters, 3, f"{name}_2", dtype)
    if stride > 1:
        x = _average_pool(x, stride, f"{name}_pool", dtype)
        shortcut = _average_pool(shortcut, stride, f"{name}_shortcut_pool", dtype)
    x = _convolution(x, _EXPANSION * filters, 1, f"{name}_3", dtype, activation=None)
    if shortcut.shape[-1] != x.shape[-1] or stride > 1:
        shortcut = _convolution(
            shortcut, _EXPANSION * filters, 1, f"{name}_shortcut", dtype, activation=None
        )
    x = layers.Add(dtype=dtype, name=f"{name}_add")([x, shortcut])
    return layers.Activation("relu", dtype=dtype, name=f"{name}_relu")(x)


def _attention_pool(x: Any, head_dim: int, dtype: Any) -> Any:
    """Pools features from `(batch, height, width, features)` to `(batch, 1, features)`."""
    height, width, features = x.shape[1:]
    tokens = layers.Reshape((height * width, features), dtype=dtype, name="pool_tokens")(x)
    tokens = ops.concatenate([ops.mean(tokens, axis=1, keepdims=True), tokens], axis=1)
    positions = keras_hub.layers.PositionEmbedding(
        height * width + 1, dtype=dtype, name="pool_positions"
    )
    tokens = layers.Add(dtype=dtype, name="pool_add")([tokens, positions(tokens)])

    def heads(inputs: Any, name: str) -> Any:
        inputs = layers.Dense(features, dtype=dtype, name=f"pool_{name}")(inputs)
        return ops.reshape(inputs, (-1, inputs.shape[1], features // head_dim, head_dim))

    # Only the first token, the mean, is kept, so it is the only query.
    attended = ops.dot_product_attention(
        heads(tokens[:, :1], "query"), heads(tokens, "key"), heads(tokens, "value")
    )
    return ops.reshape(attended, (-1, 1, features))


def _check_arguments(
    stackwise_num_blocks: Sequence[int], width: int, head_dim: int, image_shape: Sequence[int]
) -> None:
    if len(stackwise_num_blocks) != 4 or not all(number >= 1 for number in stackwise_num_blocks):
        raise ValueError(
            f"`stackwise_num_blocks` must be four ints >= 1. Received: {stackwise_num_blocks=}"
        )
    if width < 2 or width % 2:
        raise ValueError(f"`width` must be an even int >= 2. Received: {width=}")
    if head_dim < 1 or _REDUCTION * width % head_dim:
        raise ValueError(
            f"`head_dim` must divide the {_REDUCTION * width} features. Received: {head_dim=}"
        )
    height = image_shape[0]
    if tuple(image_shape) != (height, height, 3) or height < _REDUCTION or height % _REDUCTION:
        raise ValueError(
            "`image_shape` must be square, with a side that 32 divides and three channels. "
            f"Received: {image_shape=}"
        )
