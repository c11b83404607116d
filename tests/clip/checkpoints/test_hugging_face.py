import json
import shutil

import numpy as np
import pytest
import torch
from tiny_clip import tiny_vocabulary
from transformers_clip import (
    SIZES,
    image_embeddings,
    lie,
    make_model,
    pictures,
    refused,
    save_checkpoint,
    text_embeddings,
)

from keras_cmm import clip

# Some texts are longer than the context, to compare how they are cut.
pytestmark = pytest.mark.filterwarnings("ignore:.*that the model reads, so the end is cut off")
TEXTS = ["a cat", "", "the dog, and a cat!", "naïve 🐈 café", "x" * 100, "a <|endoftext|> b"]


def check_equal(model, folder):
    ours = clip.load(folder)
    images = clip.ImageEmbedder(ours).embed(pictures()).embeddings
    np.testing.assert_allclose(images, image_embeddings(model, folder, pictures()), atol=1e-5)
    texts = clip.TextEmbedder(ours).embed(TEXTS)
    np.testing.assert_allclose(texts, text_embeddings(model, folder, TEXTS), atol=1e-5)
    expected_scale = model.logit_scale.exp().item()
    assert clip.logit_scale(ours.backbone) == pytest.approx(expected_scale, rel=1e-6)


@pytest.fixture
def copy(transformers_checkpoint, tmp_path):
    return shutil.copytree(transformers_checkpoint, tmp_path / "copy")


def change_json(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))


def change_section(folder, section, **changes):
    config = json.loads((folder / "config.json").read_text())
    config[section] |= changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("size", SIZES)
def test_embeddings_are_those_of_transformers(size, tmp_path):
    model = make_model(size)
    check_equal(model, save_checkpoint(tmp_path, model))


def test_shards(transformers_model, tmp_path):
    save_checkpoint(tmp_path, transformers_model, max_shard_size="200KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    check_equal(transformers_model, tmp_path)


def test_half_precision_weights(tmp_path):
    half = make_model("ViT-B/32").to(torch.bfloat16)
    save_checkpoint(tmp_path, half)
    check_equal(half.float(), tmp_path)


def test_pickled_weights(transformers_model, copy):
    (copy / "model.safetensors").unlink()
    torch.save(transformers_model.state_dict(), copy / "pytorch_model.bin")
    check_equal(transformers_model, copy)


# transformers 5.4 reads such files by a way that tokenizers calls old.
@pytest.mark.filterwarnings("ignore:Deprecated in 0.9.0:DeprecationWarning")
def test_vocabulary_and_merges_in_files_of_their_own(transformers_model, copy):
    vocabulary, merges = tiny_vocabulary()
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.json").write_text(json.dumps(vocabulary))
    (copy / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    tokens = clip.TextEmbedder(clip.load(copy)).encoder.token_ids(TEXTS)
    (copy / "tokenizer_config.json").unlink()
    check_equal(transformers_model, copy)
    assert tokens.max() == vocabulary["<|endoftext|>"]


def test_without_image_settings_they_are_openais(copy):
    for name in ("preprocessor_config.json", "processor_config.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.warns(UserWarning, match="so OpenAI's image settings are used"):
        ours = clip.ImageEmbedder(clip.load(copy)).preprocessor
    expected = clip.ImagePreprocessor(ours.image_size)
    np.testing.assert_array_equal(ours(pictures()[0]), expected(pictures()[0]))
    assert ours.image_size == SIZES["ViT-B/32"].image_size


def test_older_configs_have_a_second_copy_that_counts(transformers_model, copy):
    config = json.loads((copy / "config.json").read_text())
    config["text_config_dict"] = config["text_config"]
    config["text_config"] = {"hidden_size": 8}
    # In the configs of 2021 this number stands for the highest id.
    config["text_config_dict"]["eos_token_id"] = 2
    (copy / "config.json").write_text(json.dumps(config))
    check_equal(transformers_model, copy)


def test_config_that_leaves_out_defaults(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    text = {"num_hidden_layers": 1, "vocab_size": len(tiny_vocabulary()[0])}
    text |= {"eos_token_id": text["vocab_size"] - 1, "bos_token_id": text["vocab_size"] - 2}
    vision = {"num_hidden_layers": 1}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).eval()
    save_checkpoint(tmp_path, model)
    sections = {"text_config": text, "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **sections}))
    check_equal(model, tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bert", "expected 'clip', 'metaclip_2', 'siglip', a folder of two towers, or an image"),
        (["clip"], "expected 'clip', 'metaclip_2', 'siglip', a folder of two towers, or an image"),
        ("clip_vision_model", "one tower alone names no classes.* as vision and text"),
        ("siglip2", "NaFlex.*Give a SigLIP 2 of one image size, such as 'google/siglip2-base"),
    ],
)
def test_other_model_types(copy, kind, message):
    change_json(copy / "config.json", model_type=kind)
    refused(copy, f"of the type .*{message}")


def test_config_that_names_no_model_type(copy):
    change_json(copy / "config.json", model_type=None)
    refused(copy, "cannot be loaded")


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("text_config", {"hidden_act": "relu"}, r"text_config\.hidden_act.*hidden_act='relu'"),
        ("vision_config", {"layer_norm_eps": 1e-3}, r"layer_norm_eps=0\.001"),
        ("vision_config", {"num_channels": 1}, "num_channels=1"),
        (
            "vision_config",
            {"num_attention_heads": 3},
            "multiple of the number of attention",
        ),
        ("vision_config", {"num_attention_heads": None}, "must be an int >= 1"),
        ("vision_config", {"hidden_size": 64}, r"shape .* do not belong together"),
        ("vision_config", {"patch_size": 16}, "do not belong together"),
        ("vision_config", {"num_hidden_layers": 3}, r"no tensor .*layers\.2"),
        ("vision_config", {"num_hidden_layers": 1}, "tensors that CLIP does not have"),
        ("text_config", {"vocab_size": 100}, "its model only 100"),
        ("text_config", {"vocab_size": "all"}, "must be an int >= 1"),
        ("text_config", {"vocab_size": 10**12}, "do not belong together"),
        ("text_config", {"max_position_embeddings": 10**12}, "do not belong together"),
        ("text_config", {"num_hidden_layers": 10**9}, r"no tensor .*layers\.999999999"),
        ("vision_config", {"num_hidden_layers": 10**9}, r"no tensor .*layers\.999999999"),
        ("vision_config", {"num_hidden_layers": -1}, "must be an int >= 1"),
        ("vision_config", {"num_hidden_layers": True}, "must be an int >= 1"),
        ("vision_config", {"image_size": 10**9}, "model takes|do not belong together"),
        ("text_config", {"eos_token_id": 49407}, "eos_token_id=49407"),
    ],
)
def test_configs_that_do_not_fit(copy, section, changes, message):
    change_section(copy, section, **changes)
    refused(copy, message)


def test_section_that_is_no_object(copy):
    change_json(copy / "config.json", vision_config=[1])
    refused(copy, "vision_config is not an object")


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "\x00"])
def test_damaged_config(copy, content):
    (copy / "config.json").write_text(content)
    refused(copy, "is not JSON|is not a JSON object")


