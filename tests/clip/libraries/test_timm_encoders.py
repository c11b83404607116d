"""Image encoders of timm: compares with timm itself."""

import json

import numpy as np
import pytest
from fixtures.varied_images import varied_images
from open_clip_folders import import_or_skip

timm = import_or_skip("timm")
torch = import_or_skip("torch")

from keras_cmm import clip  # noqa: E402


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
