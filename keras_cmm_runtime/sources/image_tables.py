"""CSV and Parquet files that list image files and their classes."""

import contextlib
import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.sources.folders import is_file
from keras_cmm_runtime.sources.splits import declared_splits, find_splits
from keras_cmm_runtime.utils import listed, refuse_special_file, warn

_MAX_LINE = 2**20

Rows = list[tuple[Path, str]]
"""Image files with the names of their classes."""


@dataclass(frozen=True)
class ImageTable:
    """The rows of a file that lists images. No image file was looked for yet.

    Args:
        path: The file.
        columns: The names of its columns.
        rows: `(name for messages, values)` of each row.
        image: Number of the column of paths.
        label: Number of the column of labels.
    """

    path: Path
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Any]]]
    image: int
    label: int

    def splits(self) -> tuple[int | None, dict[str, str]]:
        """Finds the column that says which split a row is in.

        It is a column of nothing but splits: two of train, val and test at least, or one if the
        column is called split.

        Returns:
            The number of the column, or `None`, and the names of its splits by split.
        """
        for number, column in enumerate(self.columns):
            values = {_text(row[number]) for _, row in self.rows} - {""}
            # A column of ids has a value a row.
            if number in (self.image, self.label) or not 0 < len(values) <= 10:
                continue
            with contextlib.suppress(InputError):  # of several candidates for a split
                found = find_splits(values, self.path)
                if len(found) == len(values):
                    return number, found
            if column.strip().lower() == "split":
                return number, declared_splits(values)
        return None, {}

    def image_files(self, root: Path, split: tuple[int, str] | None = None) -> Rows:
        """Returns the image files of a split, given by its column and its name, or of all rows.

        Raises:
            InputError: If a row has no image file or label, or an image has several labels.
        """
        self._refuse_several_labels()
        self._warn_of_other_columns(None if split is None else split[0])
        if split is not None:
            none = sum(not _text(row[split[0]]) for _, row in self.rows)
            if none:
                warn(f"{self.path}: {none} of {len(self.rows)} rows are in no split and left out.")
        rows = [
            _checked_row(where, root, row[self.image], row[self.label])
            for where, row in self.rows
            if split is None or _text(row[split[0]]) == split[1]
        ]
        return _without_repeats(self.path, rows)

    def refuse_shared_images(self, column: int) -> None:
        """Raises an error if an image is in two splits, since test images must be new."""
        split_of: dict[str, str] = {}
        for where, row in self.rows:
            name, split = _text(row[self.image]), _text(row[column])
            if split and (first := split_of.setdefault(name, split)) != split:
                raise InputError(
                    f"{where}: the image {name!r} is in {first} and in {split}; splits must share "
                    "no image; keep it in one of them."
                )

    def _refuse_several_labels(self) -> None:
        """Raises an error if a row has several labels: a part of one is in another row too.

        A name with a semicolon that shares no part with other labels is the name of one class.
        """
        labels = {_text(row[self.label]) for _, row in self.rows}
        parts_of = {label: _parts(label) for label in labels}
        uses = Counter(part for parts in parts_of.values() for part in parts)
        for where, row in self.rows:
            parts = parts_of[_text(row[self.label])]
            if len(parts) > 1 and any(uses[part] > 1 for part in parts):
                raise InputError(
                    f"{where}: has {len(parts)} labels ({listed(sorted(parts))}), and several "
                    "classes an image (multi-label data) are not supported; keep one label or "
                    "leave the image out."
                )

    def _warn_of_other_columns(self, split: int | None) -> None:
        used = {self.image, self.label, split}
        others = [name for number, name in enumerate(self.columns) if number not in used]
        if others:
            # A column may say which images are for training; the user must know what is taken.
            read = f"{self.columns[self.image].strip()} and {self.columns[self.label].strip()}"
            rows = "of all rows" if split is None else "of the split's rows"
            warn(f"{self.path}: only {read.lower()} are read, {rows}; ignored: {listed(others)}.")


