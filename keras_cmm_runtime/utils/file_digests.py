"""SHA-256 of the files that this package wrote into a folder.

They tell whether a copy is whole, and which files a command may replace.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.utils.files import read_json_object, replacing
from keras_cmm_runtime.utils.temporary_paths import temporary_in

DIGESTS_FILE = "keras_cmm.json"
FORMAT = "keras-cmm-files/1"

# No answer depends on these, so that a user may edit them.
_FREE_FILES = ("README.md", "few_shot_indices.json", "metadata.json", DIGESTS_FILE)
# Keras's answers do not depend on these.
_EXPORTED_FILES = ("classifier.onnx", "classifier.onnx.data")
# Reading this much takes a few milliseconds.
_SMALL = 2**23
_DAMAGED = "it is damaged; copy the folder anew"


def write_digests(
    folder: Path,
    record: Mapping[str, Any] | None = None,
    known: Mapping[str, str] | None = None,
) -> None:
    """Writes the digests of all files in a folder to its `keras_cmm.json`.

    Args:
        folder: A folder in which this package wrote all files.
        record: What else the file says.
        known: Digests that need not be computed.
    """
    names = [name for name in _files_in(folder) if name != DIGESTS_FILE]
    digests = {name: (known or {}).get(name) or file_digest(folder / name) for name in names}
    content = {"format": FORMAT, **(record or {}), "digests": digests}
    digests[DIGESTS_FILE] = _digest_of_record(content)
    with replacing(folder / DIGESTS_FILE) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def add_digests(folder: Path, files: Iterable[Path]) -> None:
    """Adds files to the record of a folder, if there is one.

    Args:
        folder: The folder.
        files: Files in it, which this package wrote.

    Raises:
        InputError: If the record is damaged or cannot be written.
    """
    digests = read_digests(folder)
    if digests is None:
        return
    content = read_json_object(folder / DIGESTS_FILE, _DAMAGED)
    digests |= {path.name: file_digest(path) for path in files}
    content["digests"] = {name: digests[name] for name in sorted(digests) if name != DIGESTS_FILE}
    content["digests"][DIGESTS_FILE] = _digest_of_record(content)
    with replacing(folder / DIGESTS_FILE) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")


def read_digests(folder: Path) -> dict[str, str] | None:
    """Returns the digest of each file that this package wrote, by its path in the folder.

    Returns:
        The digests, or `None` for a folder of other programs or of an earlier version.

    Raises:
        InputError: If the record is damaged.
    """
    if not (folder / DIGESTS_FILE).is_file():
        return None
    content = read_json_object(folder / DIGESTS_FILE, _DAMAGED)
    digests = content.get("digests")
    if digests is None:
        return None
    if not isinstance(digests, dict) or not all(
        isinstance(digest, str) and _is_inside(name) for name, digest in digests.items()
    ):
        raise InputError(f"{folder / DIGESTS_FILE}: has no list of files; {_DAMAGED}.")
    return digests


def check_digests(folder: Path) -> None:
    """Raises an error unless all files that answers depend on are as they were written.

    Folders without digests pass.

    Raises:
        InputError: If a file is missing or has changed.
    """
    for name, digest in (read_digests(folder) or {}).items():
        if name in (*_FREE_FILES, *_EXPORTED_FILES):
            continue
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: is missing; copy the folder {folder} anew.")
        if file_digest(path) != digest:
            raise InputError(
                f"{path}: has changed since it was written; copy the folder {folder} anew. If the "
                f"change is meant, remove {DIGESTS_FILE} from it."
            )


def check_file_of(folder: Path, name: str, digest: str) -> None:
    """Raises an error unless a file was written with the others of its folder.

    Small files are read too, so that a change of the classifier is noticed. Large ones, such as the
    weights of a backbone, would take longer to read than a prediction takes. They may be missing:
    a folder without digests passes, and so does one that holds the file and the record alone.

    Args:
        folder: The folder.
        name: The name of the file.
        digest: The digest that was found.

    Raises:
        InputError: If the file or a small one has changed, or the file is of another classifier.
    """
    digests = read_digests(folder)
    if digests is None:
        return
    if digests.get(name) != digest:
        raise InputError(
            f"{folder / name}: is of another classifier than the folder {folder}, or has changed "
            "since it was written; copy the folder anew, or export the classifier again."
        )
    for other, expected in digests.items():
        path = folder / other
        if other in (name, *_FREE_FILES) or not path.is_file():
            continue
        if path.stat().st_size <= _SMALL and file_digest(path) != expected:
            raise InputError(
                f"{path}: has changed since it was written, so {name} may be of another "
                f"classifier; copy the folder {folder} anew, or export the classifier again."
            )


def foreign_files(folder: Path) -> list[str]:
    """Returns what this package did not write in a folder, and what has changed since."""
    try:
        digests = read_digests(folder) or {}
        record = read_json_object(folder / DIGESTS_FILE) if digests else {}
    except InputError:
        digests, record = {}, {}

    def is_ours(name: str) -> bool:
        path = folder / name
        if name not in digests or path.is_symlink() or not path.is_file():
            return False
        found = _digest_of_record(record) if name == DIGESTS_FILE else file_digest(path)
        return found == digests[name]

    return [name for name in _files_in(folder) if not is_ours(name)]


@contextmanager
def adding_files(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, whose files get into `folder` at the end, with their digests.

    The digests come first. A process that is killed while the files are moved leaves a folder that
    `check_digests` refuses. Other files in the folder stay, but for weights that the last call
    wrote: a loader could take them for those of the new model.

    Args:
        folder: The folder. It is made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_in(folder, Path.mkdir) as temporary:
        yield temporary
        written = [name for name in _files_in(temporary) if not name.endswith("/")]
        stale = [name for name in _weights_of_ours(folder) if name not in written]
        write_digests(temporary)
        for name in [DIGESTS_FILE, *written]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).replace(folder / name)
        for name in stale:
            (folder / name).unlink()


def _weights_of_ours(folder: Path) -> list[str]:
    others = set(foreign_files(folder))
    patterns = ("*.weights.h5", "*.weights.json", *_EXPORTED_FILES)
    weights = (path for pattern in patterns for path in folder.glob(pattern))
    return [path.name for path in weights if path.name not in others]


def _files_in(folder: Path) -> list[str]:
    """Returns the paths of all files, links and empty folders in a folder, with `/` in between."""
    found = []

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=fail):
        place = Path(parent).relative_to(folder)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [(place / name).as_posix() for name in [*files, *links]]
        if not folders and not files and place.parts:
            found.append(f"{place.as_posix()}/")
    return sorted(found)


def _is_inside(name: str) -> bool:
    """Returns whether a name leads to a place inside its folder, on any system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not Path(name).is_absolute() and not {"..", "/"} & set(parts)


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _digest_of_record(content: Mapping[str, Any]) -> str:
    """Returns the digest of the record itself, but for the place where it stands."""
    digests = {name: each for name, each in content["digests"].items() if name != DIGESTS_FILE}
    text = json.dumps({**content, "digests": digests}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
