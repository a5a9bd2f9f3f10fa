"""Which cells crops are made of: rows of single cells, chosen by a query, with their keys and places."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import OptionError, SourceNotFoundError
from cytotable_dagster.core.images.boxes import PlaceColumns, place_columns
from cytotable_dagster.core.images.image import PLATE, SITE, WELL
from cytotable_dagster.core.intake.cache import fetch
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.arguments import address_in, number_in, rows_in, text_in
from cytotable_dagster.core.support.other_results import other_result
from cytotable_dagster.core.support.suggestions import nearest
from cytotable_dagster.core.support.written_paths import expanded

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

ROW = "row"
"""The position of a cell in the table of single cells, from 0."""

# Whatever names they have: ours, CytoTable's, and those of a table without prefixes.
IMAGE_KEYS = (
    "Metadata_TableNumber",
    "Metadata_Image_TableNumber",
    "Image_TableNumber",
    "TableNumber",
    "Metadata_ImageNumber",
    "ImageNumber",
)
_PLACES = {
    PLATE: (PLATE, f"Image_{PLATE}"),
    WELL: (WELL, f"Image_{WELL}"),
    SITE: (SITE, f"Image_{SITE}"),
}
_OBJECTS = "ObjectNumber"
_USUAL = "single_cells.parquet"


@dataclass(frozen=True)
class CellTable:
    """A table of single cells on this machine, and which of its columns matter here: `keys` of the image, `objects`,
    `places` (Metadata_Plate, ... -> column) and `where` cells are."""

    path: Path
    address: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    objects: tuple[str, ...]
    places: Mapping[str, str]
    where: PlaceColumns


def open_cells(single_cells: "str | Path", cache: Cache, bbox_column_map: Mapping[str, str] | None = None) -> CellTable:
    """A Parquet file of single cells, a folder of such, or the folder or prefix that `single_cells.parquet` is in.

    Raises:
        SourceNotFoundError: it is not there.
        OptionError: it says neither of which image its rows are nor where cells are.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    address = expanded(address_in("single_cells", single_cells), to_read=True)
    if other := other_result(address):
        raise OptionError(f"{address}: {other}; crops are made of a Parquet file of single cells, so name that")
    if is_remote(address):
        place = destination_of(address, cache.store)
        address = place.address(_USUAL) if place.exists(_USUAL) else address
        path = fetch(Plate("single_cells", address), cache).path
    else:
        path = Path(address).absolute()
    # The folder of a plate of a lake, or of a conversion.
    if (path / _USUAL).is_file():
        path = path / _USUAL
    if not path.exists():
        raise SourceNotFoundError(f"{address}: no such file of single cells")
    try:
        first = path if path.is_file() else next(iter(sorted(path.rglob("*.parquet"))))
        names = tuple(pq.read_schema(first).names)
    except (pa.ArrowInvalid, StopIteration) as error:
        raise OptionError(f"{address}: no Parquet file of single cells") from error
    keys = tuple(name for name in IMAGE_KEYS if name in names)
    if not any("ImageNumber" in key for key in keys):
        raise OptionError(f"{address}: no column Metadata_ImageNumber says of which image a cell is")
    return CellTable(
        path=path,
        address=address,
        columns=names,
        keys=keys,
        objects=tuple(name for name in names if name.startswith("Metadata_") and name.endswith(_OBJECTS)),
        places={place: found for place, wanted in _PLACES.items() if (found := _first(names, wanted))},
        where=place_columns(names, bbox_column_map, address),
    )


