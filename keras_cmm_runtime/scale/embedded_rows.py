"""Reading the rows of a part of embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_cmm_runtime.errors import InputError
from keras_cmm_runtime.scale.shard_format import MANIFEST_FILE, SHARDS, SUFFIX
from keras_cmm_runtime.scale.storage import Storage

if TYPE_CHECKING:
    import pyarrow

_ROWS_AT_A_TIME = 1 << 14


def embedded_rows(
    storage: Storage, manifest: Mapping[str, Any], name: str, rows: int, columns: Sequence[str]
) -> Iterator[pyarrow.RecordBatch]:
    """Reads the rows of a part of embeddings, some at a time.

    Args:
        storage: The folder.
        manifest: What `read_manifest` returns.
        name: The name of the part.
        rows: How many rows the manifest says that it has.
        columns: The columns to read.

    Yields:
        The rows.

    Raises:
        InputError: If the file is damaged, or is not what the manifest says.
        OSError: If the store fails.
    """
    import pyarrow
    import pyarrow.parquet

    file = f"{SHARDS}/{name}{SUFFIX}"
    try:
        with storage.open(file) as opened:
            parquet = pyarrow.parquet.ParquetFile(opened)
            found, schema = parquet.metadata.num_rows, parquet.schema_arrow
            if found != rows:
                raise InputError(
                    f"{storage.uri}/{file}: has {found} rows, and {MANIFEST_FILE} says {rows}; run "
                    "the command that made it again."
                )
            missing = set(columns) - set(schema.names)
            if missing:
                raise InputError(f"{storage.uri}/{file}: has no column {min(missing)}.")
            kind = pyarrow.list_(pyarrow.float16(), manifest["dim"])
            if "embedding" in columns and schema.field("embedding").type != kind:
                raise InputError(
                    f"{storage.uri}/{file}: its embeddings are no float16 of {manifest['dim']} "
                    "numbers each."
                )
            yield from parquet.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=list(columns))
    except pyarrow.ArrowInvalid as error:
        raise InputError(
            f"{storage.uri}/{file}: is damaged ({error}); run the command that made it again."
        ) from error
