import keras
import keras_hub
import numpy as np
import pytest
import tiny_clip
from tiny_clip import DIM, IMAGE_SIZE, make_tiny_backbone

from keras_cmm.clip import EmbeddingStore, ImageEmbedder
from keras_cmm.clip.backbones.encoders import TextEncoder, VisionEncoder
from keras_cmm.clip.backbones.inference import as_unit_rows, inference_mode
from keras_cmm_runtime.errors import InputError

VOCABULARY = 40


def make_backbone(activation="quick_gelu", patch_size=8, layers=3, width=24, dtype=None):
    """Returns a backbone in which every weight matters, since none is zero or one."""
    backbone = tiny_clip.make_backbone(
        width,
        width,
        VOCABULARY,
        length=12,
        patch_size=patch_size,
        layers=layers,
        intermediate_activation=activation,
        dtype=dtype,
    )
    rng = np.random.default_rng(0)
    for variable in backbone.weights:
        if "float" in variable.dtype:
            spread = rng.standard_normal(variable.shape) / width**0.5
            variable.assign(variable + keras.ops.cast(spread, variable.dtype))
    ids = backbone.vision_encoder.embedding.position_ids
    ids.assign(np.arange(ids.shape[1])[None])
    return backbone


def images(count=5, seed=0):
    shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3)
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def token_ids(count=5, length=12, seed=0):
    """Returns texts of different lengths, padded with their end token, the highest."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, VOCABULARY - 1, (count, length), "int32")
    for row, end in enumerate(rng.integers(1, length, count)):
        ids[row, end:] = VOCABULARY - 1
    return ids


def plain(backbone, kind):
    with inference_mode():
        if kind == "vision":
            x = keras.ops.convert_to_tensor(images())
            return as_unit_rows(backbone.get_vision_embeddings(x))
        return as_unit_rows(backbone.get_text_embeddings(keras.ops.convert_to_tensor(token_ids())))


def encoded(encoder):
    with inference_mode():
        x = images() if isinstance(encoder, VisionEncoder) else token_ids()
        return as_unit_rows(encoder(x))


def encoder_of(kind, backbone, dtype=None):
    return (VisionEncoder if kind == "vision" else TextEncoder)(backbone, dtype)


def is_fast(encoder):
    return encoder._tower is not None


both = pytest.mark.parametrize("kind", ["vision", "text"])


@both
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_fast_embeddings_are_the_backbones(kind, activation, layers):
    backbone = make_backbone(activation, layers=layers)
    encoder = encoder_of(kind, backbone)
    np.testing.assert_allclose(encoded(encoder), plain(backbone, kind), atol=1e-6)
    assert is_fast(encoder)


def test_pixels_beyond_the_last_whole_patch_are_left_out_as_by_a_convolution():
    backbone = make_backbone(patch_size=7)
    encoder = VisionEncoder(backbone)
    np.testing.assert_allclose(encoded(encoder), plain(backbone, "vision"), atol=1e-6)
    assert is_fast(encoder)


def test_position_numbers_are_the_backbones():
    """In a backbone of random weights, keras-hub leaves all of them at zero."""
    backbone = make_tiny_backbone()
    np.testing.assert_allclose(
        encoded(VisionEncoder(backbone)), plain(backbone, "vision"), atol=1e-6
    )


@both
def test_a_loaded_preset_is_embedded_by_the_fast_tower(kind, tiny_model, monkeypatch):
    """A preset gives other types than code does: its JSON has lists for shapes."""
    backbone = tiny_model.backbone
    expected = plain(backbone, kind)
    for method in ("get_vision_embeddings", "get_text_embeddings"):
        monkeypatch.setattr(type(backbone), method, None)
    np.testing.assert_allclose(encoded(encoder_of(kind, backbone)), expected, atol=1e-6)


@both
def test_changed_weights_are_noticed(kind):
    backbone = make_backbone()
    encoder = encoder_of(kind, backbone)
    before = encoded(encoder)
    tower = encoder._tower
    assert np.array_equal(encoded(encoder), before)
    assert encoder._tower is tower
    part = backbone.vision_encoder if kind == "vision" else backbone.text_encoder
    kernel = part.encoder_layers[1].attention.query_dense.kernel
    kernel.assign(kernel * 1.5)
    np.testing.assert_allclose(encoded(encoder), plain(backbone, kind), atol=1e-6)
    assert not np.allclose(encoded(encoder), before, atol=1e-3)
    backbone.set_weights([weight * 0.5 for weight in backbone.get_weights()])
    np.testing.assert_allclose(encoded(encoder), plain(backbone, kind), atol=1e-6)
    assert is_fast(encoder)


@both
def test_lora_is_left_to_the_backbone(kind):
    backbone = make_backbone()
    encoder = encoder_of(kind, backbone)
    before = encoded(encoder)
    part = backbone.vision_encoder if kind == "vision" else backbone.text_encoder
    dense = part.encoder_layers[0].attention.value_dense
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(dense.lora_kernel_b + 1.0)
    np.testing.assert_allclose(encoded(encoder), plain(backbone, kind), atol=1e-6)
    assert not is_fast(encoder)
    assert not np.allclose(encoded(encoder), before, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
@pytest.mark.nightly
def test_a_quantised_backbone_is_left_to_itself():
    kind, quantised = "vision", make_backbone()
    quantised.quantize("int8")
    encoder = encoder_of(kind, quantised)
    np.testing.assert_allclose(encoded(encoder), plain(quantised, kind), atol=1e-6)
    assert not is_fast(encoder)


def test_unknown_backbones_are_left_to_themselves():
    class OtherBackbone(keras_hub.models.CLIPBackbone):
        def get_vision_embeddings(self, images):
            return -super().get_vision_embeddings(images)

    known = make_backbone()
    other = OtherBackbone(known.vision_encoder, known.text_encoder, DIM)
    encoder = VisionEncoder(other)
    np.testing.assert_allclose(encoded(encoder), plain(other, "vision"), atol=1e-6)
    assert not is_fast(encoder)
    with pytest.raises(InputError, match="load the model with dtype='bfloat16'"):
        encoded(VisionEncoder(other, "bfloat16"))


def test_other_activations_are_left_to_the_backbone():
    backbone = make_backbone("relu")
    encoder = VisionEncoder(backbone)
    np.testing.assert_allclose(encoded(encoder), plain(backbone, "vision"), atol=1e-6)
    assert not is_fast(encoder)


def test_images_of_another_size_get_the_backbones_own_error():
    with inference_mode(), pytest.raises(ValueError, match="shape"):
        VisionEncoder(make_backbone())(images()[:, :24])


@both
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_half_precision_is_nearer_to_float32_than_the_backbones_own(kind, dtype):
    exact = make_backbone(width=128)
    backbone = make_backbone(width=128, dtype=dtype)
    backbone.set_weights(exact.get_weights())
    expected = plain(exact, kind).astype("float64")

    def distance(embeddings):
        return 1 - (embeddings * expected).sum(axis=1).mean()

    encoder = encoder_of(kind, backbone)
    assert 0 < distance(encoded(encoder)) < distance(plain(backbone, kind))
    assert is_fast(encoder)


@both
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_float32_backbone_in_half_precision(kind, dtype):
    exact = make_backbone(width=128)
    backbone = make_backbone(width=128, dtype=f"mixed_{dtype}")
    backbone.set_weights(exact.get_weights())
    half = encoded(encoder_of(kind, exact, dtype))
    np.testing.assert_array_equal(half, encoded(encoder_of(kind, backbone)))
    assert not np.allclose(half, plain(exact, kind), atol=1e-6)


def test_bad_dtype():
    with pytest.raises(InputError, match=r"`dtype` must be one of.*dtype='int8'"):
        VisionEncoder(make_backbone(), "int8")


def test_an_embedder_of_another_dtype_has_embeddings_of_its_own_in_a_store(tiny_model, tmp_path):
    pictures = [np.full((40, 40, 3), 60 * number, "uint8") for number in range(4)]
    store = EmbeddingStore(tmp_path)
    exact = ImageEmbedder(tiny_model, store=store).embed(pictures).embeddings
    half = ImageEmbedder(tiny_model, store=store, dtype="bfloat16").embed(pictures).embeddings
    assert not np.array_equal(half, exact)
    assert store.taken == 0
    again = ImageEmbedder(tiny_model, store=store, dtype="bfloat16").embed(pictures).embeddings
    np.testing.assert_array_equal(again, half)
    assert store.taken == 4
