"""A copy of a Parquet table in which any rows are found without reading others."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.sources.parquet.file import columns_of, damage_told, opened
from cytotable_dagster.core.sources.parquet.table import ParquetTable, Piece
from cytotable_dagster.core.sources.parquet.values import widest
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

# Values of a piece of a copy, and the most that a row group may have to be read as it is.
_PIECE_VALUES, _MOST_VALUES = 4_000_000, 40_000_000


def needs_copy(table: ParquetTable, columns: int, owners: "pa.Array") -> bool:
    """Whether reading images one after the other would read pieces again and again, or more than fits.

    Args:
        columns: how many there are.
        owners: the piece of each row, rows in the order of the result.
    """
    import numpy as np

    if max((piece.rows for piece in table.pieces), default=0) * columns > _MOST_VALUES:
        return True
    return int(np.count_nonzero(np.diff(owners))) > 2 * len(table.pieces)


def copied(table: ParquetTable, folder: Path) -> ParquetTable:
    """The table, in an uncompressed Arrow file that is kept with the plan in `folder`."""
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {}
    for path in map(Path, table.files):
        for name, type in columns_of(path).items():
            kinds[name] = widest(kinds.get(name, type), type)
    schema = pa.schema(list(kinds.items()))
    size = max(_PIECE_VALUES // max(len(schema), 1), 1)
    pieces: list[Piece] = []
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{table.compartment}.arrow"
    with whole_file(copy) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        for path in map(Path, table.files):
            with damage_told(path), opened(path) as file:
                for batch in file.iter_batches(size):
                    names = batch.schema.names
                    arrays = [
                        batch.column(field.name).cast(field.type)
                        if field.name in names
                        else pa.nulls(len(batch), field.type)
                        for field in schema
                    ]
                    writer.write_batch(pa.record_batch(arrays, schema=schema))
                    pieces.append(Piece(0, len(pieces), len(batch)))
    return replace(table, pieces=tuple(pieces), copy=str(copy))
