"""SigLIP, SigLIP 2 and MetaCLIP 2 as transformers saves them, against transformers itself."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers_clip import lie, pictures, refused
from transformers_families import (
    SIDE,
    change_json,
    metaclip_2_embeddings,
    save_metaclip_2,
    save_siglip,
    save_siglip_2,
    siglip_embeddings,
)

from keras_cmm import CMMImageClassifier, clip

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off"),
    # keras-hub does not close the file of the vocabulary.
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
TEXTS = ["a cat", "", "the Dog, and a CAT!", "naïve 🐈 café ΣΑΣ", "  two   dogs ", "x" * 100]
KINDS = {
    "siglip": (save_siglip, siglip_embeddings, {}),
    "siglip with gelu and bilinear": (
        save_siglip,
        siglip_embeddings,
        {"activation": "gelu", "resample": 2},
    ),
    "siglip_2": (save_siglip_2, siglip_embeddings, {}),
    "siglip_2 with tokenizer.model": (save_siglip_2, siglip_embeddings, {"keep_proto": True}),
    "metaclip_2": (save_metaclip_2, metaclip_2_embeddings, {}),
    "metaclip_2 with gelu and a model of pieces": (
        save_metaclip_2,
        metaclip_2_embeddings,
        {"activation": "gelu", "keep_proto": True},
    ),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Returns folder and model of a kind. Tests must not change them."""
    made = {}

    def get(kind):
        if kind not in made:
            save, _, settings = KINDS[kind]
            folder = tmp_path_factory.mktemp("model")
            made[kind] = folder, save(folder, **settings)
        return made[kind]

    return get


@pytest.fixture
def copy_of(saved, tmp_path):
    return lambda kind: shutil.copytree(saved(kind)[0], tmp_path / "copy")


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_tokens_and_embeddings_are_those_of_transformers(saved, kind):
    folder, model = saved(kind)
    images, texts, pixels, token_ids = KINDS[kind][1](model, folder, pictures(), TEXTS)
    ours = clip.load(folder)
    image_embedder, text_embedder = clip.ImageEmbedder(ours), clip.TextEmbedder(ours)
    for picture, expected in zip(pictures(), pixels, strict=True):
        np.testing.assert_array_equal(image_embedder.preprocessor(picture), expected)
    np.testing.assert_array_equal(text_embedder.encoder.token_ids(TEXTS), token_ids)
    np.testing.assert_allclose(image_embedder.embed(pictures()).embeddings, images, atol=1e-5)
    np.testing.assert_allclose(text_embedder.embed(TEXTS), texts, atol=1e-5)
    assert clip.logit_scale(ours.backbone) == pytest.approx(model.logit_scale.exp().item())


@pytest.mark.parametrize("kind", ["siglip", "siglip_2", "metaclip_2"])
def test_presets_and_classifiers_keep_the_model(saved, kind, tmp_path):
    model = clip.load(saved(kind)[0])
    clip.save_preset(model, tmp_path / "preset")
    again = clip.load(tmp_path / "preset")
    embeddings = [clip.TextEmbedder(each).embed(TEXTS) for each in (model, again)]
    np.testing.assert_array_equal(*embeddings)
    classifier = CMMImageClassifier.from_preset(saved(kind)[0], class_names=["cat", "dog"])
    classifier.fit(pictures()[:2], ["cat", "dog"], epochs=2, verbose=0)
    classifier.save_to_preset(tmp_path / "classifier")
    loaded = CMMImageClassifier.from_preset(tmp_path / "classifier")
    expected = classifier.predict(pictures())
    np.testing.assert_allclose(loaded.predict(pictures()), expected, atol=1e-6)
    parts = loaded.backbone, loaded.preprocessor.tokenizer, loaded.preprocessor.image_converter
    texts = clip.TextEmbedder(clip.CLIPModel(*parts)).embed(TEXTS)
    np.testing.assert_array_equal(texts, embeddings[0])


@pytest.mark.parametrize("kind", ["siglip", "metaclip_2"])
def test_without_image_settings_they_are_the_familys(copy_of, kind):
    folder = copy_of(kind)
    (folder / "preprocessor_config.json").unlink()
    owner = "SigLIP" if kind == "siglip" else "OpenAI"
    with pytest.warns(UserWarning, match=f"so {owner}'s image settings are used"):
        ours = clip.ImageEmbedder(clip.load(folder)).preprocessor
    expected = clip.ImagePreprocessor(SIDE)
    if kind == "siglip":
        half = (0.5, 0.5, 0.5)
        expected = clip.ImagePreprocessor(SIDE, half, half, crop=False)
    np.testing.assert_allclose(ours(pictures()[0]), expected(pictures()[0]), atol=1e-6)


def test_what_a_siglip_image_processor_leaves_out(copy_of, saved):
    folder = copy_of("siglip")
    settings = {"image_processor_type": "SiglipImageProcessor", "do_center_crop": None}
    settings["size"] = {"height": SIDE, "width": SIDE}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    ours, expected = (
        clip.ImageEmbedder(clip.load(each)).preprocessor for each in (folder, saved("siglip")[0])
    )
    np.testing.assert_array_equal(ours(pictures()[0]), expected(pictures()[0]))


