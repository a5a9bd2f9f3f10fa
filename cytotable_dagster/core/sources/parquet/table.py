"""A table that lies in Parquet files.

Row numbers count the rows of all files, sorted by name. What is read at once is a piece: a row group, or where these
are too large, or the rows of an image lie apart, a batch of a copy that is mapped into memory.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.sources.parquet.file import columns_of, damage_told, footer, opened
from cytotable_dagster.core.sources.parquet.values import as_type
from cytotable_dagster.core.support.arrays import from_numpy
from cytotable_dagster.core.support.file_values import FILE_VALUES
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    # Columns of a piece, given its number.
    Read = Callable[[int], list[pa.Array]]

# Tables of which it is kept what is known of them, pieces that a pass keeps in memory.
_KEPT, _PIECES_KEPT = 8, 2


@dataclass(frozen=True)
class Piece:
    """Rows that are read at once: the row group `number` of a file, or the batch of that number of the copy."""

    file: int
    number: int
    rows: int


@dataclass(frozen=True)
class ParquetTable:
    """The files of a compartment; see `protocols.BatchReader`. `stored` are the names in the files of columns that go
    by another here; `copy` is the copy that pieces are of, empty where they are row groups."""

    compartment: str
    files: tuple[str, ...]
    pieces: tuple[Piece, ...]
    stored: dict[str, str]
    copy: str = ""

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The row number of each piece's first row, and the number of all rows."""
        return tuple(itertools.accumulate((piece.rows for piece in self.pieces), initial=0))

    def batches(
        self, wanted: "Sequence[np.ndarray]", columns: Sequence[str], types: "Sequence[pa.DataType]"
    ) -> "Iterator[tuple[list[pa.Array], tuple[Coercion, ...]]]":
        """For each array of row numbers, the columns of those rows; a row number of -1 is a row of nulls."""
        import numpy as np
        import pyarrow as pa

        starts = np.array(self.starts)
        read = lru_cache(_PIECES_KEPT)(self.reading(columns))
        for rows in wanted:
            owners = np.where(rows < 0, -1, np.searchsorted(starts, rows, side="right") - 1)
            order = np.argsort(owners, kind="stable")
            found: list[list[pa.Array]] = [[pa.array([], type)] for type in types]
            coercions: list[Coercion] = []
            for places in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1) if len(rows) else ():
                owner = int(owners[places[0]])
                part = _rows_of(read(owner), rows[places] - starts[owner]) if owner >= 0 else None
                for at, (name, type) in enumerate(zip(columns, types, strict=True)):
                    array, coercion = (
                        (pa.nulls(len(places), type), None) if part is None else as_type(part[at], name, type)
                    )
                    found[at].append(array)
                    coercions += [coercion] if coercion else []
            arrays = [pa.concat_arrays(parts) for parts in found]
            if (np.diff(order) != 1).any():
                back = from_numpy(np.argsort(order))
                arrays = [array.take(back) for array in arrays]
            yield arrays, merged(coercions)

    def column(self, name: str) -> "list[pa.Array]":
        """All values of a column, as they are stored."""
        read = self.reading([name])
        return [read(number)[0] for number in range(len(self.pieces))]

    def reading(self, columns: Sequence[str]) -> "Read":
        """What reads these columns."""
        names = [self.stored.get(name, name) for name in columns]
        return self._reading_copy(names) if self.copy else self._reading_groups(names)

    def _reading_groups(self, names: Sequence[str]) -> "Read":
        import pyarrow as pa

        def read(number: int) -> "list[pa.Array]":
            piece = self.pieces[number]
            path = Path(self.files[piece.file])
            there = columns_of(path)
            with damage_told(path), opened(path) as file:
                read = file.read_row_group(
                    piece.number, columns=[name for name in dict.fromkeys(names) if name in there]
                )
            found = dict(zip(read.column_names, read.columns, strict=True))
            return [whole(found[name]) if name in found else pa.nulls(piece.rows) for name in names]

        return read

    def _reading_copy(self, names: Sequence[str]) -> "Read":
        import pyarrow as pa

        copied = pa.ipc.open_file(pa.memory_map(self.copy))

        def read(number: int) -> "list[pa.Array]":
            batch = copied.get_batch(number)
            return [batch.column(name) for name in names]

        return read


def whole(column: "pa.ChunkedArray") -> "pa.Array":
    """A column in one piece, without a copy where it is one."""
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _rows_of(columns: "Sequence[pa.Array]", rows: "np.ndarray") -> "list[pa.Array]":
    import numpy as np

    if (np.diff(rows) == 1).all():
        return [array.slice(int(rows[0]), len(rows)) for array in columns]
    places = from_numpy(rows)
    return [array.take(places) for array in columns]


def parquet_table_path(folder: Path, compartment: str) -> Path:
    """Where a plan keeps what it knows of a table's files."""
    return folder / f"{compartment}.parquet.json"


def save_parquet_table(table: ParquetTable, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(parquet_table_path(folder, table.compartment)) as temporary:
        temporary.write_text(json.dumps(asdict(table)))


def load_parquet_table(path: Path) -> ParquetTable:
    return FILE_VALUES.get(path, _load, _KEPT)


def _load(path: Path) -> ParquetTable:
    known = json.loads(path.read_text())
    pieces = tuple(Piece(**piece) for piece in known["pieces"])
    return ParquetTable(**{**known, "files": tuple(known["files"]), "pieces": pieces})


def rows_in(files: Sequence[Path]) -> tuple[Piece, ...]:
    """The row groups of files."""
    return tuple(
        Piece(number, group, footer(path).row_group(group).num_rows)
        for number, path in enumerate(files)
        for group in range(footer(path).num_row_groups)
    )
