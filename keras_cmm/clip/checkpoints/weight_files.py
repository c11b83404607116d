"""Reading the tensors of checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_cmm.clip.backbones import Weights
from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object
from keras_cmm_runtime.utils.regular_files import refuse_special_file

_TORCHSCRIPT_MEND = (
    "python -c \"import torch; torch.save(torch.jit.load('{path}', map_location='cpu')"
    ".state_dict(), 'state_dict.pt')\""
)


def read_weights(path: Path) -> Weights:
    """Reads the tensors of a checkpoint file, or of the shards that an index names.

    Pickled files are read with torch's `weights_only=True`, which does not run code in the file.

    Args:
        path: a `.safetensors` file, a pickled state dict, or an index of shards
            (`model.safetensors.index.json`) in the same folder.

    Returns:
        The tensors by name.

    Raises:
        InputError: If a file is missing or damaged, or holds something other than tensors.

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
    refuse_special_file(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; the checkpoint is not complete.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_pickle(path)


def find_weights(folder: Path, stems: tuple[str, ...]) -> Path:
    """Finds the weights of a checkpoint folder, and prefers safetensors to pickles.

    Args:
        folder: the folder.
        stems: names of the files without their endings, in order of preference.

    Returns:
        The file, or the index of its shards.

    Raises:
        InputError: If the folder has no weights.
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
        raise InputError(f"{index}: has no weight_map; the file is damaged.")
    weights: dict[str, Any] = {}
    for name in sorted(set(files.values())):
        # A name with folders in it could lead out of the checkpoint.
        if Path(name).name != name:
            raise InputError(f"{index}: names the shard {name!r}, which is not in its folder.")
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
    # A header can lie about dtypes, shapes and places, and each lie has an error of its own.
    except (
        SafetensorError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        RuntimeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors ({_first_line(error)}); fetch it again."
        ) from error


def _read_pickle(path: Path) -> Weights:
    import torch

    if _is_torchscript(path):
        raise InputError(
            f"{path}: is a TorchScript archive, which contains code and is not read; if you trust "
            f"it, save its state dict with {_TORCHSCRIPT_MEND.format(path=path)} and give that "
            "file."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises UnpicklingError, RuntimeError, EOFError and more for files it cannot read.
    except Exception as error:
        raise InputError(
            f"{path}: torch cannot read this pickle with weights_only=True, so it is damaged or "
            "holds more than tensors; give a safetensors file of the weights."
        ) from error
    # OpenCLIP's training checkpoints hold the weights beside the state of the optimizer.
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds no state dict; expected tensors by name.")
    # torch adds this prefix to a model that is trained on several GPUs.
    if all(isinstance(name, str) and name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    # OpenAI's files hold three plain numbers among the tensors.
    return {
        name: torch.as_tensor(value)
        for name, value in content.items()
        if isinstance(value, torch.Tensor | int)
    }


def _is_torchscript(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