@pytest.mark.parametrize(
    ("kind", "section", "changes", "message"),
    [
        ("siglip", "text_config", {"hidden_act": "relu"}, r"hidden_act='relu'"),
        ("siglip", "vision_config", {"layer_norm_eps": 1e-5}, r"layer_norm_eps=1e-05"),
        ("siglip", "vision_config", {"num_channels": 1}, "num_channels=1"),
        ("siglip", "vision_config", {"vision_use_head": False}, "vision_use_head=False"),
        ("siglip", "vision_config", {"image_size": 32}, "but the model takes 32"),
        ("siglip", "vision_config", {"patch_size": 8}, "do not belong together"),
        ("siglip", "vision_config", {"num_hidden_layers": 1}, "tensors that SigLIP does not have"),
        ("siglip", "vision_config", {"num_hidden_layers": 10**9}, r"no tensor .*layers\.999999999"),
        ("siglip", "vision_config", {"hidden_size": 20}, "multiple of the number of attention"),
        (
            "siglip",
            "text_config",
            {"projection_size": 20},
            "length 20, and its images of length 24",
        ),
        ("siglip", "text_config", {"projection_size": "all"}, "must be an int >= 1"),
        ("siglip", "text_config", {"vocab_size": 10}, "its model only 10"),
        ("siglip", "text_config", {"vocab_size": 10**12}, "do not belong together"),
        ("siglip", "text_config", {"max_position_embeddings": 10**12}, "do not belong together"),
        ("metaclip_2", "text_config", {"eos_token_id": 49407}, "eos_token_id=49407"),
        ("metaclip_2", "text_config", {"vocab_size": 10**12}, "do not belong together"),
        ("metaclip_2", "vision_config", {"num_hidden_layers": 3}, r"no tensor .*layers\.2"),
        ("metaclip_2", "vision_config", {"num_hidden_layers": 1}, "that MetaCLIP 2 does not have"),
    ],
)
def test_configs_that_do_not_fit(copy_of, kind, section, changes, message):
    folder = copy_of(kind)
    change_json(folder / "config.json", section, **changes)
    refused(folder, message)


@pytest.mark.parametrize(
    ("name", "value"), [("add_bos_token", True), ("padding_side", "left"), ("do_lower_case", False)]
)
def test_a_tokenizer_that_does_otherwise_than_the_training(copy_of, name, value):
    folder = copy_of("siglip_2")
    change_json(folder / "tokenizer_config.json", **{name: value})
    refused(folder, f"{name}={value!r}")


@pytest.mark.parametrize("kind", ["siglip", "metaclip_2"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(copy_of, kind, value):
    folder = copy_of(kind)
    weights = load_file(folder / "model.safetensors")
    weights["vision_model.encoder.layers.1.mlp.fc1.bias"][3] = value
    save_file(weights, folder / "model.safetensors")
    refused(folder, "are not all finite numbers")


@pytest.mark.parametrize("kind", ["siglip", "metaclip_2"])
def test_damaged_weights(copy_of, kind):
    folder = copy_of(kind)
    lie(folder / "model.safetensors", lambda header: header["logit_scale"].update(shape=[10**18]))
    refused(folder, "cannot be read as safetensors")


@pytest.mark.parametrize("shape", [(3, 7), (71,), ()])
def test_a_pooling_of_another_shape(copy_of, shape):
    folder = copy_of("siglip")
    weights = load_file(folder / "model.safetensors")
    weights["vision_model.head.attention.in_proj_bias"] = torch.zeros(shape)
    save_file(weights, folder / "model.safetensors")
    refused(folder, "do not belong together")


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("siglip", "spiece.model"),
        ("siglip_2 with tokenizer.model", "tokenizer.model"),
        ("metaclip_2 with gelu and a model of pieces", "sentencepiece.bpe.model"),
    ],
)
def test_damaged_and_foreign_models_of_pieces(copy_of, saved, kind, file):
    folder = copy_of(kind)
    content = (folder / file).read_bytes()
    for damaged in (b"", b"{}", content[: len(content) // 2], bytes(len(content))):
        (folder / file).write_bytes(damaged)
        refused(folder, "is not a SentencePiece model|has no piece|does not belong to a|has the id")
    other = ("metaclip_2 with gelu and a model of pieces", "sentencepiece.bpe.model")
    if kind.startswith("metaclip_2"):
        other = ("siglip", "spiece.model")
    shutil.copy(saved(other[0])[0] / other[1], folder / file)
    if kind != "siglip":  # SigLIP's has all pieces that MetaCLIP 2's needs, and more
        refused(folder, "has no piece")


def test_a_tokenizer_that_is_missing(copy_of):
    folder = copy_of("siglip")
    (folder / "spiece.model").unlink()
    refused(folder, r"has no tokenizer; expected spiece\.model \(SigLIP\), or tokenizer\.json")


def test_a_folder_that_changed_since_it_was_listed(copy_of):
    from keras_cmm_runtime.utils import write_digests

    folder = copy_of("siglip")
    write_digests(folder)
    clip.load(folder)
    change_json(folder / "tokenizer_config.json", a=1)
    refused(folder, "tokenizer_config.json")


def test_the_sentinels_of_mt5_need_no_embeddings(copy_of):
    from sentencepiece import sentencepiece_model_pb2

    folder = copy_of("siglip")
    path = folder / "spiece.model"
    proto = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    for number in range(3):
        proto.pieces.add(piece=f"\u2581<extra_id_{number}>", score=-100.0)
    path.write_bytes(proto.SerializeToString())
    embedder = clip.TextEmbedder(clip.load(folder))
    ids = embedder.encoder.token_ids(["a <extra_id_0> cat"])
    assert ids.max() < len(proto.pieces) - 3
    proto.pieces.add(piece="cats", score=-100.0)
    path.write_bytes(proto.SerializeToString())
    refused(folder, "its tokenizer has the id")