def test_missing_weights(copy):
    (copy / "model.safetensors").unlink()
    refused(copy, r"has no weights; expected model\.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["logit_scale"].update(dtype="F9"),
        lambda header: header["logit_scale"].update(dtype="F8_E8M0"),
        lambda header: header["logit_scale"].update(shape=[10**18]),
        lambda header: header["logit_scale"].update(shape=[-1]),
        lambda header: header["logit_scale"].update(shape="all"),
        lambda header: header["logit_scale"].update(data_offsets=[0, 10**15]),
        lambda header: header["logit_scale"].update(data_offsets=[8, 4]),
        lambda header: header.update(logit_scale=[]),
    ],
)
def test_a_header_that_lies(copy, change):
    lie(copy / "model.safetensors", change)
    refused(copy, "cannot be read as safetensors")


@pytest.mark.parametrize("size", [2**63, 2**64 - 1, 10**9])
def test_a_header_of_another_length(copy, size):
    path = copy / "model.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + path.read_bytes()[8:])
    refused(copy, "cannot be read as safetensors")


def test_an_image_processor_of_another_kind(copy):
    (copy / "processor_config.json").unlink(missing_ok=True)
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 96, "width": 96}}
    (copy / "preprocessor_config.json").write_text(json.dumps(settings))
    refused(copy, "of a ViTImageProcessor, whose defaults are not CLIP's; add do_center_crop")


@pytest.mark.parametrize("kept", [0, 5, 100, 5000])
def test_cut_off_weights(copy, kept):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refused(copy, "cannot be read as safetensors")


def test_missing_shard(transformers_model, tmp_path):
    save_checkpoint(tmp_path, transformers_model, max_shard_size="200KB")
    min(tmp_path.glob("model-*.safetensors")).unlink()
    refused(tmp_path, "no such file; the checkpoint is not complete")


def test_missing_tokenizer(copy):
    (copy / "tokenizer.json").unlink()
    refused(copy, r"has no tokenizer; expected vocab\.json and merges\.txt, or tokenizer\.json")


def test_dtype(transformers_checkpoint):
    assert clip.load(transformers_checkpoint, dtype="bfloat16").backbone.compute_dtype == "bfloat16"
