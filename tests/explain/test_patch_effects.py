import numpy as np
import pytest
from tiny_clip import DIM, IMAGE_SIZE, make_backbone

from keras_cmm import InputError
from keras_cmm.clip import prepare_backbone
from keras_cmm.explain import patch_effects
from keras_cmm.models import CMMClassifier


def make_head():
    texts = np.random.default_rng(0).normal(size=(3, DIM))
    return CMMClassifier.from_text_embeddings(texts)


def make_image(seed=0):
    return np.random.default_rng(seed).normal(size=(IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32")


def array(tensor):
    from keras import ops

    return ops.convert_to_numpy(tensor)


def with_weights(backbone):
    """Fills what starts at zero, so that no bias and no position is without effect."""
    rng = np.random.default_rng(1)
    for variable in backbone.vision_encoder.weights:
        if variable.trainable:
            variable.assign(array(variable) + 0.2 * rng.normal(size=variable.shape))
    return prepare_backbone(backbone)


def naive_effects(backbone, head, image, class_id):
    """Returns the effects of the last layer's attention, patch by patch."""
    encoder = backbone.vision_encoder
    *before, last = encoder.encoder_layers
    tokens = encoder.pre_layer_norm(encoder.embedding(image[None]))
    for layer in before:
        tokens = layer(tokens)
    inputs = last.layer_norm_1(tokens)
    # Keras itself tells the weights of the attention.
    weights = array(last.attention(inputs, inputs, inputs, return_attention_scores=True)[1])
    values = array(last.attention.value_dense(inputs))
    kernel = array(last.attention.output_dense.kernel)
    pooled = array(last(tokens))[0, 0]

    def lead(token):
        embedding = array(backbone.vision_projection(encoder.layer_norm(token[None, None])))[0]
        logits = head.predict(embedding, verbose=0)[0]
        return logits[class_id] - logits.mean()

    effects = []
    for patch in range(1, values.shape[1]):
        added = sum(
            weights[0, unit, 0, patch] * values[0, patch, unit] @ kernel[unit]
            for unit in range(kernel.shape[0])
        )
        effects.append(lead(pooled) - lead(pooled - added))
    side = IMAGE_SIZE // encoder.patch_size
    return np.reshape(effects, (side, side))


@pytest.mark.backend_neutral
def test_the_effect_is_what_the_lead_loses_without_the_patch():
    backbone, head, image = with_weights(make_backbone()), make_head(), make_image()
    for class_id in (0, 2):
        found = patch_effects(backbone, head, image, class_id, late_layers=0.5)  # the last of 2
        expected = naive_effects(backbone, head, image, class_id)
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
        assert np.abs(expected).max() > 0.01


def test_the_effects_of_all_classes_cancel():
    """The leads of all classes sum to zero, so their changes do."""
    backbone, head, image = with_weights(make_backbone(layers=4)), make_head(), make_image()
    effects = [patch_effects(backbone, head, image, class_id) for class_id in range(3)]
    np.testing.assert_allclose(sum(effects), 0, atol=1e-3 * np.abs(effects).max())


def test_half_precision_keeps_the_places():
    backbone, half = with_weights(make_backbone()), make_backbone(dtype="bfloat16")
    half.set_weights(backbone.get_weights())
    head, image = make_head(), make_image()
    exact = patch_effects(backbone, head, image, 1).ravel()
    rounded = patch_effects(half, head, image, 1).ravel()
    assert np.corrcoef(exact, rounded)[0, 1] > 0.97


def test_pixels_beyond_the_last_whole_patch():
    backbone = with_weights(make_backbone(patch_size=6))  # 5 whole patches of 32 pixels
    assert patch_effects(backbone, make_head(), make_image(), 0).shape == (5, 5)


def test_effects_of_more_layers_are_others():
    backbone, head, image = with_weights(make_backbone()), make_head(), make_image()
    whole, late = (patch_effects(backbone, head, image, 0, part) for part in (1.0, 0.5))
    assert np.abs(whole - late).max() > 0.01 * np.abs(whole).max()
    with pytest.raises(ValueError, match="`late_layers`"):
        patch_effects(backbone, head, image, 0, 0.0)


def test_a_resnet_is_refused():
    import keras_hub

    from keras_cmm.clip.backbones.resnet_vision_encoder import ResNetVisionEncoder

    tower = ResNetVisionEncoder([1, 1, 1, 1], width=2, image_shape=(32, 32, 3))
    text = make_backbone().text_encoder
    backbone = keras_hub.models.CLIPBackbone(tower, text, projection_dim=DIM)
    with pytest.raises(InputError, match=r"vision transformer.*Received: a ResNetVisionEncoder"):
        patch_effects(backbone, make_head(), make_image(), 0)
