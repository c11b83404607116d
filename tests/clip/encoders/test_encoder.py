"""An encoder of one's own, which has what the protocol says and nothing else."""

import numpy as np
import pytest
from PIL import Image

from keras_cmm import clip
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.unit_rows import unit_rows

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColourEncoder:
    """Embeds an image as its mean colour, and a text as the colour that it names."""

    dim = 3
    logit_scale = 10.0
    on_cpu = True

    def __init__(self, version=1):
        self.preprocessor = clip.ImagePreprocessor(image_size=8)
        self.version = version
        self.batches = []

    def embed_pixels(self, pixels):
        self.batches.append(len(pixels))
        return unit_rows(pixels.mean(axis=(1, 2)).astype("float32"))

    def embed_texts(self, texts, batch_size):
        named = [next(c for name, c in COLOURS.items() if name in text) for text in texts]
        return unit_rows(np.array(named, dtype="float32"))

    def digest(self):
        return {"colours": self.version}


class WithoutTexts(ColourEncoder):
    logit_scale = None
    embed_texts = None


@pytest.fixture
def images():
    return [Image.new("RGB", (9, 7), colour) for colour in COLOURS.values()]


def test_its_images_and_texts_agree(images):
    encoder = ColourEncoder()
    embedded = clip.ImageEmbedder(encoder, batch_size=2).embed(images)
    assert encoder.batches == [2, 1]
    texts = clip.TextEmbedder(encoder).class_prototypes([[f"a {name} one"] for name in COLOURS])
    np.testing.assert_allclose(embedded.embeddings, texts, atol=1e-6)


def test_its_digest_keeps_embeddings_apart(images, tmp_path):
    store = clip.EmbeddingStore(tmp_path)
    for version, embedded in ((1, [3]), (1, []), (2, [3])):
        encoder = ColourEncoder(version)
        clip.ImageEmbedder(encoder, store=store).embed(images)
        assert encoder.batches == embedded


def test_without_a_text_tower(images):
    assert clip.ImageEmbedder(WithoutTexts()).embed(images).embeddings.shape == (3, 3)
    with pytest.raises(InputError, match="must have a text tower"):
        clip.TextEmbedder(WithoutTexts())


def test_its_dtype_is_its_own():
    with pytest.raises(ValueError, match="`dtype` must be None for an encoder"):
        clip.ImageEmbedder(ColourEncoder(), dtype="float16")


def test_a_model_of_keras_hub_is_one(tiny_model):
    encoder = clip.KerasHubEncoder(tiny_model)
    assert encoder.dim == tiny_model.backbone.projection_dim
    assert encoder.logit_scale == clip.logit_scale(tiny_model.backbone)
    assert encoder.digest().keys() == {"backend", "dtype", "architecture", "weights"}
    assert encoder.embed_texts([], 4).shape == (0, encoder.dim)