def read_csv_list(path: Path, image: str | None = None, label: str | None = None) -> ImageTable:
    """Reads a CSV file with the columns `path` and `label`; see `ImageList.from_csv`."""
    # A shell's `<(...)` is an open pipe, whose other end is there.
    if not str(path).startswith("/dev/fd/"):
        refuse_special_file(path)
    try:
        # utf-8-sig also reads UTF-8 without a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _csv_table(path, file, image, label)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"{path}: is not a valid CSV file ({error}).") from None


def read_parquet_list(path: Path, image: str | None = None, label: str | None = None) -> ImageTable:
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
            schema = file.schema_arrow
            numbers = _find_columns(path, schema.names, image, label)
            # Columns of other types, such as images, can be large, and cannot say the split.
            wanted = [
                field.name
                for number, field in enumerate(schema)
                if number in numbers
                or (_is_text(field.type) and schema.names.count(field.name) == 1)
            ]
            table = file.read(columns=wanted)
            values = {name: table.column(name).to_pylist() for name in wanted}
            nothing = [None] * table.num_rows
            rows = list(zip(*(values.get(name, nothing) for name in schema.names), strict=True))
    except InputError:
        raise
    # pyarrow checks texts only when they are taken out, and some of its reasons have several lines.
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        what = "cannot be read" if isinstance(error, OSError) else "is not a valid Parquet file"
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise InputError(f"{path}: {what} ({reason}).") from error
    named = [(f"{path}, row {number}", row) for number, row in enumerate(rows)]
    return ImageTable(path, schema.names, named, *numbers)


def is_parquet_list(path: Path, image: str | None = None) -> bool:
    """Returns whether a Parquet file lists images, rather than holding them.

    A file that cannot be read counts as a list, so that `read_parquet_list` reports the reason.

    Args:
        path: The file.
        image: Name of the column of images. Defaults to `path`.
    """
    refuse_special_file(path)
    try:
        import pyarrow
        from pyarrow.parquet import read_schema
    except ImportError:
        return True
    try:
        schema = read_schema(path)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError):
        return True
    if image is not None:
        return any(field.name == image and _is_text(field.type) for field in schema)
    return "path" in map(str.lower, schema.names)


def _csv_table(path: Path, file: TextIO, image: str | None, label: str | None) -> ImageTable:
    lines = _short_lines(path, file)
    first = next(lines, "")
    separator = max(",;\t", key=first.count)  # a comma if there is none of them
    # A pipe cannot go back to its start.
    reader = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
    header = next(reader, [])
    numbers = _find_columns(path, header, image, label)
    rows: list[tuple[str, Sequence[Any]]] = []
    for values in reader:
        if not values:
            continue
        where = f"{path}, line {reader.line_num}"
        if len(values) != len(header):
            raise InputError(
                f"{where}: has {len(values)} values; expected {len(header)}, as in the header line."
            )
        rows.append((where, values))
    return ImageTable(path, header, rows, *numbers)


def _short_lines(path: Path, file: TextIO) -> Iterator[str]:
    """Yields the lines of a text, none of which may fill the memory."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise InputError(f"{path}: is not a valid CSV file (a line is longer than 1 MiB).")
        if "\0" in line:
            raise InputError(
                f"{path}: is not a valid CSV file (it has NUL bytes, as UTF-16 text and damaged "
                "files have); save it as CSV in UTF-8."
            )
        yield line


def _find_columns(
    path: Path, columns: Sequence[str], image: str | None, label: str | None
) -> tuple[int, int]:
    """Returns the numbers of the columns of paths and of labels."""
    names = [column.strip().lower() for column in columns]
    wanted = [name.strip().lower() for name in (image or "path", label or "label")]
    if any(names.count(column) != 1 for column in wanted):
        raise InputError(
            f"{path}: has the columns {listed(columns) or '(none)'}; expected "
            f"{image or 'path'} and {label or 'label'} once each, with a comma, semicolon or tab "
            "between columns. Name others as `image` and `label`, on the command line as "
            "--image-column and --label-column."
        )
    return names.index(wanted[0]), names.index(wanted[1])


def _is_text(kind: Any) -> bool:
    """Returns whether a column of a Parquet file has texts, which may be stored by number."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _parts(label: str) -> set[str]:
    return {part.strip() for part in label.split(";") if part.strip()}


def _checked_row(where: str, root: Path, name: Any, label: Any) -> tuple[Path, str]:
    label = _text(label)
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