def chosen(
    table: CellTable,
    where: str | None = None,
    *,
    limit: int | None = None,
    per_well: int | None = None,
    rows: Iterable[int] | None = None,
    more: Sequence[str] = (),
) -> "pa.Table":
    """The cells that a condition chooses, by image and then in the table's order; `row` is where they stand in it.

    Args:
        where: SQL, as DuckDB reads it.
        limit: no more than so many, the first.
        per_well: of each well no more than so many, of as few of its images as have them; the same ones each time.
        rows: only these, by `row`.
        more: columns beside the keys and places.

    Raises:
        OptionError: a condition or number that means nothing.
    """
    for name, value in (("limit", limit), ("per_well", per_well)):
        if value is not None:
            number_in(name, value, "cells")
    if where is not None:
        text_in("where", where, "'Cells_AreaShape_Area > 2000'")
    rows = rows_in("rows", rows)
    wells = [column for place, column in table.places.items() if place in (PLATE, WELL)]
    if per_well is not None and not wells:
        raise OptionError(f"per_well: {table.address} has no column Metadata_Well")
    columns = dict.fromkeys([*table.keys, *table.objects, *table.places.values(), *table.where.all, *more])
    listed = ", ".join(quoted(name) for name in columns)
    inner = f'SELECT {listed}, "{ROW}" FROM {source_of(table)}'
    conditions = [f"({where})"] if where and where.strip() else []
    if rows is not None:
        conditions.append(f'"{ROW}" IN ({", ".join(map(str, rows)) or -1})')
    if conditions:
        inner += f" WHERE {' AND '.join(conditions)}"
    query = f"SELECT * FROM ({inner})"
    if per_well is not None:
        among = ", ".join(quoted(name) for name in wells)
        # Of one image before another, so that as few images as possible have to be read.
        image = ", ".join(quoted(name) for name in table.keys)
        order = f'hash({image}), {image}, hash("{ROW}"), "{ROW}"'
        query += f" QUALIFY row_number() OVER (PARTITION BY {among} ORDER BY {order}) <= {per_well}"
    query = f'SELECT * FROM ({query}) ORDER BY "{ROW}"'
    if limit is not None:
        query += f" LIMIT {limit}"
    keys = ", ".join(quoted(name) for name in table.keys)
    return asked(f'SELECT * FROM ({query}) ORDER BY {keys}, "{ROW}"', table, where)


def distinct_images(table: CellTable, columns: Sequence[str]) -> "pa.Table":
    """The images of all cells, once each: their keys, plate, well, site and these columns."""
    names = dict.fromkeys([*table.keys, *table.places.values(), *columns])
    keys = ", ".join(quoted(name) for name in table.keys)
    rest = ", ".join(f"any_value({quoted(name)}) AS {quoted(name)}" for name in names if name not in table.keys)
    query = f"SELECT {keys}{', ' + rest if rest else ''} FROM {source_of(table)} GROUP BY {keys} ORDER BY {keys}"
    return asked(query, table, None)


def asked(query: str, table: CellTable, where: str | None = None) -> "pa.Table":
    import duckdb

    try:
        with duckdb.connect() as link:
            return _result(link, query)
    except duckdb.Error as error:
        about = f"where={where!r}" if where else table.address
        raise OptionError(f"{about}: {_said(error, table)}") from error


def _said(error: "duckdb.Error", table: CellTable) -> str:
    """What DuckDB says, in a line; of a column that is not there, which was meant."""
    said = str(error)
    unknown = re.search(r'Referenced column "(.+?)" not found', said)
    if unknown is None:
        return one_line(said.split("\n")[0], 300)
    meant = nearest(unknown[1], table.columns)
    return f"there is no column {unknown[1]}{f'; did you mean {meant}?' if meant else ''}"


def _result(link: "duckdb.DuckDBPyConnection", query: str) -> "pa.Table":
    link.execute("SET enable_progress_bar = false")
    found = link.execute(query).arrow()
    return found if hasattr(found, "num_rows") else found.read_all()


def source_of(table: CellTable) -> str:
    """What DuckDB reads, with the rows numbered."""
    place = str(table.path if table.path.is_file() else table.path / "**" / "*.parquet").replace("'", "''")
    if table.path.is_file():
        return f"(SELECT *, file_row_number AS \"{ROW}\" FROM read_parquet('{place}', file_row_number = true))"
    return f"(SELECT *, row_number() OVER () - 1 AS \"{ROW}\" FROM read_parquet('{place}', union_by_name = true))"


def quoted(name: str) -> str:
    """A column's name as SQL has it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)
