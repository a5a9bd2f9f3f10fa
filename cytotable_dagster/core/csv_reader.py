"""A compartment that lies in CSV files, one for each site or one for the plate, read as one table.

Row numbers count the records of all its files, in the order of their names.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.arrays import from_numpy
from cytotable_dagster.core.csv_parts import Header, Part, parse, read_part
from cytotable_dagster.core.csv_types import of_type
from cytotable_dagster.core.files import whole_file
from cytotable_dagster.core.presets import TABLE_NUMBER
from cytotable_dagster.core.types import Coercion, SourceColumn
from cytotable_dagster.core.values import merged, typed_array

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


# Parts that are kept, as chunks may end within one.
_KEPT = 2


@dataclass(frozen=True)
class TablePart:
    """A part of one of the table's files: `name` is the file as the plate has it, `path` where it is read;
    `header` is the number of its header, `table_number` that of its site (None where the plate has none); `spool` is a
    file with its columns as they were parsed first, where they were kept."""

    name: str
    path: str
    part: Part
    header: int
    rows: int
    table_number: int | None
    spool: str | None = None


@dataclass(frozen=True)
class CsvTable:
    """A table open for reading; see `readers.TableReader`."""

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

        @lru_cache(maxsize=_KEPT)
        def columns_of(part: int) -> "list[pa.Array]":
            return self._read(part, columns, types)

        for rows in wanted:
            pieces: list[list[pa.Array]] = [[] for _ in columns]
            for part, places in self._runs(rows):
                arrays = _nulls(types, len(places)) if part is None else _taken(columns_of(part), places)
                for own, array in zip(pieces, arrays, strict=True):
                    own.append(array)
            found = [_together(*asked) for asked in zip(pieces, columns, types, strict=True)]
            yield [array for array, _ in found], merged([coercion for _, own in found for coercion in own])

    def _runs(self, rows: "np.ndarray") -> "Iterator[tuple[int | None, np.ndarray]]":
        """Row numbers that follow each other in one part: the part (None for rows of nulls), and places in it."""
        import numpy as np

        if not len(rows):
            return
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        for own in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(owners)) + 1):
            part = int(owners[own[0]])
            yield (None, rows[own]) if part < 0 else (part, rows[own] - self.starts[part])

    def _read(self, number: int, columns: Sequence[str], types: "Sequence[pa.DataType]") -> "list[pa.Array]":
        """Columns of a part: of the types wanted, or text where a value is not of its type."""
        import numpy as np
        import pyarrow as pa

        part = self.parts[number]
        wanted = dict(zip(columns, types, strict=True))
        found = _spooled(part.spool, wanted) if part.spool else {}
        rest = {name: type for name, type in wanted.items() if name not in found}
        found |= typed_columns(self, part, rest)
        result = []
        for name, type in wanted.items():
            if name in found:
                result.append(found[name])
            elif name == TABLE_NUMBER and part.table_number is not None:
                result.append(from_numpy(np.full(part.rows, part.table_number, np.int64)).cast(type))
            else:
                result.append(pa.nulls(part.rows, type))
        return result


def typed_columns(table: CsvTable, part: TablePart, types: "Mapping[str, pa.DataType]") -> "dict[str, pa.Array]":
    """Those of the columns that the part has, as int64, float64 or text, as asked for; a column stays text where a
    value does not fit."""
    import pyarrow as pa

    header = table.headers[part.header]
    asked = {name: types[name] for name in header.names if name in types}
    if not asked:
        return {}
    try:
        return parse(records(table, part), header, asked)
    except pa.ArrowInvalid:
        found = parse(records(table, part, exact=True), header, dict.fromkeys(asked, pa.string()))
    return {name: of_type(array, asked[name]) for name, array in found.items()}


def _spooled(path: str, wanted: "Mapping[str, pa.DataType]") -> "dict[str, pa.Array]":
    """Columns of a part as they were kept, in their final types; without those that are text now and were numbers."""
    import pyarrow as pa

    with pa.memory_map(path) as file:
        table = pa.ipc.open_file(file).read_all()
    arrays = {name: table.column(place).chunk(0) for place, name in enumerate(table.column_names) if name in wanted}
    found = {}
    for name, array in arrays.items():
        type, text = wanted[name], not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type))
        if array.type == type:
            found[name] = array
        elif text:
            found[name] = of_type(array, type)
        elif not pa.types.is_string(type):
            found[name] = array.cast(type)
    return found


def records(table: CsvTable, part: TablePart, *, exact: bool = False) -> bytes:
    """The records of a part, without the ragged ones."""
    return read_part(Path(part.path), part.part, table.headers[part.header], table.encoding, part.name, exact=exact)[0]


def csv_table_path(folder: Path, table: str) -> Path:
    """Where a plan keeps what it knows of a table's files."""
    return folder / f"{table}.csv.json"


def save_table(table: CsvTable, path: Path) -> None:
    """Keep what is known of a table's files, for `load_table`."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(asdict(table)))


def load_table(path: Path) -> CsvTable:
    return _load_table(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load_table(path: Path, changed: int) -> CsvTable:
    known: dict[str, Any] = json.loads(path.read_text())
    return CsvTable(
        columns=tuple(SourceColumn(**column) for column in known["columns"]),
        headers=tuple(Header(tuple(h["names"]), h["size"], h["lines"], tuple(h["notes"])) for h in known["headers"]),
        parts=tuple(TablePart(**{**part, "part": Part(**part["part"])}) for part in known["parts"]),
        encoding=known["encoding"],
    )


def _taken(arrays: "Sequence[pa.Array]", places: "np.ndarray") -> "list[pa.Array]":
    """These places of each array; without a copy where they follow each other."""
    if (places[1:] == places[:-1] + 1).all():
        return [array.slice(int(places[0]), len(places)) for array in arrays]
    at = from_numpy(places)
    return [array.take(at) for array in arrays]


def _nulls(types: "Sequence[pa.DataType]", rows: int) -> "list[pa.Array]":
    import pyarrow as pa

    return [pa.nulls(rows, type) for type in types]


def _together(pieces: "list[pa.Array]", name: str, type: "pa.DataType") -> "tuple[pa.Array, tuple[Coercion, ...]]":
    """One array of the pieces, text among them converted value by value."""
    import pyarrow as pa

    coercions = []
    for place, piece in enumerate(pieces):
        if piece.type != type:
            pieces[place], coercion = typed_array(piece.to_pylist(), name, type)
            coercions += [coercion] if coercion else []
    return pa.concat_arrays(pieces) if pieces else pa.nulls(0, type), tuple(coercions)
