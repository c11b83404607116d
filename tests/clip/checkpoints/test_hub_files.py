from pathlib import Path

import numpy as np
import pytest
from transformers_clip import make_model, save_checkpoint
from transformers_families import save_metaclip_2, save_siglip, save_siglip_2

from keras_cmm import clip
from keras_cmm.clip.checkpoints.hub_files import fetch_from_hub, is_hub_id
from keras_cmm_runtime.errors import InputError


def folder_of(path, contents):
    path.mkdir()
    for name, content in contents.items():
        (path / name).write_text(content)
    return path


@pytest.mark.parametrize("prefix", ["", "hf://"])
def test_model_of_transformers(hub, tmp_path, prefix):
    folder = save_checkpoint(tmp_path / "model", make_model("ViT-B/32"))
    for name in ("pytorch_model.bin", "flax_model.msgpack", "README.md"):
        (folder / name).write_text("not wanted")
    hub.models["owner/clip-tiny"] = folder
    ours, expected = clip.load(f"{prefix}owner/clip-tiny"), clip.load(folder)
    texts = ["a cat", "a dog"]
    np.testing.assert_array_equal(
        clip.TextEmbedder(ours).embed(texts), clip.TextEmbedder(expected).embed(texts)
    )
    assert "model.safetensors" in hub.fetched
    assert not {"pytorch_model.bin", "flax_model.msgpack", "README.md"} & set(hub.fetched)
    hub.fetched.clear()
    fetch_from_hub("owner/clip-tiny")
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("contents", "fetched"),
    [
        (
            {"config.json": '{"model_type": "clip"}', "pytorch_model.bin": "p", "tf_model.h5": "t"},
            {"config.json", "pytorch_model.bin"},
        ),
        (
            {
                "config.json": '{"model_type": "clip"}',
                "model-00001-of-00002.safetensors": "a",
                "model-00002-of-00002.safetensors": "b",
                "model.safetensors.index.json": "{}",
            },
            {
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            },
        ),
        (
            {
                "open_clip_config.json": "{}",
                "open_clip_model.safetensors": "s",
                "open_clip_pytorch_model.bin": "p",
            },
            {"open_clip_config.json", "open_clip_model.safetensors"},
        ),
    ],
)
def test_only_one_format_of_the_weights_is_fetched(hub, tmp_path, contents, fetched):
    hub.models["owner/model"] = folder_of(tmp_path / "model", contents)
    folder = fetch_from_hub("owner/model")
    assert {path.name for path in Path(folder).iterdir()} == fetched
    assert set(hub.fetched) == fetched


@pytest.mark.parametrize(
    "contents",
    [
        {"config.json": '{"registered_name": "keras_hub>CLIPBackbone"}', "model.weights.h5": "w"},
    ],
)
def test_what_keras_hub_reads_is_left_to_it(hub, tmp_path, contents):
    hub.models["owner/preset"] = folder_of(tmp_path / "preset", contents)
    assert fetch_from_hub("owner/preset") == "hf://owner/preset"
    assert hub.fetched == ["config.json"]


def test_other_models_of_transformers_are_refused_before_their_weights_come(hub, tmp_path):
    contents = {"config.json": '{"model_type": "bert"}', "model.safetensors": "w"}
    hub.models["owner/bert"] = folder_of(tmp_path / "bert", contents)
    with pytest.raises(InputError, match="of the type 'bert'"):
        clip.load("owner/bert")
    assert hub.fetched == ["config.json"]


def test_fetched_before_and_now_offline(hub, tmp_path):
    contents = {"config.json": '{"model_type": "clip"}', "model.safetensors": "w"}
    hub.models["owner/model"] = folder_of(tmp_path / "model", contents)
    folder = fetch_from_hub("owner/model")
    hub.close()
    assert fetch_from_hub("owner/model") == folder
    with pytest.raises(InputError, match="the Hugging Face hub does not answer") as caught:
        clip.load("owner/another")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["owner/nothing", "hf://owner/nothing"])
def test_unknown_model(hub, source):
    with pytest.raises(
        InputError, match="there is no such model on the Hugging Face hub"
    ) as caught:
        clip.load(source)
    assert "is not a folder" in str(caught.value)


def test_names_that_the_hub_does_not_take(hub):
    with pytest.raises(InputError, match="cannot be fetched"):
        clip.load("hf://one/two/three")


def test_folders_come_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert not is_hub_id("owner/model")
    assert is_hub_id("owner/another")
    assert not any(map(is_hub_id, ["name", "a/b/c", "../a", "/a/b", "kaggle://a/b"]))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("save", [save_siglip, save_siglip_2, save_metaclip_2])
def test_other_families_of_transformers(hub, tmp_path, save):
    save(tmp_path)
    (tmp_path / "pytorch_model.bin").write_text("not wanted")
    hub.models["owner/model"] = tmp_path
    ours, expected = clip.load("owner/model"), clip.load(tmp_path)
    texts = ["a cat", "a dog"]
    np.testing.assert_array_equal(
        clip.TextEmbedder(ours).embed(texts), clip.TextEmbedder(expected).embed(texts)
    )
    assert "pytorch_model.bin" not in hub.fetched
