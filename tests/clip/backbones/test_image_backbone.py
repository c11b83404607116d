"""DINOv2 and DINOv3 of keras-hub: compares with transformers, from whose weights they are made."""

import json

import keras
import keras_hub
import numpy as np
import pytest
import torch
import transformers
from fixtures.varied_images import varied_images

from keras_cmm import CMMImageClassifier, clip
from keras_cmm.models import cmm_image_classifier
from keras_cmm_runtime.errors import InputError

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINDS = {
    "dinov2": {"mlp_ratio": 2},
    "dinov2_with_registers": {"mlp_ratio": 2, "num_register_tokens": 3, "use_swiglu_ffn": True},
    "dinov3_vit": {"intermediate_size": 48, "use_gated_mlp": True, "num_register_tokens": 2},
}


def make(kind, folder, image_size):
    """Writes a model of transformers, and what keras-hub saves of it; returns the model."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES, **KINDS[kind])
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    model.save_pretrained(folder / "theirs")
    backbone = keras_hub.models.Backbone.from_preset(str(folder / "theirs"))
    backbone.save_to_preset(str(folder / "preset"))
    name = type(backbone).__name__.replace("Backbone", "ImageConverter")
    getattr(keras_hub.layers, name)(
        image_size=(image_size, image_size),
        scale=[1 / (255 * each) for each in STD],
        offset=[-mean / std for mean, std in zip(MEAN, STD, strict=True)],
        interpolation="bicubic",
        antialias=True,
    ).save_to_preset(str(folder / "preset"))
    return model


@pytest.mark.parametrize(("kind", "image_size"), [*((each, 56) for each in KINDS), ("dinov2", 42)])
def test_embeddings_are_those_of_transformers(kind, image_size, tmp_path):
    theirs = make(kind, tmp_path, image_size)
    model = clip.load(tmp_path / "preset")
    embedder = clip.ImageEmbedder(model)
    pictures = [picture.convert("RGB") for picture in varied_images()[:4]]
    pixels = np.stack([embedder.preprocessor(picture) for picture in pictures])
    with torch.inference_mode():
        rows = theirs(torch.tensor(pixels.transpose(0, 3, 1, 2))).pooler_output
    unit = torch.nn.functional.normalize(rows, dim=1).numpy()
    ours = embedder.embed(pictures).embeddings
    assert pixels.shape[1] == image_size
    np.testing.assert_allclose(ours, unit, rtol=0, atol=1e-5)
    assert unit.std(axis=0).max() > 1e-2
    if keras.backend.backend() == "torch":
        by_onnx = clip.ImageEmbedder(model, engine="onnx").embed(pictures).embeddings
        np.testing.assert_allclose(by_onnx, ours, rtol=0, atol=1e-5)
    assert model.tokenizer is None
    assert embedder.encoder.embed_texts is None
    clip.save_preset(model, tmp_path / "again")
    again = clip.ImageEmbedder(clip.load(tmp_path / "again"))
    np.testing.assert_array_equal(again.embed(pictures).embeddings, ours)
    config = keras.saving.serialize_keras_object(model.backbone)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert rebuilt.get_config() == model.backbone.get_config()


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino")
    make("dinov3_vit", folder, 56)
    return folder / "preset"


def test_the_second_encoder_of_a_classifier(preset, tiny_preset, tmp_path):
    # What another process imports, to load it.
    assert cmm_image_classifier.ImageBackbone
    pictures = [picture.convert("RGB") for picture in varied_images()[:4]]
    model = CMMImageClassifier.from_preset(tiny_preset, ["ant", "bee"], also=preset)
    model.fit(pictures, ["ant", "bee"] * 2, epochs=1, verbose=0)
    of_dino = clip.ImageEmbedder(clip.load(preset)).embed(pictures).embeddings
    np.testing.assert_allclose(model.embed(pictures)[:, -24:], of_dino, atol=1e-6)
    model.head.mapping.also_weight.assign(0.5)
    model.save_to_preset(tmp_path / "model")
    again = CMMImageClassifier.from_preset(tmp_path / "model")
    np.testing.assert_allclose(again.predict(pictures), model.predict(pictures), atol=1e-4)


def test_it_alone_makes_no_classifier(preset):
    with pytest.raises(InputError, match="give it as the second tower beside a CLIP"):
        CMMImageClassifier.from_preset(preset, ["ant", "bee"])


def test_half_precision(preset):
    pixels = np.random.default_rng(0).normal(size=(2, 56, 56, 3)).astype("float32")
    rows = [
        keras.ops.convert_to_numpy(
            keras.ops.cast(clip.load(preset, dtype).backbone(pixels), "float32")
        )
        for dtype in (None, "bfloat16")
    ]
    assert 0 < np.abs(rows[0] - rows[1]).max() < 0.2


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"num_layers": 10**9}, "do not belong together"),
        ("config.json", {"num_layers": 1}, "do not belong together"),
        ("config.json", {"hidden_dim": "wide"}, "hidden_dim='wide'"),
        ("image_converter.json", {"image_size": [50, 50]}, "that patches of 14 pixels fill"),
        ("image_converter.json", {"image_size": None}, "must make square images"),
    ],
)
def test_files_that_do_not_fit(preset, tmp_path, file, change, message):
    for path in preset.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = json.loads((tmp_path / file).read_text())
    content["config"] |= change
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        clip.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_encoder_is_refused():
    from keras_cmm.clip.backbones.image_backbone import ImageBackbone

    with pytest.raises(InputError, match="must be one of DINOV2Backbone, DINOV3Backbone"):
        ImageBackbone(keras.layers.Dense(2))
