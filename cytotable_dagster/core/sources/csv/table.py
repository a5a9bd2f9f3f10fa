"""A compartment that lies in CSV files, one for each site or one for the plate, read as one table.

Row numbers count the records of all its files, in the order of their names.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import SourceChangedError
from cytotable_dagster.core.model.presets import TABLE_NUMBER
from cytotable_dagster.core.model.types import Coercion, SourceColumn
from cytotable_dagster.core.sources.csv.dialect import Dialect
from cytotable_dagster.core.sources.csv.header import Header
from cytotable_dagster.core.sources.csv.parts import Part, Records, read_part
from cytotable_dagster.core.support.file_values import FILE_VALUES
from cytotable_dagster.core.support.files import as_json, read_packed, write_packed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.csv.batch import Asked
    from cytotable_dagster.core.sources.csv.block import Block

# Parts that are kept, as chunks may end within one; and what is known of tables.
_KEPT, _KEPT_TABLES = 2, 8


@dataclass(frozen=True)
class TablePart:
    """A part of one of the table's files: `name` is the file as the plate has it, `path` where it is read;
    `header` is the number of its header, `table_number` that of its site (None where the plate has none), `told` what
    its folder's name says, by column."""

    name: str
    path: str
    part: Part
    header: int
    rows: int
    table_number: int | None
    told: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True)
class CsvTable:
    """A table open for reading; see `protocols.TableReader`."""

    columns: tuple[SourceColumn, ...]
    headers: tuple[Header, ...]
    parts: tuple[TablePart, ...]
    encoding: str

    reader = "csv"
    reason = ""

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The row number of each part's first record, and the number of all."""
        return tuple(itertools.accumulate((part.rows for part in self.parts), initial=0))

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, the columns of those rows; a row number of -1 is a row of nulls."""
        from cytotable_dagster.core.sources.csv.batch import Asked, Batch

        asked = Asked(tuple(columns), tuple(types))
        kinds = {number: asked.kinds_of(header.names) for number, header in enumerate(self.headers)}
        block_of = lru_cache(maxsize=_KEPT)(lambda part: self._block(part, asked, kinds[self.parts[part].header]))
        for rows in wanted:
            batch = Batch(asked, len(rows))
            for part, places, own in self._by_part(rows):
                if part is None:
                    batch.leave_out(places)
                else:
                    batch.put(places, block_of(part), own, self._added(part))
            yield batch.arrays()

    def _by_part(self, rows: "np.ndarray") -> "Iterator[tuple[int | None, np.ndarray, np.ndarray]]":
        """The parts that rows are of (None for rows of nulls), in the order in which they come: which of the rows, and
        their places in the part."""
        import numpy as np

        owners = np.searchsorted(self.starts, rows, side="right") - 1
        found, first = np.unique(owners, return_index=True)
        for part in found[np.argsort(first)].tolist():
            at = np.flatnonzero(owners == part)
            yield (None, at, at) if part < 0 else (part, at, rows[at] - self.starts[part])

    def _added(self, part: int) -> Mapping[str, str | int]:
        found = self.parts[part]
        return {**dict(found.told), **({} if found.table_number is None else {TABLE_NUMBER: found.table_number})}

    def _block(self, number: int, asked: "Asked", kinds: "np.ndarray") -> "Block":
        """The records of a part, with those of the columns asked for that it has."""
        from cytotable_dagster.core.sources.csv.block import read_block, read_texts

        part = self.parts[number]
        header = self.headers[part.header]

        def records(*, exact: bool) -> Records:
            return read_part(Path(part.path), part.part, header, self.encoding, part.name, exact=exact)

        block = read_block(records(exact=False), header, kinds, part.rows)
        if block is None:
            block = read_texts(records(exact=True), header, kinds)
        if block.rows != part.rows:
            raise SourceChangedError(f"{part.name}: changed while it was converted; convert it again")
        return block


def csv_table_path(folder: Path, table: str) -> Path:
    """Where a plan keeps what it knows of a table's files."""
    return folder / f"{table}.csv.json.zst"


def save_table(table: CsvTable, path: Path) -> None:
    """Keep what is known of a table's files, for `load_table`."""
    write_packed(path, as_json(table))


def load_table(path: Path) -> CsvTable:
    return FILE_VALUES.get(path, _load_table, _KEPT_TABLES)


def _load_table(path: Path) -> CsvTable:
    known: dict[str, Any] = json.loads(read_packed(path))
    return CsvTable(
        columns=tuple(SourceColumn(*column) for column in known["columns"]),
        headers=tuple(
            Header(tuple(h["names"]), h["size"], tuple(h["notes"]), Dialect(**h["dialect"])) for h in known["headers"]
        ),
        parts=tuple(TablePart(**{**part, "part": Part(**part["part"])}) for part in known["parts"]),
        encoding=known["encoding"],
    )
