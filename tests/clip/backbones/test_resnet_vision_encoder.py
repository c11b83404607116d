import keras
import keras_hub
import numpy as np
import pytest
from fixtures.varied_images import model_images
from tiny_clip import make_text_encoder

from keras_cmm.clip.backbones.resnet_vision_encoder import ResNetVisionEncoder


def make_encoder(**settings):
    settings = {"width": 2, "head_dim": 16, "image_shape": (32, 32, 3)} | settings
    return ResNetVisionEncoder([1, 2, 1, 1], **settings)


def make_backbone():
    keras.utils.set_random_seed(0)
    text_encoder = make_text_encoder(8, vocabulary_size=16, length=8, num_layers=1, num_heads=1)
    return keras_hub.models.CLIPBackbone(make_encoder(), text_encoder, projection_dim=6)


def image_embeddings(backbone, size=32):
    images = keras.ops.convert_to_tensor(model_images(3, size))
    return keras.ops.convert_to_numpy(backbone.get_vision_embeddings(images))


def test_last_feature_is_one():
    features = make_encoder()({"images": keras.ops.convert_to_tensor(model_images(2, 32))})
    features = keras.ops.convert_to_numpy(features)
    assert features.shape == (2, 1, 65)
    np.testing.assert_array_equal(features[..., -1], 1.0)
    assert np.ptp(features[..., :-1]) > 0


def test_preset(tmp_path):
    backbone = make_backbone()
    backbone.save_to_preset(str(tmp_path))
    loaded = keras_hub.models.Backbone.from_preset(str(tmp_path))
    assert type(loaded) is keras_hub.models.CLIPBackbone
    assert type(loaded.vision_encoder) is ResNetVisionEncoder
    assert loaded.vision_encoder.get_config() == backbone.vision_encoder.get_config()
    np.testing.assert_array_equal(image_embeddings(loaded), image_embeddings(backbone))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 3}, "`width` must be an even int >= 2"),
        ({"head_dim": 48}, "`head_dim` must divide the 64 features"),
        ({"image_shape": (48, 48, 3)}, "`image_shape` must be square"),
        ({"image_shape": (64, 32, 3)}, "`image_shape` must be square"),
        ({"image_shape": (32, 32, 1)}, "`image_shape` must be square"),
    ],
)
def test_arguments_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        make_encoder(**settings)


def test_number_of_stages():
    with pytest.raises(ValueError, match="`stackwise_num_blocks` must be four ints >= 1"):
        ResNetVisionEncoder([1, 1, 1], width=2)
