import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from refusals import refusal

from keras_cmm import CMMClassifier, CMMImageClassifier
from keras_cmm.hub import push_model
from keras_cmm_runtime import OnnxClassifier
from keras_cmm_runtime.hub import fetch_model

# Of huggingface_hub's own code.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAMES = ["ant", "bee", "red fox"]
MEASURES = {
    "images": 30,
    "classes": 3,
    "top1": 90.0,
    "top1_interval": [74.4, 96.5],
    "macro_f1": 89.5,
    "trained_on": 0,
}


def make_pictures(count=6):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (40, 40, 3)).astype("uint8") for _ in range(count)]


@pytest.fixture(scope="module")
def classifier(tiny_preset):
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES)
    model.fit(make_pictures(), [0, 1, 2] * 2, epochs=2, verbose=0)
    return model


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    """The folder of that classifier. Tests must not change it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    classifier.save_to_preset(folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def pushed_files(hub, name="ada/pets"):
    folder = hub.models[name]
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pushed_and_loaded_elsewhere(classifier, hub):
    pushed = classifier.push_to_hub("ada/pets")
    assert pushed.url == f"{hub.url}/ada/pets"
    assert pushed.commit == hub.commits["ada/pets"]
    assert pushed_files(hub) == {*pushed.files, ".gitattributes"}
    assert pushed.left_out == ("support_images.safetensors",)
    pictures = make_pictures()
    expected = classifier.predict(pictures)
    for handle in ("hf://ada/pets", "ada/pets", "hf://ada/pets@main"):
        again = CMMImageClassifier.from_preset(handle)
        np.testing.assert_array_equal(again.predict(pictures), expected)
    assert again.support_images is None
    hub.close()  # It was fetched before.
    np.testing.assert_array_equal(
        CMMImageClassifier.from_preset("hf://ada/pets").predict(pictures), expected
    )
    np.testing.assert_allclose(
        OnnxClassifier.load("hf://ada/pets").predict(pictures), expected, atol=1e-3
    )


def test_only_the_onnx_file_is_fetched_where_it_is_enough(classifier, hub):
    classifier.push_to_hub("ada/pets")
    OnnxClassifier.load("hf://ada/pets")
    assert set(hub.fetched) == {"classifier.onnx", "keras_cmm.json"}


def test_a_classifier_that_onnx_cannot_hold(tiny_preset, hub):
    import keras

    head = CMMClassifier(3, mapping=keras.layers.Dense(16))
    model = CMMImageClassifier.from_preset(tiny_preset, NAMES, head=head)
    with pytest.warns(UserWarning, match=r"no classifier\.onnx is pushed: only a classifier"):
        pushed = model.push_to_hub("ada/pets", dry_run=True)
    assert "classifier.onnx" not in pushed.files
    assert "task.weights.h5" in pushed.files


def test_a_private_branch_with_training_images(saved, hub):
    pushed = push_model(saved, "ada/pets", private=True, revision="v1", training_images=True)
    assert "support_images.safetensors" in pushed.files
    assert hub.private == {"ada/pets"}
    assert CMMImageClassifier.from_preset("hf://ada/pets@v1").support_images is not None
    # Pushed again without them, they are removed.
    push_model(saved, "ada/pets")
    assert "support_images.safetensors" not in pushed_files(hub)
    assert "has no revision 'v2'" in refusal(fetch_model, "hf://ada/pets@v2")


def test_a_dry_run_asks_nothing(copy, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    (copy / "holiday.png").write_bytes(b"private")
    planned = push_model(copy, "ada/pets", dry_run=True)
    assert planned.url is planned.commit is None
    assert planned.left_out == ("holiday.png", "support_images.safetensors")
    assert "model.weights.h5" in planned.files
    assert planned.files["model.weights.h5"] == (copy / "model.weights.h5").stat().st_size
    assert hub.asked == []


def test_the_card(copy, hub):
    push_model(copy, "ada/pets", evaluation=MEASURES)
    card = (hub.models["ada/pets"] / "README.md").read_text()
    assert "keras-cmm predict hf://ada/pets image.png" in card
    assert "`ant`, `bee`, `red fox`" in card
    assert "Top-1: 90.0%, Wilson's 95% interval 74.4-96.5%" in card
    (copy / "README.md").write_text("mine")
    assert "was edited" not in str(push_model(copy, "ada/pets", dry_run=True))
    record = json.loads((copy / "keras_cmm.json").read_text())
    record["digests"]["README.md"] = "0" * 64
    (copy / "keras_cmm.json").write_text(json.dumps(record))
    push_model(copy, "ada/pets")
    assert (hub.models["ada/pets"] / "README.md").read_text() == "mine"
    line = refusal(push_model, copy, "ada/pets", evaluation=MEASURES)
    assert "README.md: was edited, so the evaluation cannot be written into it" in line


@pytest.mark.parametrize(
    "change",
    [
        {"top1": "90"},
        {"top1": float("nan")},
        {"top1_interval": [1]},
        {"images": None},
        {"trained_on": True},
        {"top5": 101},
    ],
)
def test_what_is_no_evaluation(change, saved):
    evaluation = MEASURES | change
    line = refusal(push_model, saved, "ada/pets", evaluation=evaluation, dry_run=True)
    ((name, value),) = change.items()
    assert line.endswith(f"Received: {name}={value!r}")


@pytest.mark.parametrize("repo_id", ["pets", "a/b/c", "ada/", "ada/pets now", "hf://ada/pets"])
def test_names_of_no_repository(repo_id, saved, hub):
    assert "must be of the form owner/name" in refusal(push_model, saved, repo_id)
    assert hub.asked == []


def test_without_a_token(saved, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert "needs a token to push; log in with `hf auth login`" in refusal(
        push_model, saved, "ada/pets"
    )
    assert hub.asked == []
    line = refusal(push_model, saved, "ada/pets", token="hf_wrong")
    assert line.startswith("ada/pets: cannot be pushed to (the token is not valid")


def test_without_the_right(saved, hub):
    assert "the token may not write there" in refusal(push_model, saved, "eve/pets")


def test_a_repository_of_something_else(saved, hub, tmp_path):
    other = hub.models["ada/bert"] = tmp_path / "bert"
    other.mkdir()
    (other / "pytorch_model.bin").write_text("weights")
    (other / "README.md").write_text("BERT")
    line = refusal(push_model, saved, "ada/bert")
    assert "holds something else ('pytorch_model.bin')" in line
    assert (other / "README.md").read_text() == "BERT"


def test_a_public_repository_is_not_made_private_in_silence(saved, hub):
    push_model(saved, "ada/pets")
    assert "exists and is public" in refusal(push_model, saved, "ada/pets", private=True)


@pytest.mark.parametrize("place", ["large/", "/commit/", "preupload"])
def test_an_interrupted_push_changes_nothing(place, classifier, saved, hub):
    push_model(saved, "ada/pets")
    before = {name: (hub.models["ada/pets"] / name).read_bytes() for name in pushed_files(hub)}
    hub.fails_at = place
    line = refusal(classifier.push_to_hub, "ada/pets")
    assert "the Hugging Face hub does not answer" in line
    assert "no file was pushed" in line
    assert before == {
        name: (hub.models["ada/pets"] / name).read_bytes() for name in pushed_files(hub)
    }


def test_without_a_network(saved, hub, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "does not answer" in refusal(push_model, saved, "ada/pets")


def test_damaged_models_are_not_pushed(copy, saved, tiny_preset, hub):
    content = bytearray((copy / "task.weights.h5").read_bytes())
    content[-9] ^= 1
    (copy / "task.weights.h5").write_bytes(content)
    assert "has changed since it was written" in refusal(push_model, copy, "ada/pets")
    (copy / "keras_cmm.json").unlink()
    assert "did not record what it wrote" in refusal(push_model, copy, "ada/pets")
    assert "is no saved classifier" in refusal(push_model, tiny_preset, "ada/pets")
    assert hub.asked == []


def test_what_arrives_is_checked(saved, hub):
    push_model(saved, "ada/pets")
    folder = hub.models["ada/pets"]
    task = json.loads((folder / "task.json").read_text())
    task["config"]["class_names"][0] = "wasp"
    (folder / "task.json").write_text(json.dumps(task))
    line = refusal(CMMImageClassifier.from_preset, "hf://ada/pets")
    assert "task.json: has changed since it was written" in line
    hub.commits["ada/pets"] = "f" * 40
    (folder / "task.weights.h5").unlink()
    line = refusal(CMMImageClassifier.from_preset, "hf://ada/pets")
    assert "is not whole ('task.weights.h5' missing)" in line


def test_nothing_of_a_model_is_run(saved, hub, tmp_path):
    """Its config may name a Lambda layer, whose code is in it."""
    import keras

    from keras_cmm_runtime.utils import write_digests

    push_model(saved, "ada/pets")
    folder = hub.models["ada/pets"]
    task = json.loads((folder / "task.json").read_text())
    ran = str(tmp_path / "ran")
    layer = keras.layers.Lambda(lambda x: open(ran, "w") and x)  # noqa: SIM115, PTH123
    task["config"]["head"]["config"]["mapping"] = keras.saving.serialize_keras_object(layer)
    (folder / "task.json").write_text(json.dumps(task))
    write_digests(folder)
    with pytest.raises(ValueError, match=r"unsafe|safe_mode|lambda"):
        CMMImageClassifier.from_preset("hf://ada/pets").predict(make_pictures())
    assert not Path(ran).exists()


def test_what_is_no_model_of_ours(hub, tmp_path):
    other = hub.models["ada/bert"] = tmp_path / "bert"
    other.mkdir()
    (other / "keras_cmm.json").write_text("{}")
    assert "is no model of keras-cmm" in refusal(fetch_model, "hf://ada/bert")
    (other / "keras_cmm.json").write_text('{"digests": {"../../evil": "0"}}')
    hub.commits["ada/bert"] = "e" * 40
    assert "has no list of files" in refusal(fetch_model, "hf://ada/bert")
    line = refusal(fetch_model, "hf://ada/nothing")
    assert "there is no such model on the Hugging Face hub; if it is private" in line
