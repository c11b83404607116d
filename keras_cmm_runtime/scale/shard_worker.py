"""From a part of the images to its file."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.decoded_rows import DecodedRows, decode_rows, no_rows
from keras_cmm_runtime.scale.input_shard import InputShard
from keras_cmm_runtime.scale.read_shard import UNWRITABLE, asking_again, read_shard
from keras_cmm_runtime.scale.shard_format import SHARDS, SUFFIX
from keras_cmm_runtime.scale.shard_model import ShardModel
from keras_cmm_runtime.scale.shard_result import ShardResult
from keras_cmm_runtime.scale.storage import Storage

if TYPE_CHECKING:
    import pyarrow

_COUNTS = b"keras_cmm"


class ShardWorker:
    """Makes the file of a part: the unit of work, the same on one machine and on many.

    The file is written whole or not at all. If it is there already, nothing is done. So whatever
    ends a run, the next one goes on with the parts that have no file, and two runs do no harm to
    each other.

    Args:
        make_model: makes what makes columns of decoded images. It is called for the first part that
            has no file, so a run that finds all files loads no model.
        output: the folder of the output.
        threads: threads that decode ahead of the model, or 0.

    Example:
        See `embed_shards`.
    """

    def __init__(
        self, make_model: Callable[[], ShardModel], output: Storage, threads: int = 0
    ) -> None:
        self.make_model = make_model
        self._making = threading.Lock()
        self._model: ShardModel | None = None
        self.output = output
        self.threads = threads

    @property
    def model(self) -> ShardModel:
        """The model, which is made now if it is not there.

        Raises:
            InputError: If it cannot be made. No part can be made then.
        """
        with self._making:
            if self._model is None:
                try:
                    self._model = self.make_model()
                except Exception as error:  # Each library raises errors of its own.
                    raise InputError(f"the model of a worker cannot be made: {error}") from error
            return self._model

    def __call__(
        self,
        shard: InputShard,
        decode: Callable[[InputShard, ShardModel], Iterator[DecodedRows]] | None = None,
    ) -> ShardResult:
        """Makes the file of a part, if it is not there.

        Args:
            shard: The part.
            decode: Yields its images, decoded, or `None` to decode them here.

        Returns:
            What became of it.

        Raises:
            InputError: If the model cannot be made, or the disk of the output is full.
        """
        name = f"{SHARDS}/{shard.name}{SUFFIX}"
        start = time.monotonic()
        try:
            there = counts_of_file(self.output, name)
            if there is not None:
                return ShardResult(shard.name, **there)
        except (InputError, OSError) as error:
            return _failed(shard, error)
        model = self.model
        try:
            data, counts = self._made((decode or self._decoded)(shard, model))
            asking_again(lambda: self.output.write(name, data))
        except (InputError, OSError) as error:
            if getattr(error, "errno", None) in UNWRITABLE:
                # No other part could be written either.
                raise InputError(f"{self.output.uri}: cannot be written ({error}).") from error
            return _failed(shard, error)
        return ShardResult(shard.name, **counts, seconds=time.monotonic() - start, is_new=True)

    def _decoded(self, shard: InputShard, model: ShardModel) -> Iterator[DecodedRows]:
        return decode_rows(read_shard(shard), model.preprocessor, model.batch_size, self.threads)

    def _made(self, batches: Iterable[DecodedRows]) -> tuple[bytes, dict[str, Any]]:
        """Returns the bytes of the file and its counts."""
        import pyarrow

        tables = [self._table(batch) for batch in batches]
        table = pyarrow.concat_tables(tables or [self._table(no_rows(self.model.preprocessor))])
        return file_of_table(table)

    def _table(self, batch: DecodedRows) -> pyarrow.Table:
        import pyarrow

        rows = batch.rows
        columns = {
            "id": _strings(row.id for row in rows),
            "label": _strings(row.label for row in rows),
            "split": _strings(row.split for row in rows),
            "digest": pyarrow.array(batch.digests, pyarrow.binary(32)),
            "error": _strings(row.error for row in rows),
        }
        readable = [row.error is None for row in rows]
        return pyarrow.table(columns | self.model.columns(batch.pixels, readable))


def _strings(texts: Iterable[str | None]) -> pyarrow.Array:
    r"""Returns a column of texts. What is no UTF-8 in a name is written as `\udce4`."""
    import pyarrow

    encoded = [None if text is None else text.encode(errors="backslashreplace") for text in texts]
    return pyarrow.array(encoded, "binary").cast("string")


def file_of_table(table: pyarrow.Table) -> tuple[bytes, dict[str, Any]]:
    """Returns the file of a part's rows, and its counts, as `ShardResult` takes them.

    Args:
        table: The rows, with the columns `label` and `error`.
    """
    import pyarrow.parquet

    errors = table.column("error").to_pylist()
    labels = table.column("label").to_pylist()
    known = Counter(
        label
        for label, error in zip(labels, errors, strict=True)
        if error is None and label is not None
    )
    counts = {
        "rows": len(errors),
        "errors": sum(error is not None for error in errors),
        "labels": dict(sorted(known.items())),
    }
    # A later run reads these at the end of the file, and not the file.
    table = table.replace_schema_metadata({_COUNTS: json.dumps(counts)})
    file = io.BytesIO()
    pyarrow.parquet.write_table(
        table,
        file,
        compression="zstd",
        use_dictionary=["label", "split", "error"],
        row_group_size=1 << 16,
    )
    return file.getvalue(), counts


def _failed(shard: InputShard, error: Exception) -> ShardResult:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ShardResult(shard.name, failure=reason)


def counts_of_file(output: Storage, file: str) -> dict[str, Any] | None:
    """Returns the counts of a file, from its end, or `None` if it is not there or damaged."""
    import pyarrow
    import pyarrow.parquet

    def read() -> dict[str, Any] | None:
        if not output.exists(file):
            return None
        try:
            with output.open(file) as opened:
                parquet = pyarrow.parquet.ParquetFile(opened)
            counts = dict(json.loads((parquet.schema_arrow.metadata or {})[_COUNTS]))
            return counts if counts["rows"] == parquet.metadata.num_rows else None
        except (pyarrow.ArrowInvalid, KeyError, ValueError):
            return None

    return asking_again(read)


MakeWorker = Callable[[], ShardWorker]
"""Makes the worker of a process, which loads the model."""
