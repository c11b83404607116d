"""The image towers of keras-hub's models as graphs of ONNX.

The weights are copied in float32. Each graph does what the backbone's own layers do, but the last
layer of a ViT with a class token is computed for that token alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_cmm.clip.graphs.library_graph import add_library_tower
from keras_cmm.clip.graphs.onnx_graph import OnnxGraph
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.images import ImagePreprocessor

_QUICK_GELU = 1.702  # OpenAI's CLIP has x * sigmoid(1.702 * x)


def add_vision_tower(
    graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor
) -> str:
    """Adds an image tower to a graph.

    Args:
        graph: the graph.
        pixels: uint8 `(batch, image_size, image_size, 3)`.
        backbone: a backbone as `keras_cmm.clip.load` returns it.
        preprocessor: the preprocessor, which normalises the pixels.

    Returns:
        The embeddings, `(batch, dim)`, not of unit length.

    Raises:
        InputError: if there is no graph for the backbone.
    """
    if type(backbone).__name__ == "TorchBackbone":
        return add_library_tower(graph, pixels, backbone, preprocessor)
    encoder = backbone.vision_encoder
    towers = {
        ("CLIPBackbone", "CLIPVisionEncoder"): _clip,
        ("CLIPBackbone", "ResNetVisionEncoder"): _resnet,
        ("MetaCLIP2Backbone", "MetaCLIP2VisionEncoder"): _metaclip_2,
        ("SigLIPBackbone", "SigLIPVisionEncoder"): _siglip,
        ("ImageBackbone", "DINOV2Backbone"): _dino,
        ("ImageBackbone", "DINOV3Backbone"): _dino,
    }
    tower = towers.get((type(backbone).__name__, type(encoder).__name__))
    if tower is None:
        raise InputError(
            f"a {type(backbone).__name__} with a {type(encoder).__name__} cannot be exported; the "
            "models of CLIP, OpenCLIP, SigLIP, MetaCLIP 2 and DINO can."
        )
    return tower(graph, pixels, backbone, preprocessor)


def value(variable: Any) -> npt.NDArray[np.float32]:
    """Returns a Keras variable or tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(ops.cast(variable, "float32")), "float32")


def _clip(graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor) -> str:
    encoder = backbone.vision_encoder
    # keras-hub reads the positions by numbers that are a weight too.
    ids = np.asarray(ops.convert_to_numpy(encoder.embedding.position_ids))[0]
    positions = value(encoder.embedding.position_embedding.embeddings)[ids]
    return _class_token_vit(graph, pixels, backbone, preprocessor, positions, encoder.layer_norm)


def _metaclip_2(
    graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor
) -> str:
    positions = value(backbone.vision_encoder.embedding.position_embedding.embeddings)
    norm = backbone.vision_post_layer_norm
    return _class_token_vit(graph, pixels, backbone, preprocessor, positions, norm)


def _class_token_vit(
    graph: OnnxGraph,
    pixels: str,
    backbone: Any,
    preprocessor: ImagePreprocessor,
    positions: npt.NDArray[np.float32],
    last_norm: Any,
) -> str:
    encoder = backbone.vision_encoder
    patches = _patches(graph, pixels, encoder.embedding.patch_embedding, preprocessor)
    patches = graph("Add", patches, graph.constant(positions[1:]))
    token = (value(encoder.embedding.class_embedding) + positions[0])[None, None]
    rows = _with_tokens(graph, token, patches)
    rows = _layer_norm(graph, rows, encoder.pre_layer_norm)
    for number, layer in enumerate(encoder.encoder_layers):
        last = number == len(encoder.encoder_layers) - 1
        rows = _block(
            graph,
            rows,
            len(positions),
            layer.attention,
            (layer.layer_norm_1, layer.layer_norm_2),
            partial(
                _mlp,
                denses=(layer.dense_1, layer.dense_2),
                activation=layer.intermediate_activation,
            ),
            pooled=last,
        )
    rows = _layer_norm(graph, rows, last_norm)
    return _dense(graph, rows, backbone.vision_projection)


