"""Compares with results of OpenCLIP that `tests/fixtures/make_open_clip_fixtures.py` recorded."""

import json
import tarfile
import unicodedata

import keras
import numpy as np
import PIL
import pytest
from fixtures.varied_images import model_images, varied_images
from paths import FIXTURES

from keras_cmm import clip
from keras_cmm.clip.inputs.bpe_tokenizer import openai_tokenizer
from keras_cmm.clip.inputs.tokenization import tokenize

# Some texts are longer than the context, to compare how they are cut.
pytestmark = pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off")
RECORDED = FIXTURES / "open_clip"
SIZE = 32
MODELS = (
    "vit_gelu",
    "vit_quick_gelu",
    # JAX compiles every new shape for seconds, so one is enough on all backends.
    pytest.param("resnet_quick_gelu", marks=pytest.mark.backend_neutral),
    "resnet_deep",
)


@pytest.fixture(scope="module", params=MODELS)
def recorded(request, tmp_path_factory):
    """The folder of a model as OpenCLIP saves it, and what OpenCLIP computed with it."""
    folder = tmp_path_factory.mktemp(request.param)
    with tarfile.open(RECORDED / f"{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with np.load(folder / "expected.npz") as expected:
        return folder, dict(expected)


@pytest.fixture(scope="module")
def texts():
    return json.loads((RECORDED / "tokens.json").read_text(encoding="utf-8"))


def test_embeddings(recorded):
    folder, expected = recorded
    backbone = clip.load(folder).backbone
    images = model_images(len(expected["image_embeddings"]), backbone.vision_encoder.image_shape[0])
    token_ids = keras.ops.convert_to_tensor(expected["token_ids"], dtype="int32")
    for name, ours in (
        ("image_embeddings", backbone.get_vision_embeddings(keras.ops.convert_to_tensor(images))),
        ("text_embeddings", backbone.get_text_embeddings(token_ids)),
    ):
        # Entries are as large as 8, and OpenCLIP's float32 differs from its float64 by 3e-6.
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), expected[name], rtol=1e-5, atol=1e-5
        )
    assert clip.logit_scale(backbone) == pytest.approx(expected["logit_scale"])


def test_unit_embeddings_of_texts(recorded, texts):
    folder, expected = recorded
    rows = expected["text_embeddings"]
    ours = clip.TextEmbedder(clip.load(folder)).embed([text for text, _ in texts["padded"]])
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(ours, unit, rtol=0, atol=1e-6)


def test_tokens(texts):
    untouched = [
        (text, ids)
        for text, repaired, ids in texts["texts"]
        if repaired == " ".join(unicodedata.normalize("NFC", text).split()).lower()
    ]
    assert len(untouched) > 100
    assert_tokens(untouched)


def test_tokens_of_texts_that_open_clip_repairs(texts):
    # OpenCLIP first repairs wrong decoding, curly quotes, ligatures and HTML entities. We do as
    # transformers does, which repairs nothing. There is no other difference.
    assert_tokens([(repaired, ids) for _, repaired, ids in texts["texts"]])


def assert_tokens(texts):
    ours = openai_tokenizer()([text for text, _ in texts])
    for (text, expected), ids in zip(texts, ours, strict=True):
        assert [int(number) for number in ids] == expected, text


def test_padding_and_truncation(texts):
    expected = [ids for _, ids in texts["padded"]]
    ours = tokenize(openai_tokenizer(), [text for text, _ in texts["padded"]], len(expected[0]))
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="the pixels are those of Pillow 13"
)
def test_pixels():
    preprocess = clip.ImagePreprocessor(image_size=SIZE)
    with np.load(RECORDED / "pixels.npz") as content:
        recorded = content["pixels"]
    images = varied_images()
    assert len(images) >= 20
    shifts = []
    for image, expected in zip(images, recorded, strict=True):
        ours = preprocess.pixels(image)
        shift = torchvision_shift(image)
        along = 1 if image.width > image.height else 0
        kept = [slice(None)] * 2
        kept[along] = slice(shift, None)
        moved = [slice(None)] * 2
        moved[along] = slice(None, SIZE - shift)
        np.testing.assert_array_equal(ours[tuple(kept)], expected[tuple(moved)], str(image.size))
        shifts.append(shift)
    assert 0 < sum(shifts) < 6


def torchvision_shift(image):
    """Returns how many pixels further OpenCLIP crops: 1 if half of the margin is 1.5 or 3.5.

    torchvision rounds half of the margin to the even number. transformers and we round it down.
    """
    margin = int(SIZE * max(image.size) / min(image.size)) - SIZE
    return round(margin / 2) - margin // 2


def test_normalized_pixels():
    preprocess = clip.ImagePreprocessor(image_size=SIZE)
    with np.load(RECORDED / "pixels.npz") as content:
        normalized = content["normalized"]
    for image, expected in zip(varied_images(), normalized, strict=False):
        np.testing.assert_array_equal(preprocess(image), expected)
