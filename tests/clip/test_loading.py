import json

import keras
import numpy as np
import pytest
from tiny_clip import DIM, make_tiny_backbone

from keras_cmm import CMMImageClassifier, clip
from keras_cmm_runtime.errors import InputError


def test_loads_a_preset_folder(tiny_preset):
    model = clip.load(tiny_preset)
    expected = make_tiny_backbone()
    assert model.backbone.projection_dim == DIM
    for ours, theirs in zip(model.backbone.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )
    assert model.tokenizer("a cat").tolist()[-1] == model.tokenizer.token_to_id("at</w>")
    assert model.image_converter.image_size == (32, 32)


def test_dtype_of_the_backbone(tiny_preset):
    exact = clip.load(tiny_preset).backbone
    backbone = clip.load(tiny_preset, dtype="bfloat16").backbone
    # keras-hub itself leaves the towers in float32.
    for part in (backbone, backbone.vision_encoder, backbone.text_encoder):
        assert part.compute_dtype == "bfloat16"
    for weight, value in zip(backbone.weights, exact.weights, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32")),
            keras.ops.convert_to_numpy(value),
            rtol=2**-8,
        )


def test_logit_scale_is_what_the_backbone_multiplies_by(tiny_preset):
    backbone = clip.load(tiny_preset).backbone
    backbone.clip_head.logit_scale.assign(np.log(50.0))
    assert clip.logit_scale(backbone) == pytest.approx(50.0)


def test_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        clip.load(tmp_path)


@pytest.mark.parametrize("source", ["no_such_preset", "./no/such/folder"])
def test_unknown_preset(source):
    with pytest.raises(InputError, match="no preset of that name and no such folder") as caught:
        clip.load(source)
    assert "\n" not in str(caught.value)


def test_preset_of_another_model(tiny_preset, tmp_path):
    import keras_hub

    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8
    )
    backbone.save_to_preset(str(tmp_path))
    with pytest.raises(InputError):
        clip.load(tmp_path)


def test_damaged_preset(tiny_preset, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"class_name": "Nonsense"}))
    with pytest.raises(InputError, match="cannot be loaded"):
        clip.load(tmp_path)


def test_channels_first(tiny_preset, tmp_path):
    CMMImageClassifier.from_preset(tiny_preset, ["cat", "dog"]).save_to_preset(str(tmp_path))
    keras.config.set_image_data_format("channels_first")
    try:
        for load, source in ((clip.load, tiny_preset), (CMMImageClassifier.from_preset, tmp_path)):
            with pytest.raises(
                InputError, match=r"Received: 'channels_first'; change it in .*keras\.json"
            ):
                load(source)
    finally:
        keras.config.set_image_data_format("channels_last")
