"""How Parquet files are written here: settings, footers, batches to files, files to one file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PREFIX = "cytotable_dagster:"
# Measured on 4,000 rows of 1,932 columns, one core: 565 MB/s and 87 % of the raw size, where Parquet's usual settings
# (snappy, plain, statistics everywhere) give 558 MB/s and 93 %, and zstd 262 MB/s and 87 %.
_COMPRESSION = "lz4"
_FLOAT_ENCODING = "BYTE_STREAM_SPLIT"
# What headers, levels and footer take at the most, beside the values.
_ROOM_OF_A_COLUMN, _ROOM = 1 << 13, 1 << 20


@contextmanager
def parquet_writer(
    sink: "Path | pa.NativeFile", schema: "pa.Schema", facts: Mapping[str, str]
) -> "Iterator[pq.ParquetWriter]":
    """A writer of one file; each table written is one row group.

    Measurements hardly repeat and are seldom selected by value, so only text gets a dictionary, and only other
    columns get statistics.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    with pq.ParquetWriter(
        sink,
        schema.remove_metadata(),
        compression=_COMPRESSION,
        use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
        column_encoding=dict.fromkeys(floats, _FLOAT_ENCODING),
        write_statistics=sorted(set(schema.names) - set(floats)),
        # Parquet's own types say it all but for a few; of 2,000 columns it is a third of a megabyte.
        store_schema=not all(map(_is_plain, schema.types)),
    ) as writer:
        writer.add_key_value_metadata(footer(facts))
        yield writer


def _is_plain(kind: "pa.DataType") -> bool:
    """Whether a column of this type is read as what it was written as, without Arrow's own schema in the footer."""
    import pyarrow as pa

    return kind in (pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.string(), pa.binary(), pa.bool_())


def write_batches(
    path: Path,
    schema: "pa.Schema",
    batches: "Iterable[pa.Table]",
    facts: Mapping[str, str],
    found: Callable[[], Mapping[str, str]] = dict,
) -> int:
    """Write tables as the row groups of one file, which appears when it is whole; the number of rows, which joins the
    facts, as does what `found` gives once all batches are there."""
    with whole_file(path) as temporary:
        return _write(temporary, schema, batches, facts, found)


def encoded_batches(
    schema: "pa.Schema", batches: "Sequence[pa.Table]", facts: Mapping[str, str]
) -> "tuple[int, pa.Buffer]":
    """What `write_batches` would write, and the number of rows."""
    import numpy as np
    import pyarrow as pa

    # Memory is taken as it is written to, so that room to spare costs nothing; a stream that grows copies itself.
    room = 2 * sum(batch.nbytes for batch in batches) + _ROOM_OF_A_COLUMN * len(schema) + _ROOM
    memory = pa.py_buffer(np.empty(room, np.uint8))
    with pa.FixedSizeBufferWriter(memory) as sink:
        rows = _write(sink, schema, batches, facts, dict)
        return rows, memory.slice(0, sink.tell())


def _write(
    sink: "Path | pa.NativeFile",
    schema: "pa.Schema",
    batches: "Iterable[pa.Table]",
    facts: Mapping[str, str],
    found: Callable[[], Mapping[str, str]],
) -> int:
    rows = 0
    with parquet_writer(sink, schema, facts) as writer:
        for batch in batches:
            check_stopped()
            if batch.num_rows:
                writer.write_table(batch, row_group_size=batch.num_rows)
                rows += batch.num_rows
        last = {"rows": str(rows), **found()}
        writer.add_key_value_metadata({PREFIX + name: value for name, value in last.items()})
    return rows


def footer(facts: Mapping[str, str]) -> dict[str, str]:
    """Entries of a file's footer: nothing that changes from run to run."""
    return {
        "data-producer": "cytotable_dagster",
        "data-producer-version": facts["version"],
        **{PREFIX + name: value for name, value in facts.items()},
    }


def read_facts(path: Path) -> dict[str, str]:
    """What `footer` wrote, without its prefix; empty for a file of another producer."""
    import pyarrow.parquet as pq

    return facts_in(pq.read_metadata(path))


def facts_in(metadata: "pq.FileMetaData") -> dict[str, str]:
    """What `footer` wrote, as a file's metadata has it."""
    entries = metadata.metadata or {}
    return {
        name.decode().removeprefix(PREFIX): value.decode()
        for name, value in entries.items()
        if name.decode().startswith(PREFIX)
    }


def row_count(path: "Path | pa.NativeFile") -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)
