"""Image encoders of transformers: compares with its own models and image processors."""

import json

import numpy as np
import pytest
from fixtures.varied_images import varied_images
from open_clip_folders import import_or_skip
from PIL import Image

transformers = import_or_skip("transformers")
processors = import_or_skip("transformers.models.auto.image_processing_auto")
torch = import_or_skip("torch")

from keras_cmm import CMMImageClassifier, clip  # noqa: E402
from keras_cmm.clip.libraries.torch_tower import lay_out_by_pixels  # noqa: E402
from keras_cmm_runtime.errors import InputError  # noqa: E402

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 42,
    "patch_size": 14,
}
CONFIGS = {
    "dinov2": VIT | {"image_size": 56},
    "dinov2_with_registers": VIT | {"image_size": 56},
    "dinov3_vit": VIT,
    "dinov3_convnext": {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]},
    "vit": VIT,
    "swin": {
        "image_size": 32,
        "patch_size": 2,
        "embed_dim": 12,
        "window_size": 4,
        "depths": [1, 1],
        "num_heads": [2, 2],
    },
    "convnext": {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]},
    "resnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 1],
        "layer_type": "basic",
    },
}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STATISTICS = {"image_mean": MEAN, "image_std": STD}
CROP = {
    **STATISTICS,
    "image_processor_type": "BitImageProcessor",
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 42, "width": 42},
    "size": {"shortest_edge": 48},
}
# As the repositories of DINOv3 have it.
DINO_3 = {
    **STATISTICS,
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "do_center_crop": None,
    "resample": 2,
    "size": {"height": 42, "width": 42},
}
PROCESSORS = {
    "dinov2": CROP,
    "dinov2_with_registers": CROP,
    "dinov3_vit": DINO_3,
    "dinov3_convnext": DINO_3 | {"size": {"height": 64, "width": 64}},
    # All else are defaults of the class.
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 42, "width": 42}},
    "swin": {"feature_extractor_type": "ViTFeatureExtractor", "size": 32},
    "convnext": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 48},
        **STATISTICS,
    },
    "resnet": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 40},
        "crop_pct": 0.9,
    },
}


def make(kind, folder):
    """Writes a model with random weights and its image settings; returns the model."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **CONFIGS[kind])
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor).abs() * 0.1)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[kind]))
    return model


def squeezed(picture, settings):
    """What DINOv3's processor does, whose own code needs a torchvision."""
    size = settings["size"]["height"]
    values = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)) / 255
    return torch.tensor(((values - MEAN) / STD).transpose(2, 0, 1), dtype=torch.float32)


@pytest.mark.parametrize("kind", CONFIGS)
def test_embeddings_are_those_of_transformers(kind, tmp_path):
    theirs = make(kind, tmp_path / "model")
    pictures = [picture.convert("RGB") for picture in varied_images()]
    settings = PROCESSORS[kind]
    if kind.startswith("dinov3"):
        pixels = torch.stack([squeezed(picture, settings) for picture in pictures])
    else:
        folder = tmp_path / "model"
        processor = processors.AutoImageProcessor.from_pretrained(folder, backend="pil")
        pixels = torch.tensor(np.stack(processor(pictures)["pixel_values"]))
    with torch.inference_mode():
        expected = theirs(pixel_values=pixels).pooler_output.flatten(1)
    unit = torch.nn.functional.normalize(expected, dim=1).numpy()
    model = clip.load(tmp_path / "model")
    embedder = clip.ImageEmbedder(model)
    ours = np.stack([embedder.preprocessor(picture) for picture in pictures])
    np.testing.assert_allclose(ours, pixels.permute(0, 2, 3, 1), rtol=0, atol=1e-6)
    embeddings = embedder.embed(pictures).embeddings
    np.testing.assert_allclose(embeddings, unit, rtol=0, atol=1e-5)
    assert unit.std(axis=0).max() > 1e-3
    clip.save_preset(model, tmp_path / "preset")
    again = clip.ImageEmbedder(clip.load(tmp_path / "preset"))
    np.testing.assert_array_equal(again.embed(pictures).embeddings, embeddings)


