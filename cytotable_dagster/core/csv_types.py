"""What the fields of a CSV file say of the types of its columns."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.columns import is_identity
from cytotable_dagster.core.csv_parts import Header

if TYPE_CHECKING:
    import polars as pl

# Places in a profile: NULL, INTEGER, REAL, TEXT, BLOB.
INTEGER, REAL, TEXT = 1, 2, 3


class Guess:
    """The types that columns are expected to have; one that is real somewhere is expected to be so elsewhere."""

    def __init__(self) -> None:
        self.types: dict[str, Any] = {}

    def of(self, header: Header) -> dict[str, Any] | None:
        types = self.types
        return {name: types[name] for name in header.names} if all(name in types for name in header.names) else None

    def learn(self, found: "Mapping[str, pl.Series]") -> None:
        import polars as pl

        known = dict(self.types)
        for name, series in found.items():
            old = known.setdefault(name, series.dtype)
            if old == pl.Int64 and series.dtype == pl.Float64:
                known[name] = series.dtype
        self.types = known


def classes(series: "pl.Series") -> "Iterator[tuple[int, int]]":
    """How many values are whole numbers, how many real, how many anything else."""
    import polars as pl

    number = len(series) - series.null_count()
    kind = type(series.dtype)
    if kind is not pl.String:
        yield INTEGER if kind is pl.Int64 else REAL, number
        return
    whole = series.cast(pl.Int64, strict=False)
    if is_identity(series.name):
        written = whole.cast(pl.String) == series
        yield (INTEGER if number and written.sum() == number else TEXT), number
        return
    wholes = len(series) - whole.null_count()
    numbers = len(series) - series.cast(pl.Float64, strict=False).null_count()
    yield from ((INTEGER, wholes), (REAL, numbers - wholes), (TEXT, number - numbers))


def narrowed(series: "pl.Series") -> "pl.Series":
    """A column as int64, float64 or text, and nothing else; one without values as int64."""
    import polars as pl

    kind = type(series.dtype)
    if kind in (pl.Int64, pl.Float64) or (kind is pl.String and series.null_count() < len(series)):
        return series
    if series.null_count() == len(series):
        return series.cast(pl.Int64, strict=False)
    return series.cast(pl.Float64 if series.dtype.is_numeric() else pl.String, strict=False)
