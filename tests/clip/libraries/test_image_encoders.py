"""Image encoders without texts: compares with timm and transformers themselves."""

import json

import numpy as np
import pytest
from fixtures.varied_images import varied_images
from open_clip_folders import import_or_skip

timm = import_or_skip("timm")
transformers = import_or_skip("transformers")
torch = import_or_skip("torch")

from keras_cmm import CMMImageClassifier, clip  # noqa: E402
from keras_cmm_runtime.errors import InputError  # noqa: E402


@pytest.fixture(scope="module")
def pictures():
    return [picture.convert("RGB") for picture in varied_images()]


def shaken(module):
    torch.manual_seed(0)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor) * 0.02)
    return module.eval()


def assert_same(folder, pictures, pixels, expected, tmp_path):
    model = clip.load(folder)
    embedder = clip.ImageEmbedder(model)
    ours = np.stack([embedder.preprocessor(picture) for picture in pictures])
    np.testing.assert_allclose(ours, pixels.permute(0, 2, 3, 1), rtol=0, atol=1e-6)
    unit = torch.nn.functional.normalize(expected, dim=1).numpy()
    embeddings = embedder.embed(pictures).embeddings
    np.testing.assert_allclose(embeddings, unit, rtol=0, atol=1e-5)
    assert unit.std(axis=0).max() > 1e-3
    clip.save_preset(model, tmp_path / "preset")
    again = clip.ImageEmbedder(clip.load(tmp_path / "preset"))
    np.testing.assert_array_equal(again.embed(pictures).embeddings, embeddings)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_timm(name, pictures, tmp_path):
    theirs = shaken(timm.create_model(name, num_classes=5))
    settings = theirs.pretrained_cfg | {"crop_pct": 0.875, "interpolation": "bicubic"}
    folder = tmp_path / "model"
    # timm writes a folder only when it pushes one.
    folder.mkdir()
    from safetensors.torch import save_file

    save_file(theirs.state_dict(), folder / "model.safetensors")
    keys = ("input_size", "interpolation", "crop_pct", "mean", "std", "classifier")
    config = {
        "architecture": name,
        "num_classes": 5,
        "pretrained_cfg": {key: settings[key] for key in keys},
    }
    (folder / "config.json").write_text(json.dumps(config))
    data = timm.data.resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"])
    pixels = torch.stack([timm.data.create_transform(**data)(each) for each in pictures])
    with torch.inference_mode():
        expected = theirs.forward_head(theirs.forward_features(pixels), pre_logits=True)
    assert_same(folder, pictures, pixels, expected, tmp_path)


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers", "dinov3_vit"])
def test_transformers(kind, pictures, tmp_path):
    config = transformers.AutoConfig.for_model(
        kind,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=56,
        patch_size=14,
    )
    theirs = shaken(transformers.AutoModel.from_config(config))
    folder = tmp_path / "model"
    theirs.save_pretrained(folder)
    settings = {
        "do_center_crop": True,
        "crop_size": {"height": 42, "width": 42},
        "size": {"shortest_edge": 48},
        "resample": 3,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "image_processor_type": "BitImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    processor = BitImageProcessorPil(
        **{name: value for name, value in settings.items() if "type" not in name}
    )
    pixels = torch.tensor(np.stack(processor(pictures)["pixel_values"]))
    with torch.inference_mode():
        expected = theirs(pixel_values=pixels).pooler_output
    assert_same(folder, pictures, pixels, expected, tmp_path)
    with pytest.raises(InputError, match="no text tower; give it as the second tower beside"):
        CMMImageClassifier.from_preset(folder, class_names=["cat", "dog"])
    encoder = clip.KerasHubEncoder(clip.load(folder))
    assert encoder.embed_texts is None
    assert encoder.logit_scale is None
    with pytest.raises(InputError, match="must have a text tower"):
        clip.TextEmbedder(encoder)
