"""SigLIP and MetaCLIP 2 of keras-hub behind CLIP's interface, with small random models."""

import io
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
from PIL import Image

from keras_cmm import CMMImageClassifier, clip
from keras_cmm.export import export_classifier
from keras_cmm_runtime import InputError, OnnxClassifier

pytestmark = [
    # keras-hub does not close the file of the vocabulary.
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    # The last text is longer than the context.
    pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off"),
]

SIDE = 32
TEXTS = ["A cat, and a Dog!", "", "  Two   dogs; one cat. ", "the cat " * 40]


@pytest.fixture(scope="module")
def sentence_pieces():
    """The bytes of a SentencePiece model, the vocabulary of both kinds."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat and a dog", "the cats", "two dogs one cat"] * 5),
        model_writer=model,
        vocab_size=40,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def save_small_model(folder, kind, sentence_pieces, preprocessor, converter, **settings):
    """Saves a preset of a kind of model, such as "SigLIP", with random weights."""
    models = keras_hub.models
    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": 24, "num_layers": 2, "num_heads": 2, "intermediate_dim": 40}
    vision = getattr(models, f"{kind}VisionEncoder")(
        patch_size=8, image_shape=(SIDE, SIDE, 3), **sizes
    )
    text = getattr(models, f"{kind}TextEncoder")(
        vocabulary_size=60, embedding_dim=24, max_sequence_length=16, **sizes
    )
    converter = getattr(keras_hub.layers, f"{kind}ImageConverter")(
        image_size=(SIDE, SIDE), interpolation="bicubic", **converter
    )
    tokenizer = getattr(models, f"{kind}Tokenizer")(proto=sentence_pieces)
    getattr(models, f"{kind}Backbone")(vision, text, **settings).save_to_preset(str(folder))
    getattr(models, preprocessor)(tokenizer, converter, sequence_length=16).save_to_preset(
        str(folder)
    )
    return folder


@pytest.fixture(scope="module")
def siglip_preset(sentence_pieces, tmp_path_factory):
    converter = {"scale": 1 / 127.5, "offset": -1.0, "crop_to_aspect_ratio": False}
    return save_small_model(
        tmp_path_factory.mktemp("siglip"),
        "SigLIP",
        sentence_pieces,
        "SigLIPPreprocessor",
        converter,
    )


@pytest.fixture(scope="module")
def metaclip_preset(sentence_pieces, tmp_path_factory):
    return save_small_model(
        tmp_path_factory.mktemp("metaclip"),
        "MetaCLIP2",
        sentence_pieces,
        "MetaCLIP2CausalLMPreprocessor",
        {"scale": 1 / 255},
        projection_dim=20,
    )


@pytest.fixture(params=["siglip_preset", "metaclip_preset"])
def preset(request):
    return request.getfixturevalue(request.param)


def picture(width, height):
    rng = np.random.default_rng(width)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype="uint8"))


def test_tokens_are_those_of_keras_hubs_preprocessor(preset):
    kind = type(clip.make_preprocessor(clip.load(preset)))
    theirs = kind.from_preset(str(preset))
    # MetaCLIP 2 was trained on texts as they are; keras-hub lowercases them.
    theirs.to_lower = False
    images = np.zeros((len(TEXTS), SIDE, SIDE, 3), dtype="float32")
    expected = theirs({"images": images, "prompts": TEXTS})["token_ids"]
    ids = clip.TextEmbedder(clip.load(preset)).encoder.token_ids(TEXTS)
    np.testing.assert_array_equal(ids, keras.ops.convert_to_numpy(expected))


def test_texts_that_are_cut_are_told(preset):
    embedder = clip.TextEmbedder(clip.load(preset))
    with pytest.warns(UserWarning, match="1 of 4 texts is longer than the 16 tokens"):
        embedder.encoder.token_ids(TEXTS)


def test_embeddings_are_the_backbones(preset):
    model = clip.load(preset)
    texts = clip.TextEmbedder(model, batch_size=2).embed(TEXTS)
    ids = clip.TextEmbedder(model).encoder.token_ids(TEXTS)
    expected = keras.ops.convert_to_numpy(model.backbone.get_text_embeddings(ids))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(texts, expected, atol=1e-5)
    images = clip.ImageEmbedder(model).embed([picture(50, 40)]).embeddings
    assert images.shape == (1, model.backbone.projection_dim)
    assert np.linalg.norm(images) == pytest.approx(1)


def test_siglip_squeezes_images(siglip_preset):
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    theirs = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=3)
    ours = clip.ImageEmbedder(clip.load(siglip_preset)).preprocessor
    for size in ((50, 40), (20, 90), (SIDE, SIDE), (1, 1)):
        image = picture(*size)
        expected = theirs(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(ours(image), expected)


def test_logit_scale_is_the_heads(preset):
    backbone = clip.load(preset).backbone
    layer = next(layer for layer in backbone.layers if layer.name.endswith("_head"))
    layer.logit_scale.assign(np.log(20.0))
    assert clip.logit_scale(backbone) == pytest.approx(20.0)


def test_classifier_is_saved_and_loaded(preset, tmp_path):
    images = [picture(40, 40), picture(41, 40)]
    classifier = CMMImageClassifier.from_preset(preset, class_names=["cat", "dog"])
    classifier.fit(images, ["cat", "dog"], epochs=2, verbose=0)
    classifier.save_to_preset(str(tmp_path))
    again = CMMImageClassifier.from_preset(tmp_path)
    np.testing.assert_allclose(again.predict(images), classifier.predict(images), atol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        "tiny_preset",
        pytest.param("siglip_preset", marks=pytest.mark.nightly),
        pytest.param("metaclip_preset", marks=pytest.mark.nightly),
    ],
)
def test_keras_file_needs_no_more_than_the_import_of_the_package(kind, request, tmp_path):
    preset = request.getfixturevalue(kind)
    classifier = CMMImageClassifier.from_preset(preset, class_names=["cat", "dog"])
    classifier.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, keras_cmm\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "assert isinstance(model, keras_cmm.CMMImageClassifier)\n"
        "print(type(model).__name__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")], capture_output=True, text=True
    )
    assert ran.stdout.strip() == type(classifier).__name__, ran.stderr


def test_converted_preset_is_the_same_model(preset, tmp_path):
    model = clip.load(preset)
    clip.save_preset(model, tmp_path)
    again = clip.load(tmp_path)
    embeddings = [clip.TextEmbedder(each).embed(TEXTS) for each in (model, again)]
    np.testing.assert_array_equal(*embeddings)


def test_text_tower_ends_with_the_epsilon_of_clip(tiny_model, tiny_preset):
    theirs = keras_hub.models.CLIPBackbone.from_preset(str(tiny_preset))
    assert clip.prepare_backbone(theirs) is theirs
    assert theirs.text_encoder.layer_norm.epsilon == 1e-5
    assert tiny_model.backbone.text_encoder.layer_norm.epsilon == 1e-5


def test_backbone_of_no_kind_of_clip():
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8
    )
    with pytest.raises(InputError, match="Received: a ViTBackbone"):
        clip.prepare_backbone(backbone)


def test_constructor_names_from_preset_for_other_kinds(siglip_preset):
    model = clip.load(siglip_preset)
    with pytest.raises(ValueError, match=r"use `CMMImageClassifier\.from_preset`"):
        CMMImageClassifier(model.backbone, ["cat", "dog"])


def test_the_classifier_is_exported(preset, tmp_path):
    images = [picture(40, 40), picture(41, 90)]
    classifier = CMMImageClassifier.from_preset(preset, class_names=["cat", "dog"])
    classifier.fit(images, ["cat", "dog"], epochs=2, verbose=0)
    classifier.export(tmp_path / "model.onnx", verbose=False)
    exported = OnnxClassifier(tmp_path / "model.onnx").predict(images)
    np.testing.assert_allclose(exported, classifier.predict(images), atol=1e-3)
    parity = export_classifier(classifier, tmp_path / "model.pt2", "torch", images=images)
    assert parity.same_top_1 == len(images)
