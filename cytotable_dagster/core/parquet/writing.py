"""How Parquet files are written here: settings, footers, batches to files, files to one file."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.core.support.memory import lent

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PREFIX = "cytotable_dagster:"
# Plain values, which every reader takes; see docs/performance.md for what else was measured.
_COMPRESSION = "lz4"
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

    kinds, names = schema.types, schema.names
    floats = {kind for kind in set(kinds) if pa.types.is_floating(kind)}
    with pq.ParquetWriter(
        sink,
        schema.remove_metadata(),
        compression=_COMPRESSION,
        use_dictionary=[name for name, kind in zip(names, kinds, strict=True) if kind == pa.string()],
        write_statistics=[name for name, kind in zip(names, kinds, strict=True) if kind not in floats],
        # Parquet's own types say it all but for a few; of 2,000 columns it is a third of a megabyte.
        store_schema=not all(map(_is_plain, set(kinds))),
    ) as writer:
        writer.add_key_value_metadata(footer(facts))
        yield writer


def _is_plain(kind: "pa.DataType") -> bool:
    """Whether a column of this type is read as what it was written as, without Arrow's own schema in the footer."""
    import pyarrow as pa

    return kind in (pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.string(), pa.binary(), pa.bool_())


class RowGroups:
    """A Parquet file under way: each table that is added becomes a row group."""

    def __init__(self, writer: "pq.ParquetWriter") -> None:
        self.rows = 0
        self._writer = writer

    def add(self, table: "pa.Table") -> None:
        check_stopped()
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
            self.rows += table.num_rows

    def finish(self, facts: Mapping[str, str]) -> None:
        """Tell the number of rows, and facts that were found on the way."""
        last = {"rows": str(self.rows), **facts}
        self._writer.add_key_value_metadata({PREFIX + name: value for name, value in last.items()})


@contextmanager
def growing_file(path: Path, schema: "pa.Schema", facts: Mapping[str, str]) -> Iterator[RowGroups]:
    """A file to add tables to; it appears, when it is finished and the block ends well."""
    with whole_file(path) as temporary, parquet_writer(temporary, schema, facts) as writer:
        yield RowGroups(writer)


def write_batches(path: Path, schema: "pa.Schema", batches: "Iterable[pa.Table]", facts: Mapping[str, str]) -> int:
    """Write tables as the row groups of one file, which appears when it is whole; the number of rows, which joins the
    facts."""
    with growing_file(path, schema, facts) as file:
        for batch in batches:
            file.add(batch)
        file.finish({})
        return file.rows


def encoded_batch(
    schema: "pa.Schema", batch: "pa.Table", facts: Mapping[str, str], found: Mapping[str, str]
) -> "pa.Buffer":
    """What a `growing_file` with these facts has in it, of one table, once it is finished with what was `found`."""
    import pyarrow as pa

    # Memory is taken as it is written to, so that room to spare costs nothing; a stream that grows copies itself.
    room = 2 * batch.nbytes + _ROOM_OF_A_COLUMN * len(schema) + _ROOM
    memory = pa.py_buffer(lent(room))
    with pa.FixedSizeBufferWriter(memory) as sink:
        with parquet_writer(sink, schema, facts) as writer:
            file = RowGroups(writer)
            file.add(batch)
            file.finish(found)
        return memory.slice(0, sink.tell())


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
