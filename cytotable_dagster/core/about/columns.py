"""The map of columns: for each column of each table where it comes from, what it measures and in which range."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.about.statistics import column_statistics
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.parquet.writing import write_batches
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.joined import joined_columns
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.support.arrays import from_numpy, from_texts, no_rows, repeated

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = "_about"
FILE = f"{ABOUT}/columns.parquet"
"""Where the map lies in a destination."""
CSV_FILE = f"{ABOUT}/columns.csv"
_CHANNEL_COLUMNS = ("FileName_", "URL_", "PathName_")
# What plates call the channel `DNA` in the columns that name its images.
_STARTS = ("Orig", "Illum")

Opened = Sequence["Callable[[], pa.NativeFile]"]


@dataclass(frozen=True)
class MappedColumn:
    """A row of the map. `source_file`, `source_table` and `source_column` are None where the converter added the column
    (`Metadata_TableNumber`) or a query made it; `nulls`, `minimum` and `maximum` are of `rows_seen` rows of `rows`, and
    the median of `median_rows`."""

    table: str
    column: str
    type: str
    source_file: str | None
    source_table: str | None
    source_column: str | None
    compartment: str | None
    family: str
    channel: str | None
    rows: int
    nulls: int
    minimum: float | None
    median: float | None
    maximum: float | None
    rows_seen: int
    median_rows: int


def column_map(plan: Plan, tables: Mapping[str, Opened], *, by_query: bool = False) -> "pa.Table":
    """The map of tables of a plate, a row for each column, with the columns of `MappedColumn`.

    Args:
        tables: by name, `Cells`, ..., or `single_cells`; each opens one of the table's files.
        by_query: the joined table was made by a query of the user's.
    """
    import pyarrow as pa

    sources = {
        (part.table.compartment, column.name): (part.table.name, column.source)
        for part in (*plan.tables, *plan.others)
        for column in part.columns
    }
    channels = channels_of(plan)
    maps = []
    for table, files in tables.items():
        seen = column_statistics(files)
        names = seen.schema.names
        origins = _origins(plan, table, names, by_query=by_query)
        of = [origins.get(name) for name in names]
        came = [None if origin is None else sources.get(origin) for origin in of]
        texts: list[Sequence[str | None]] = [
            [table] * len(names),
            names,
            list(map(str, seen.schema.types)),
            [None if source is None else plan.source.uri for source in came],
            [None if source is None else source[0] for source in came],
            [None if source is None else source[1] for source in came],
            [None if origin is None else origin[0] for origin in of],
            list(map(family_of, names)),
            [channel_of(name, channels) for name in names],
        ]
        ranges = [seen.minimum, seen.median, seen.maximum]
        arrays = [
            *map(from_texts, texts),
            repeated(seen.rows, pa.int64(), len(names)),
            from_numpy(seen.nulls),
            *(from_numpy(values, values == values) for values in ranges),
            from_numpy(seen.rows_seen),
            from_numpy(seen.median_rows),
        ]
        maps.append(pa.Table.from_arrays(arrays, schema=map_schema()))
    return pa.concat_tables([no_rows(map_schema()), *maps])


def _origins(plan: Plan, table: str, names: Iterable[str], *, by_query: bool) -> dict[str, tuple[str, str]]:
    """Compartment and column there of each column of a table."""
    if table != SINGLE_CELLS:
        return {name: (table, name) for name in names}
    if not by_query:
        return {column.name: (column.compartment, column.column) for column in joined_columns(plan)}
    # A query says nothing of where its columns come from, but those that one table alone has.
    owners: dict[str, list[str]] = {}
    for compartment in plan.compartments:
        for name in plan.schema(compartment).names:
            owners.setdefault(name, []).append(compartment)
    return {name: (owners[name][0], name) for name in names if len(owners.get(name, ())) == 1}


def family_of(name: str) -> str:
    """`AreaShape` of `Cells_AreaShape_Area`, `Metadata` of `Metadata_Well`."""
    parts = name.split("_")
    return parts[0] if parts[0] == "Metadata" or len(parts) < 3 else parts[1]


def channels_of(plan: Plan) -> frozenset[str]:
    """The channels of a plate's images, as features name them: `DNA` where the image table has `FileName_OrigDNA`."""
    if IMAGE not in plan.compartments:
        return frozenset()
    return channels_in(column.source for column in plan.part(IMAGE).columns)


def channels_in(names: Iterable[str]) -> frozenset[str]:
    """The channels that columns of an image table name, whatever else is among them."""
    found: set[str] = set()
    for name in names:
        plain = name.removeprefix(f"{IMAGE}_")
        for start in _CHANNEL_COLUMNS:
            if plain.startswith(start):
                channel = plain.removeprefix(start)
                found.update((channel, *(channel.removeprefix(own) for own in _STARTS)))
    return frozenset(found - {""})


def channel_of(name: str, channels: frozenset[str]) -> str | None:
    """The channels that a feature's name names, in its order: `DNA,ER` of `Cells_Correlation_Correlation_DNA_ER`."""
    return ",".join(_named(channels).findall(name)) or None


@cache
def _named(channels: frozenset[str]) -> re.Pattern[str]:
    # The first word is a compartment, which a channel may be called like; a channel's name may be several words.
    names = "|".join(map(re.escape, sorted(channels, key=lambda channel: (-channel.count("_"), channel))))
    return re.compile(f"(?<=_)(?:{names})(?=_|$)" if names else "(?!)")


def put_columns(table: "pa.Table", facts: Mapping[str, str], place: Destination) -> None:
    """Put the map among what tells about a destination's tables, as Parquet and as CSV, in place of any there."""
    from pyarrow import csv

    with place.scratch() as scratch:
        scratch.mkdir(parents=True, exist_ok=True)
        write_batches(scratch / "columns.parquet", table.schema, [table], {**facts, "compartment": "columns"})
        csv.write_csv(table, scratch / "columns.csv")
        place.put(scratch / "columns.csv", CSV_FILE)
        place.put(scratch / "columns.parquet", FILE)


def map_schema() -> "pa.Schema":
    """The columns of a map, as Arrow has them, in the order of `MappedColumn`."""
    import pyarrow as pa

    kinds: dict[Any, pa.DataType] = {
        int: pa.int64(),
        float | None: pa.float64(),
        str: pa.string(),
        str | None: pa.string(),
    }
    return pa.schema([(field.name, kinds[field.type]) for field in fields(MappedColumn)])
