"""An image encoder without texts beside a CLIP."""

import keras
import numpy as np
import pytest
from fixtures.varied_images import varied_images
from open_clip_folders import import_or_skip

transformers = import_or_skip("transformers")
torch = import_or_skip("torch")

from keras_cmm import CMMImageClassifier, clip  # noqa: E402

NAMES = ["ant", "bee"]


@pytest.fixture
def dino(tmp_path):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "dinov2",
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=56,
        patch_size=14,
    )
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "dino")
    transformers.BitImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 42, "width": 42}
    ).save_pretrained(tmp_path / "dino")
    return tmp_path / "dino"


def test_a_classifier_of_both(tiny_preset, dino, tmp_path):
    pictures = [picture.convert("RGB") for picture in varied_images()[:8]]
    labels = [0, 1] * 4
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, also=dino)
    assert model.head.also_dim == 32
    model.fit(pictures, labels, epochs=2, verbose=0)
    of_dino = clip.ImageEmbedder(clip.load(dino)).embed(pictures).embeddings
    np.testing.assert_allclose(model.embed(pictures)[:, -32:], of_dino, atol=1e-6)
    model.head.mapping.also_weight.assign(0.5)
    logits = model.predict(pictures)
    model.save_to_preset(tmp_path / "folder")
    model.save(tmp_path / "model.keras")
    for again in (
        CMMImageClassifier.from_preset(tmp_path / "folder"),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        np.testing.assert_allclose(again.predict(pictures), logits, atol=1e-4)
        assert float(again.head.mapping.also_weight) == 0.5
