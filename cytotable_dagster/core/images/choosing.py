"""Which cells of a plate are worth a look: those nearest to its middle, and those at the ends of a few features."""

from collections.abc import Sequence
from typing import Any

from cytotable_dagster.core.images.cells import ROW, CellTable, asked, quoted, source_of
from cytotable_dagster.core.images.image import PLATE, WELL

# What is told apart at a glance; of what a table has the first that fit.
_SHAPES = (
    "Cells_AreaShape_Area",
    "Nuclei_AreaShape_Area",
    "Cells_AreaShape_FormFactor",
    "Nuclei_AreaShape_FormFactor",
    "Cells_AreaShape_Eccentricity",
    "Nuclei_AreaShape_Eccentricity",
)
_INTENSITIES = ("Cells_Intensity_MeanIntensity_", "Nuclei_Intensity_MeanIntensity_")
_FEATURES = 16
_OF_WELL = 3


def features_to_look_at(table: CellTable) -> tuple[str, ...]:
    """Features of shape and brightness that a table has."""
    found = [name for name in _SHAPES if name in table.columns]
    found += [name for start in _INTENSITIES for name in table.columns if name.startswith(start)]
    return tuple(found[:_FEATURES])


def typical_cells(table: CellTable, count: int, features: Sequence[str] | None = None) -> list[int]:
    """The cells nearest to the plate's median, by the median deviation of each feature, nearest first; more than three
    of a well only where others have none left."""
    names = features_to_look_at(table) if features is None else tuple(features)
    if not names:
        return []
    columns = [quoted(name) for name in names]
    middles = ", ".join(f"median({name}) AS m{i}" for i, name in enumerate(columns))
    spreads = ", ".join(f"mad({name}) AS d{i}" for i, name in enumerate(columns))
    far = " + ".join(f"coalesce(abs({name} - m{i}) / nullif(d{i}, 0), 0)" for i, name in enumerate(columns))
    known = " AND ".join(f"{name} IS NOT NULL AND NOT isnan({name}::DOUBLE)" for name in columns)
    wells = ", ".join(quoted(column) for place, column in table.places.items() if place in (PLATE, WELL)) or "1"
    query = (
        f'SELECT "{ROW}" FROM (SELECT "{ROW}", {far} AS far, {wells} FROM {source_of(table)}, '
        f"(SELECT {middles}, {spreads} FROM {source_of(table)}) WHERE {known}) "
        f'ORDER BY row_number() OVER (PARTITION BY {wells} ORDER BY far, "{ROW}") > {_OF_WELL}, far, "{ROW}" '
        f"LIMIT {count}"
    )
    return [int(row) for row in asked(query, table).column(0).to_pylist()]


def extreme_cells(table: CellTable, count: int, features: Sequence[str] | None = None) -> list[tuple[str, list[int]]]:
    """For a few features a heading, and the cells with the largest values and with the smallest."""
    names: Sequence[Any] = features_to_look_at(table)[:3] if features is None else features
    found = []
    for name in names:
        for most, direction in (("largest", "DESC"), ("smallest", "ASC")):
            column = quoted(name)
            query = (
                f'SELECT "{ROW}" FROM {source_of(table)} WHERE {column} IS NOT NULL AND NOT isnan({column}::DOUBLE) '
                f'ORDER BY {column} {direction}, "{ROW}" LIMIT {count}'
            )
            found.append((f"{most} {name}", [int(row) for row in asked(query, table).column(0).to_pylist()]))
    return found