def _siglip(graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor) -> str:
    encoder = backbone.vision_encoder
    width = encoder.hidden_dim
    positions = value(encoder.embedding.position_embedding.embeddings)
    patches = _patches(graph, pixels, encoder.embedding.patch_embedding, preprocessor)
    patches = graph("Add", patches, graph.constant(positions))
    length = len(positions)
    rows = graph.reshape(patches, -1, width)
    for layer in encoder.encoder_layers:
        rows = _block(
            graph,
            rows,
            length,
            layer.self_attn,
            (layer.layer_norm1, layer.layer_norm2),
            partial(
                _mlp,
                denses=(layer.mlp.fc1, layer.mlp.fc2),
                activation=layer.intermediate_activation,
            ),
        )
    rows = _layer_norm(graph, rows, encoder.post_layer_norm)
    head = encoder.head
    keys, values = _keys_values(graph, rows, length, head.attention)
    # All images share the query of the pool, so it is a constant; ONNX repeats it.
    query = value(head.probe)[0] @ _kernel(head.attention.query_dense, width)
    query = _scaled(head.attention, query + value(head.attention.query_dense.bias).reshape(width))
    heads = query.reshape(1, head.num_heads, 1, width // head.num_heads)
    rows = _attended(graph, graph.constant(heads), keys, values, head.attention, width)
    mlp = graph("Identity", _layer_norm(graph, rows, head.layer_norm))
    mlp = _mlp(graph, mlp, (head.mlp.fc1, head.mlp.fc2), head.activation)
    return graph("Add", rows, mlp)


def _dino(graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor) -> str:
    """Adds DINOv2, which adds position embeddings, or DINOv3, which rotates queries and keys."""
    encoder = backbone.vision_encoder
    embeddings = encoder.embeddings
    patches = _patches(graph, pixels, embeddings.patch_embeddings.projection, preprocessor)
    tokens = value(embeddings.cls_token)
    if hasattr(embeddings, "interpolated_position_embeddings"):
        positions = value(embeddings.interpolated_position_embeddings)
        tokens = tokens + positions[:, :1]
        patches = graph("Add", patches, graph.constant(positions[:, 1:]))
    if embeddings.num_register_tokens:
        tokens = np.concatenate([tokens, value(embeddings.register_tokens)], axis=1)
    count = tokens.shape[1]
    length = count + (preprocessor.image_size // encoder.patch_size) ** 2
    rotation = None
    if hasattr(encoder, "rope_embedding"):
        image = ops.zeros((1, *encoder.image_shape))
        cos, sin = (value(table) for table in encoder.rope_embedding(image))
        # Tokens before the patches are not rotated. The halves of a head change places, and the
        # first one its sign.
        cos = np.concatenate([np.ones((count, cos.shape[1]), "float32"), cos])
        sin = np.concatenate([np.zeros((count, sin.shape[1]), "float32"), sin])
        sin[:, : sin.shape[1] // 2] *= -1
        rotation = graph.constant(cos[:, None]), graph.constant(sin[:, None])
    rows = _with_tokens(graph, tokens, patches)
    layers = encoder.encoder.layers
    for number, layer in enumerate(layers):
        rows = _block(
            graph,
            rows,
            length,
            # DINOv2 has Keras's layer inside its own.
            getattr(layer.attention, "attention", layer.attention),
            (layer.norm1, layer.norm2),
            partial(_dino_mlp, mlp=layer.mlp),
            pooled=number == len(layers) - 1,
            rotation=rotation,
            scales=(layer.layer_scale1, layer.layer_scale2),
        )
    return _layer_norm(graph, rows, encoder.layernorm)


def _dino_mlp(graph: OnnxGraph, rows: str, mlp: Any) -> str:
    if hasattr(mlp, "fc1"):
        return _mlp(graph, rows, (mlp.fc1, mlp.fc2), mlp.activation)
    if hasattr(mlp, "weights_in"):  # SwiGLU: both halves are in one layer.
        kernels = np.split(value(mlp.weights_in.kernel), 2, axis=1)
        biases = np.split(value(mlp.weights_in.bias), 2)
        gate, rest = (_gemm(graph, rows, *each) for each in zip(kernels, biases, strict=True))
        return _dense(graph, graph("Mul", _activated(graph, gate, "silu"), rest), mlp.weights_out)
    if not hasattr(mlp, "gate_proj"):
        return _mlp(graph, rows, (mlp.up_proj, mlp.down_proj), mlp.activation)
    gate = _activated(graph, _dense(graph, rows, mlp.gate_proj), mlp.activation)
    return _dense(graph, graph("Mul", gate, _dense(graph, rows, mlp.up_proj)), mlp.down_proj)


def _with_tokens(graph: OnnxGraph, tokens: npt.NDArray[np.float32], patches: str) -> str:
    """Adds tokens before the patches of each image; returns `(batch * length, width)`."""
    # Zeros of the right shape, and the tokens added.
    zeros = graph("Mul", _first_token(graph, patches), graph.constant(np.float32(0)))
    tokens_of_each = graph("Add", zeros, graph.constant(tokens))
    return graph.reshape(graph("Concat", tokens_of_each, patches, axis=1), -1, tokens.shape[-1])


def _patches(
    graph: OnnxGraph, pixels: str, convolution: Any, preprocessor: ImagePreprocessor
) -> str:
    """Adds the embedding of the patches, `(batch, patches, width)`.

    The stride of the convolution is its width, so it is one product over separate patches. They are
    cut out before pixels become floats, which are four times as large.
    """
    if convolution.data_format != "channels_last":
        raise InputError(
            'only a model of `data_format="channels_last"` can be exported. '
            f"Received: {convolution.data_format!r}"
        )
    size, width = convolution.kernel.shape[0], convolution.kernel.shape[-1]
    image_size = preprocessor.image_size
    side = image_size // size
    if side * size < image_size:
        pixels = graph(
            "Slice", pixels, *(graph.constant(np.array([n] * 2)) for n in (0, side * size)),
            graph.constant(np.array([1, 2])),
        )  # fmt: skip
    grid = graph.reshape(pixels, -1, side, size, side, size, 3)
    grid = graph("Transpose", grid, perm=[0, 1, 3, 2, 4, 5])
    rows = graph.reshape(grid, -1, size * size * 3)
    rows = _normalized(graph, rows, preprocessor, lambda three: np.tile(three, size * size))
    rows = _gemm(graph, rows, _kernel(convolution, width), _bias(convolution))
    return graph.reshape(rows, -1, side * side, width)


def _normalized(
    graph: OnnxGraph,
    pixels: str,
    preprocessor: ImagePreprocessor,
    shaped: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
) -> str:
    """Adds `ImagePreprocessor.normalize`: the same operations in the same order, in float32."""
    images = graph("Cast", pixels, to=1)
    images = graph("Div", images, graph.constant(np.float32(255)))
    images = graph("Sub", images, graph.constant(shaped(np.array(preprocessor.mean, "float32"))))
    return graph("Div", images, graph.constant(shaped(np.array(preprocessor.std, "float32"))))


def _block(
    graph: OnnxGraph,
    rows: str,
    length: int,
    attention: Any,
    norms: tuple[Any, Any],
    mlp: Callable[[OnnxGraph, str], str],
    pooled: bool = False,
    rotation: tuple[str, str] | None = None,
    scales: tuple[Any, Any] | None = None,
) -> str:
    """Adds a layer of a transformer, `(batch * length, width)`; pooled, of the first tokens."""
    width = attention.num_heads * _head_dim(attention)
    inputs = _layer_norm(graph, rows, norms[0])
    keys, values = _keys_values(graph, inputs, length, attention, rotation)
    if pooled:
        rows, inputs = (
            graph.reshape(_first_token(graph, graph.reshape(each, -1, length, width)), -1, width)
            for each in (rows, inputs)
        )
        length, rotation = 1, None  # The first token has no place, so it is not rotated.
    kernel = _scaled(attention, _kernel(attention.query_dense, width))
    bias = _flat_bias(attention.query_dense)
    bias = None if bias is None else _scaled(attention, bias)
    query = graph.reshape(
        _gemm(graph, inputs, kernel, bias), -1, length, attention.num_heads, _head_dim(attention)
    )
    query = _rotated(graph, query, rotation, _head_dim(attention))
    query = graph("Transpose", query, perm=[0, 2, 1, 3])
    attended = _attended(graph, query, keys, values, attention, width)
    rows = graph("Add", rows, _layer_scaled(graph, attended, scales and scales[0]))
    hidden = mlp(graph, _layer_norm(graph, rows, norms[1]))
    return graph("Add", rows, _layer_scaled(graph, hidden, scales and scales[1]))


def _head_dim(attention: Any) -> int:
    return int(getattr(attention, "key_dim", None) or attention.head_dim)


def _scaled(attention: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scales queries as attention does, here in the weights that make them."""
    return values * np.float32(_head_dim(attention) ** -0.5)


def _layer_scaled(graph: OnnxGraph, rows: str, scale: Any) -> str:
    return rows if scale is None else graph("Mul", rows, graph.constant(value(scale.lambda1)))


def _rotated(graph: OnnxGraph, heads: str, rotation: tuple[str, str] | None, dim: int) -> str:
    """Adds rotary position embeddings to `(batch, length, heads, dim)`."""
    if rotation is None:
        return heads
    last = graph.constant(np.array([3]))
    halves = [
        graph("Slice", heads, *(graph.constant(np.array([n])) for n in bounds), last)
        for bounds in ((dim // 2, dim), (0, dim // 2))
    ]
    swapped = graph("Mul", graph("Concat", *halves, axis=3), rotation[1])
    return graph("Add", graph("Mul", heads, rotation[0]), swapped)


def _keys_values(
    graph: OnnxGraph,
    rows: str,
    length: int,
    attention: Any,
    rotation: tuple[str, str] | None = None,
) -> tuple[str, str]:
    """Adds keys `(batch, heads, dim, length)` and values `(batch, heads, length, dim)`."""
    dim = _head_dim(attention)
    width = attention.num_heads * dim
    found = []
    for dense, order, turned in (
        (attention.key_dense, [0, 2, 3, 1], rotation),
        (attention.value_dense, [0, 2, 1, 3], None),
    ):
        each = _gemm(graph, rows, _kernel(dense, width), _flat_bias(dense))
        each = graph.reshape(each, -1, length, attention.num_heads, dim)
        found.append(graph("Transpose", _rotated(graph, each, turned, dim), perm=order))
    return found[0], found[1]


def _attended(
    graph: OnnxGraph, query: str, keys: str, values: str, attention: Any, width: int
) -> str:
    """Adds attention and its last dense layer; returns `(batch * queries, width)`."""
    weights = graph("Softmax", graph("MatMul", query, keys), axis=-1)
    attended = graph("Transpose", graph("MatMul", weights, values), perm=[0, 2, 1, 3])
    output = attention.output_dense
    kernel = value(output.kernel).reshape(width, width)
    return _gemm(graph, graph.reshape(attended, -1, width), kernel, _flat_bias(output))


def _mlp(graph: OnnxGraph, rows: str, denses: tuple[Any, Any], activation: str) -> str:
    hidden = _activated(graph, _dense(graph, rows, denses[0]), activation)
    return _dense(graph, hidden, denses[1])


def _activated(graph: OnnxGraph, hidden: str, activation: str) -> str:
    if activation in ("quick_gelu", "silu"):
        factor = graph.constant(np.float32(_QUICK_GELU if activation == "quick_gelu" else 1.0))
        return graph("Mul", hidden, graph("Sigmoid", graph("Mul", hidden, factor)))
    if activation in ("gelu", "gelu_approximate"):
        return graph("Gelu", hidden, approximate="none" if activation == "gelu" else "tanh")
    raise InputError(
        "only models with the activation gelu, gelu_approximate, quick_gelu or silu can be "
        f"exported. Received: {activation!r}"
    )


def _first_token(graph: OnnxGraph, tokens: str) -> str:
    """Adds the first token of each sequence, `(batch, 1, width)`."""
    bounds = (graph.constant(np.array([number])) for number in (0, 1, 1))
    return graph("Slice", tokens, *bounds)


def _layer_norm(graph: OnnxGraph, rows: str, layer: Any) -> str:
    gamma, beta = (graph.constant(value(each)) for each in (layer.gamma, layer.beta))
    return graph("LayerNormalization", rows, gamma, beta, axis=-1, epsilon=float(layer.epsilon))


def _dense(graph: OnnxGraph, rows: str, layer: Any) -> str:
    return _gemm(graph, rows, value(layer.kernel), _bias(layer))


def _bias(layer: Any) -> npt.NDArray[np.float32] | None:
    return value(layer.bias) if layer.use_bias else None


def _flat_bias(layer: Any) -> npt.NDArray[np.float32] | None:
    """Returns the bias of a layer that may have an axis of heads, as one row."""
    return None if layer.bias is None else value(layer.bias).reshape(-1)


def _kernel(layer: Any, width: int) -> npt.NDArray[np.float32]:
    """Returns the kernel of a layer as `(inputs, width)`."""
    return value(layer.kernel).reshape(-1, width)


def _gemm(
    graph: OnnxGraph,
    rows: str,
    kernel: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32] | None,
) -> str:
    if bias is None:
        return graph("MatMul", rows, graph.constant(kernel))
    if not graph.fused_biases:
        product = graph("MatMul", rows, graph.constant(kernel))
        return graph("Add", product, graph.constant(bias))
    return graph("Gemm", rows, graph.constant(kernel), graph.constant(bias))


def _resnet(graph: OnnxGraph, pixels: str, backbone: Any, preprocessor: ImagePreprocessor) -> str:
    encoder = backbone.vision_encoder
    image = graph("Transpose", pixels, perm=[0, 3, 1, 2])
    x = _normalized(graph, image, preprocessor, lambda three: three[:, None, None])
    for number, stride in ((1, 2), (2, 1), (3, 1)):
        x = graph("Relu", _convolution(graph, x, encoder, f"stem_{number}", stride))
    x = _average_pool(graph, x)
    for stage, blocks in enumerate(encoder.stackwise_num_blocks):
        for block in range(blocks):
            pools = stage > 0 and block == 0
            x = _bottleneck(graph, x, encoder, f"stage_{stage}_block_{block}", block == 0, pools)
    features = encoder.hidden_dim - 1
    tokens = graph("Transpose", graph.reshape(x, 0, features, -1), perm=[0, 2, 1])
    mean = graph("ReduceMean", tokens, graph.constant(np.array([1])), keepdims=1)
    tokens = graph("Concat", mean, tokens, axis=1)
    positions = value(encoder.get_layer("pool_positions").position_embeddings)
    tokens = graph("Add", tokens, graph.constant(positions))
    heads = (-1, len(positions), features // encoder.head_dim, encoder.head_dim)
    # Only the first token, the mean, is kept, so it is the only query.
    first = graph.reshape(_first_token(graph, tokens), -1, features)
    rows = graph.reshape(tokens, -1, features)
    query = _dense(graph, first, encoder.get_layer("pool_query"))
    query = graph("Mul", query, graph.constant(np.float32(encoder.head_dim**-0.5)))
    query = graph.reshape(query, -1, heads[2], 1, heads[3])
    keys = graph.reshape(_dense(graph, rows, encoder.get_layer("pool_key")), *heads)
    values = graph.reshape(_dense(graph, rows, encoder.get_layer("pool_value")), *heads)
    weights = graph("MatMul", query, graph("Transpose", keys, perm=[0, 2, 3, 1]))
    weights = graph("Softmax", weights, axis=-1)
    pooled = graph("MatMul", weights, graph("Transpose", values, perm=[0, 2, 1, 3]))
    # The last row of the kernel is the bias, see `ResNetVisionEncoder`.
    kernel = value(backbone.vision_projection.kernel)
    return _gemm(graph, graph.reshape(pooled, -1, features), kernel[:-1], kernel[-1])


def _bottleneck(
    graph: OnnxGraph, x: str, encoder: Any, name: str, widens: bool, pools: bool
) -> str:
    shortcut = x
    for number in (1, 2):
        x = graph("Relu", _convolution(graph, x, encoder, f"{name}_{number}"))
    if pools:
        x, shortcut = _average_pool(graph, x), _average_pool(graph, shortcut)
    x = _convolution(graph, x, encoder, f"{name}_3")
    if widens:
        shortcut = _convolution(graph, shortcut, encoder, f"{name}_shortcut")
    return graph("Relu", graph("Add", x, shortcut))


def _convolution(graph: OnnxGraph, x: str, encoder: Any, name: str, stride: int = 1) -> str:
    kernel = value(encoder.get_layer(f"{name}_conv").kernel).transpose(3, 2, 0, 1)
    margin = kernel.shape[2] // 2
    x = graph("Conv", x, graph.constant(kernel), pads=[margin] * 4, strides=[stride] * 2)
    norm = encoder.get_layer(f"{name}_norm")
    weights = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    return graph(
        "BatchNormalization",
        x,
        *(graph.constant(value(each)) for each in weights),
        epsilon=float(norm.epsilon),
    )


def _average_pool(graph: OnnxGraph, x: str) -> str:
    return graph("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
