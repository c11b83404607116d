"""Tensors of checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones.weight_assignment import Weights
from keras_cmm.errors import InputError
from keras_cmm.utils.files import read_json_object

_TORCHSCRIPT_MEND = (
    "python -c \"import torch; torch.save(torch.jit.load('{path}', map_location='cpu')"
    ".state_dict(), 'state_dict.pt')\""
)


def read_weights(path: Path) -> Weights:
    """Reads the tensors of a checkpoint file, or of the shards that an index names.

    Pickled files are read with torch's `weights_only=True`, which runs no code of theirs.

    Args:
        path: a `.safetensors` file, a pickled state dict, or an index
            (`model.safetensors.index.json`) of shards beside it.

    Returns:
        The tensors by name.

    Raises:
        InputError: If a file is missing, damaged, or holds anything but tensors.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "model.safetensors")
        ...     save_file({"logit_scale": torch.zeros(())}, path)
        ...     sorted(read_weights(path))
        ['logit_scale']
    """
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; the checkpoint is not complete.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_pickle(path)


def find_weights(folder: Path, stems: tuple[str, ...]) -> Path:
    """Finds the weights of a checkpoint folder, safetensors before pickles.

    Args:
        folder: the folder.
        stems: names of the files without their endings, the preferred first.

    Returns:
        The file, or the index of a sharded one.

    Raises:
        InputError: If the folder has none.
    """
    for ending in (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt"):
        for stem in stems:
            if (path := folder / f"{stem}{ending}").is_file():
                return path
    raise InputError(
        f"{folder}: has no weights; expected {stems[0]}.safetensors or {stems[-1]}.bin."
    )


def _read_shards(index: Path) -> Weights:
    files = read_json_object(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise InputError(f"{index}: has no weight_map; the checkpoint is damaged.")
    weights: dict[str, Any] = {}
    for name in sorted(set(files.values())):
        # A name with folders in it could lead anywhere.
        if Path(name).name != name:
            raise InputError(f"{index}: names the shard {name!r}, which is not a file beside it.")
        weights.update(read_weights(index.parent / name))
    missing = sorted(set(files).difference(weights))
    if missing:
        raise InputError(f"{index}: its shards have no {missing[0]!r}; the checkpoint is damaged.")
    return weights


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({_first_line(error)}); fetch it again."
        ) from error


def _read_pickle(path: Path) -> Weights:
    import torch

    if _is_torchscript(path):
        raise InputError(
            f"{path}: is a TorchScript archive, which holds code and is not read; save its state "
            f"dict once, if you trust it, with {_TORCHSCRIPT_MEND.format(path=path)} and give that "
            "file."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises UnpicklingError, RuntimeError, EOFError and more on what it cannot read.
    except Exception as error:
        raise InputError(
            f"{path}: is a pickle that torch does not read with weights_only=True, being damaged "
            "or holding more than tensors; give a safetensors file of the weights."
        ) from error
    # Training checkpoints of OpenCLIP keep the weights beside the optimizer's state.
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds no state dict; expected tensors by name.")
    # A model trained on several GPUs at once has this before every name.
    if all(isinstance(name, str) and name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    # OpenAI's archives keep three plain numbers among the tensors.
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}


def _is_torchscript(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