def test_weights_laid_out_for_a_gpu_are_the_same_weights(tmp_path):
    make("resnet", tmp_path / "model")
    model = clip.load(tmp_path / "model")
    digest = clip.KerasHubEncoder(model).digest()
    pictures = [picture.convert("RGB") for picture in varied_images()[:2]]
    before = clip.ImageEmbedder(model).embed(pictures).embeddings
    lay_out_by_pixels(model.backbone.tower.module)
    kernels = [weight.value for weight in model.backbone.weights if len(weight.shape) == 4]
    assert not all(kernel.is_contiguous() for kernel in kernels)
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert clip.KerasHubEncoder(model).digest() == digest
    after = clip.ImageEmbedder(model).embed(pictures).embeddings
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The folder of a ViT for classification, which has no pooling layer."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model("vit", **VIT)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS["vit"]))
    return folder


def test_a_model_without_its_pooling_layer_gives_its_class_token(classifier):
    picture = varied_images()[0].convert("RGB")
    embedder = clip.ImageEmbedder(clip.load(classifier))
    model = transformers.ViTModel.from_pretrained(classifier, add_pooling_layer=False).eval()
    pixels = torch.tensor(embedder.preprocessor(picture).transpose(2, 0, 1))[None]
    with torch.inference_mode():
        token = model(pixel_values=pixels).last_hidden_state[:, 0]
    unit = torch.nn.functional.normalize(token, dim=1).numpy()
    np.testing.assert_allclose(embedder.embed([picture]).embeddings, unit, rtol=0, atol=1e-5)


def test_it_has_no_texts(classifier):
    with pytest.raises(InputError, match="no text tower; give it as the second tower beside"):
        CMMImageClassifier.from_preset(classifier, class_names=["cat", "dog"])
    encoder = clip.KerasHubEncoder(clip.load(classifier))
    assert encoder.embed_texts is None
    assert encoder.logit_scale is None
    with pytest.raises(InputError, match="must have a text tower"):
        clip.TextEmbedder(encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": {"height": 28, "width": 28}}, "cannot embed images of 28 pixels alone"),
        ({"size": {"height": 28, "width": 42}}, "must be square"),
        ({"size": {"shortest_edge": 42}}, "makes images that are not square"),
        ({"size": {"longest_edge": 42}}, "size.height and size.width, or by size.shortest_edge"),
        ({"size": {"shortest_edge": 32, "longest_edge": 42}}, "size.height and size.width"),
        ({"do_center_crop": True, "crop_size": {"height": 28, "width": 28}}, "then cropped to 28"),
        ({"do_resize": False}, "does not resize images"),
        ({"resample": 5}, "does not say how images are resized"),
        ({"do_rescale": False}, "does more than to resize"),
        (
            {"image_processor_type": "MobileViTImageProcessor", "crop_size": 42},
            "MobileViTImageProcessor does more than to resize",
        ),
    ],
)
def test_image_settings_that_cannot_be_used(classifier, tmp_path, change, message):
    for path in classifier.iterdir():
        (tmp_path / path.name).symlink_to(path)
    settings = tmp_path / "preprocessor_config.json"
    settings.unlink()
    settings.write_text(json.dumps(PROCESSORS["vit"] | change))
    with pytest.raises(InputError, match=message) as caught:
        clip.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_that_masks_at_random(tmp_path):
    config = transformers.AutoConfig.for_model("vit_mae", **VIT)
    transformers.ViTMAEModel(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSORS["vit"]))
    with pytest.raises(InputError, match="masks parts of it at random"):
        clip.load(tmp_path)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({"model_type": "wav2vec2"}, {"feature_size": 1, "sampling_rate": 16000}),
        ({"model_type": "blip", "text_config": {}}, PROCESSORS["vit"]),
    ],
)
def test_sounds_and_models_of_texts_are_refused(tmp_path, config, settings):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="or an image encoder with its preprocessor_config"):
        clip.load(tmp_path)
