"""How Parquet files are written here: footers, batches to files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.parquet.parts import MAGIC, footer_like
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.core.support.pieces import Content, write_pieces

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from cytotable_dagster.core.parquet.columns import Columns

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
        from cytotable_dagster.core.parquet.layout import layout_of

        self.rows = 0
        self._out, self._layout, self._entries = out, layout_of(schema), footer(facts)
        self._at = out.write(MAGIC)
        self._groups: list[bytes] = []

    def add(self, table: "pa.Table") -> None:
        from cytotable_dagster.core.parquet.columns import encoded_columns

        self.add_encoded([encoded_columns(self._layout, table)])

    def add_encoded(self, sides: "Sequence[Columns]", of: "np.ndarray | None" = None) -> None:
        """Add columns that are encoded; `sides` and `of` as `row_group` has them."""
        from cytotable_dagster.core.parquet.encoding import row_group

        check_stopped()
        if sides[0].rows:
            made = row_group(self._layout, sides, self._at, of)
            self._at += write_pieces(self._out, made.pages)
            self._groups.append(made.item)
            self.rows += made.rows

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
) -> Content:
    """What a `growing_file` with these facts has in it, of one table, once it is finished with what was `found`."""
    from cytotable_dagster.core.parquet.columns import encoded_columns
    from cytotable_dagster.core.parquet.layout import layout_of

    return encoded_content(schema, [encoded_columns(layout_of(schema), batch)], None, facts, found)


def encoded_content(
    schema: "pa.Schema",
    sides: "Sequence[Columns]",
    of: "np.ndarray | None",
    facts: Mapping[str, str],
    found: Mapping[str, str],
) -> Content:
    """The same of columns that are encoded; `sides` and `of` as `row_group` has them."""
    from cytotable_dagster.core.parquet.encoding import row_group
    from cytotable_dagster.core.parquet.layout import layout_of

    check_stopped()
    layout, rows = layout_of(schema), sides[0].rows
    entries = footer(facts) | _found(rows, found)
    if not rows:
        return Content([MAGIC], footer_like(layout.empty, 0, b"", 0, entries))
    made = row_group(layout, sides, len(MAGIC), of)
    return Content([MAGIC, *made.pages], footer_like(layout.empty, rows, made.item, 1, entries))


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
