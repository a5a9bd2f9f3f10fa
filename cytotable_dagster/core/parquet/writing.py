"""How Parquet files are written here: footers, batches to files."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.parquet.concat import MAGIC, footer_like
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PREFIX = "cytotable_dagster:"
# What an entry of a footer takes beside its name and its text.
_ROOM_OF_AN_ENTRY = 32


class RowGroups:
    """A Parquet file under way: each table that is added becomes a row group.

    Args:
        out: an empty file open for writing, at its start.
        facts: what its footer tells, as `footer` has it.
    """

    def __init__(self, out: BinaryIO, schema: "pa.Schema", facts: Mapping[str, str]) -> None:
        from cytotable_dagster.core.parquet.encoding import layout_of

        self.rows = 0
        self._out, self._layout, self._entries = out, layout_of(schema), footer(facts)
        self._at = out.write(MAGIC)
        self._groups: list[bytes] = []

    def add(self, table: "pa.Table") -> None:
        from cytotable_dagster.core.parquet.encoding import encoded_group

        check_stopped()
        if table.num_rows:
            made = encoded_group(self._layout, table, self._at)
            self._at += self._out.write(made.memory[made.start : made.end].data)
            self._groups.append(made.group)
            self.rows += table.num_rows

    def finish(self, facts: Mapping[str, str]) -> None:
        """Write the footer, which tells the number of rows, and facts that were found on the way."""
        entries = self._entries | _found(self.rows, facts)
        self._out.write(footer_like(self._layout.empty, self.rows, b"".join(self._groups), len(self._groups), entries))


@contextmanager
def growing_file(path: Path, schema: "pa.Schema", facts: Mapping[str, str]) -> Iterator[RowGroups]:
    """A file to add tables to and to finish; it appears, when the block ends well."""
    with whole_file(path) as temporary, temporary.open("wb") as out:
        yield RowGroups(out, schema, facts)


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
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.parquet.encoding import encoded_group, group_room, layout_of

    check_stopped()
    layout, rows = layout_of(schema), batch.num_rows
    entries = footer(facts) | _found(rows, found)
    if not rows:
        return pa.py_buffer(MAGIC + footer_like(layout.empty, 0, b"", 0, entries))
    said = sum(len(name.encode()) + len(text.encode()) + _ROOM_OF_AN_ENTRY for name, text in entries.items())
    made = encoded_group(layout, batch, len(MAGIC), len(MAGIC), len(layout.empty.footer) + group_room(layout) + said)
    end = footer_like(layout.empty, rows, made.group, 1, entries)
    size = made.end + len(end)
    content = made.memory if size <= made.memory.size else np.concatenate([made.memory, np.empty(len(end), np.uint8)])
    content[: made.start] = np.frombuffer(MAGIC, np.uint8)
    content[made.end : size] = np.frombuffer(end, np.uint8)
    return pa.py_buffer(content).slice(0, size)


def _found(rows: int, facts: Mapping[str, str]) -> dict[str, str]:
    """Entries of a footer that are known at the end."""
    return {PREFIX + name: value for name, value in {"rows": str(rows), **facts}.items()}


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
