"""The files that `export` writes: their names, and which of them a command may replace."""

from __future__ import annotations

import zipfile
from pathlib import Path

import click

from keras_cmm_cli.outputs import check_new_file

SUFFIXES = {
    "onnx": ".onnx",
    "torch": ".pt2",
    "openvino": ".xml",
    "litert": ".tflite",
    "safetensors": ".safetensors",
}
# Bytes near the beginning of a file that `export` wrote, where it is no archive.
_MARKS = {"onnx": b"keras-cmm", "safetensors": b"keras-cmm-head/"}
# No file begins so.
_NO_FILE = b"\0keras-cmm writes no such file\0"


def files_of(output: Path, style: str) -> list[Path]:
    """Returns the file, and those that may lie beside it with its weights."""
    if style == "onnx":
        return [output, output.with_name(f"{output.name}.data")]
    return [output, output.with_suffix(".bin")] if style == "openvino" else [output]


def check_new_export(output: Path, style: str, overwrite: bool) -> None:
    """Raises an error if a file cannot be written, or would replace what `export` did not write.

    Args:
        output: The file.
        style: Its format.
        overwrite: Whether a file of `export` may be replaced.

    Raises:
        ClickException: If the name is of another format, or the file must not be replaced.
    """
    if output.suffix != SUFFIXES[style]:
        raise click.ClickException(
            f"{output}: the name of a file of the format {style} must end in {SUFFIXES[style]}."
        )
    is_ours = output.is_file() and _was_exported(output, style)
    # Any bytes will do of a file that is ours.
    check_new_file(output, overwrite, b"" if is_ours else _NO_FILE)
    for beside in files_of(output, style)[1:]:
        if beside.exists() and not (is_ours and beside.is_file()):
            raise click.ClickException(
                f"{beside}: exists, where the weights of {output.name} would be written; give "
                "another name."
            )


def _was_exported(path: Path, style: str) -> bool:
    """Returns whether `export` wrote a file, by what its metadata say."""
    try:
        if style in _MARKS:
            with path.open("rb") as file:
                return _MARKS[style] in file.read(4096)
        if style == "openvino":
            return b"<keras_cmm " in path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    wanted = "keras_cmm.json" if style == "litert" else "extra/keras_cmm"
    return any(name == wanted or name.endswith(f"/{wanted}") for name in names)
