"""CSV and Parquet files that list image files and their classes."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from keras_cmm.data.sources.folders import is_file
from keras_cmm.errors import InputError
from keras_cmm.utils import listed, refuse_special_file, warn

_COLUMNS = ("path", "label")

Rows = list[tuple[Path, str]]
"""Image files with the names of their classes."""


def read_csv_list(path: Path, root: Path) -> Rows:
    """Reads a CSV file with the columns `path` and `label`; see `ImageList.from_csv`."""
    # A shell's `<(...)` is an open pipe, whose other end is there.
    if not str(path).startswith("/dev/fd/"):
        refuse_special_file(path)
    try:
        # utf-8-sig also reads UTF-8 without a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _without_repeats(path, list(_csv_rows(path, root, file)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"{path}: is not a valid CSV file ({error}).") from None


def read_parquet_list(path: Path, root: Path) -> Rows:
    """Reads a Parquet file with the columns `path` and `label`; see `ImageList.from_parquet`."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: needs pyarrow to be read; run `pip install 'keras-cmm[parquet]'`."
        ) from error
    refuse_special_file(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            wanted = [columns[number] for number in _find_columns(path, columns)]
            table = file.read(columns=wanted)
            names, labels = (table.column(column).to_pylist() for column in wanted)
    except InputError:
        raise
    # pyarrow checks texts only when they are taken out, and some of its reasons have several lines.
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        what = "cannot be read" if isinstance(error, OSError) else "is not a valid Parquet file"
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise InputError(f"{path}: {what} ({reason}).") from error
    rows = [
        _checked_row(f"{path}, row {number}", root, name, label)
        for number, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    return _without_repeats(path, rows)


def is_parquet_list(path: Path) -> bool:
    """Returns whether a Parquet file lists images, rather than holding them.

    A file that cannot be read counts as a list, so that `read_parquet_list` reports the reason.
    """
    refuse_special_file(path)
    try:
        import pyarrow
        from pyarrow.parquet import read_schema
    except ImportError:
        return True
    try:
        return "path" in map(str.lower, read_schema(path).names)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError):
        return True


def _csv_rows(path: Path, root: Path, file: TextIO) -> Iterator[tuple[Path, str]]:
    first = file.readline()
    separator = max(",;\t", key=first.count)  # a comma if there is none of them
    # A pipe cannot go back to its start.
    lines = csv.reader(itertools.chain([first], file), delimiter=separator, strict=True)
    header = next(lines, [])
    name, label = _find_columns(path, header)
    for values in lines:
        if not values:
            continue
        line = f"{path}, line {lines.line_num}"
        if len(values) != len(header):
            raise InputError(
                f"{line}: has {len(values)} values; expected {len(header)}, as in the header line."
            )
        yield _checked_row(line, root, values[name], values[label])


def _find_columns(path: Path, columns: Sequence[str]) -> tuple[int, int]:
    """Returns the numbers of the columns `path` and `label`."""
    names = [column.strip().lower() for column in columns]
    if any(names.count(column) != 1 for column in _COLUMNS):
        raise InputError(
            f"{path}: has the columns {listed(columns) or '(none)'}; expected path and label once "
            "each, with a comma, semicolon or tab between columns."
        )
    others = [column for column, name in zip(columns, names, strict=True) if name not in _COLUMNS]
    if others:
        # A column may say which images are for training; the user must know that all are taken.
        warn(f"{path}: only path and label are read, of all rows; ignored: {listed(others)}.")
    return names.index("path"), names.index("label")


def _checked_row(where: str, root: Path, name: Any, label: Any) -> tuple[Path, str]:
    label = "" if label is None else str(label).strip()
    if not name or not isinstance(name, str) or not label:
        raise InputError(f"{where}: has an empty path or label; fill it in or remove the line.")
    if not is_file(root / name):
        raise InputError(f"{where}: there is no image file {name!r} in {str(root.resolve())!r}.")
    return root / name, label


def _without_repeats(source: Path, rows: Rows) -> Rows:
    """Drops repeated rows: few-shot sampling would draw them as different images."""
    if not rows:
        raise InputError(f"{source}: lists no images; expected one row for each image.")
    labels: dict[Path, str] = {}
    for path, label in rows:
        known = labels.setdefault(path, label)
        if known != label:
            raise InputError(
                f"{source}: lists {path} as {known!r} and as {label!r}; keep the right label only."
            )
    if len(labels) < len(rows):
        warn(
            f"{source}: {len(rows) - len(labels)} of {len(rows)} rows list an image again and are "
            "left out."
        )
    return list(labels.items())
