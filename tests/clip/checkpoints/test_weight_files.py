import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from keras_cmm.clip.checkpoints.weight_files import find_weights, read_weights
from keras_cmm_runtime.errors import InputError

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}


def check_tensors(path):
    weights = read_weights(path)
    assert set(weights) - {"input_resolution", "context_length"} == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(weights[name], tensor)


def test_safetensors(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    check_tensors(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3, "optimizer": {"lr": 1e-3}},
        {f"module.{name}": tensor for name, tensor in TENSORS.items()},
        TENSORS | {"input_resolution": 224, "context_length": 77},
    ],
)
def test_pickled_forms(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    check_tensors(tmp_path / "weights.pt")


class Bomb:
    """A hostile pickle: it runs a command when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))]
)
def test_pickle_with_code_is_refused_and_does_not_run(tmp_path, save):
    mark = tmp_path / "mark"
    save({"a": Bomb(mark)}, tmp_path / "weights.bin")
    with pytest.raises(InputError, match=r"weights_only=True.*give a safetensors file"):
        read_weights(tmp_path / "weights.bin")
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_archive_is_refused_with_the_mend(tmp_path):
    path = tmp_path / "ViT.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), torch.ones(1, 2)), path)
    with pytest.raises(InputError, match="TorchScript archive") as caught:
        read_weights(path)
    command = str(caught.value).split('-c "')[1].split('"')[0]
    # The command in the message works.
    old = Path.cwd()
    try:
        os.chdir(tmp_path)
        exec(command, {})
    finally:
        os.chdir(old)
    assert set(read_weights(tmp_path / "state_dict.pt")) == {"weight", "bias"}


@pytest.mark.parametrize("name", ["weights.pt", "weights.bin", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"<html>not found</html>", b"PK\x03\x04"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {}, "text"])
def test_pickles_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        read_weights(tmp_path / "weights.pt")


def write_shards(folder, weight_map):
    for name, tensor in TENSORS.items():
        save_file({name: tensor}, folder / f"{name}.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    return index


def test_shards(tmp_path):
    check_tensors(write_shards(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"}))


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "a.safetensors", "b": "c.safetensors"}, r"c\.safetensors: no such file"),
        ({"a": "a.safetensors", "c": "b.safetensors"}, "have no 'c'"),
        ({"a": "../a.safetensors"}, "not in its folder"),
        ({"a": 3}, "no weight_map"),
        (None, "no weight_map"),
    ],
)
def test_damaged_indices(tmp_path, weight_map, message):
    with pytest.raises(InputError, match=message):
        read_weights(write_shards(tmp_path, weight_map))


def test_safetensors_come_before_pickles(tmp_path):
    for name in ("pytorch_model.bin", "model.safetensors.index.json"):
        (tmp_path / name).touch()
    stems = ("model", "pytorch_model")
    assert find_weights(tmp_path, stems).name == "model.safetensors.index.json"
    (tmp_path / "model.safetensors").touch()
    assert find_weights(tmp_path, stems).name == "model.safetensors"
