"""What pictures of a plate show: rows and values by well, read from few columns of its results."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.names import WELL_NAMES
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.arrays import to_numpy, valid_mask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Opens a result of the plate by its table's name; FileNotFoundError where there is none.
Open = Callable[[str], "pa.NativeFile"]
# Measurements whose missing values are counted, evenly spaced among all.
_COLUMNS_LOOKED_AT = 32
# Standard features, the words of their names, and what they are measured in.
_STANDARD = (
    (re.compile(r"_AreaShape_Area$"), "pixels"),
    (re.compile(r"_Intensity_MeanIntensity_(Orig)?(DNA|DAPI|Hoechst)$", re.IGNORECASE), "share of full scale"),
    (re.compile(r"_AreaShape_Eccentricity$"), "0 round, 1 a line"),
)
_PREFERRED = ("Cells_", "Nuclei_")


@dataclass(frozen=True)
class Feature:
    """A measurement of every row, NaN where there is none, and its unit."""

    name: str
    unit: str
    values: "np.ndarray"

    @property
    def title(self) -> str:
        """`Cells: Area` of `Cells_AreaShape_Area`."""
        first, _, rest = self.name.partition("_")
        return f"{first}: {rest.partition('_')[2].replace('_', ' ') or rest}"


@dataclass(frozen=True)
class PlateNumbers:
    """A table of a plate by wells.

    Attributes:
        wells: of each row of the table; None for a row without, and empty where no table names wells.
        imaged: rows of the table in each well that has an image, 0 for one without any.
        features: the standard ones that the table has.
        missing: share of missing values of each row, 0 to 1, in `looked_at` measurements.
    """

    rows: int
    images: int
    wells: tuple[str | None, ...]
    imaged: Mapping[str, int]
    features: tuple[Feature, ...]
    missing: "np.ndarray"
    looked_at: int


def plate_numbers(plan: Plan, table: str, open_: Open, *, measured: bool = True) -> PlateNumbers:
    """Read what pictures of a table show.

    Args:
        table: `Cells`, ..., or `single_cells`.
        measured: with features and missing values; else rows and wells alone.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_(table) as opened, pq.ParquetFile(opened) as file:
        schema = file.schema_arrow
        named = next((name for name in WELL_NAMES if name in schema.names), None)
        numbers = [
            field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
        ]
        names = [name for name in numbers if measured and not name.startswith("Metadata_")]
        looked_at = names[:: max(1, -(-len(names) // _COLUMNS_LOOKED_AT))] if table != IMAGE else []
        standard = _standard_features(names)
        wanted = dict.fromkeys([*([named] if named else []), *looked_at, *(name for name, _ in standard)])
        found = file.read(columns=list(wanted))
        rows = file.metadata.num_rows
    by_image = _wells_of_images(plan, open_)
    if named is not None:
        wells = _texts(found.column(named))
    elif by_image and table in plan.compartments and plan.counts(table).sum() == rows:
        wells = list(np.repeat(np.array(by_image, object), plan.counts(table)))
    else:
        wells = []
    counted: Counter[str] = Counter(well for well in wells if well is not None)
    gone = np.zeros(rows)
    for name in looked_at:
        gone += np.isnan(_doubles(found.column(name)))
    return PlateNumbers(
        rows=rows,
        images=plan.images,
        wells=tuple(wells),
        imaged={well: counted[well] for well in [*counted, *filter(None, by_image)]},
        features=tuple(Feature(name, unit, _doubles(found.column(name))) for name, unit in standard),
        missing=gone / max(len(looked_at), 1),
        looked_at=len(looked_at),
    )


def _standard_features(names: Sequence[str]) -> list[tuple[str, str]]:
    """Of each kind the first, of cells before nuclei before others."""

    def rank(name: str) -> int:
        return next((place for place, start in enumerate(_PREFERRED) if name.startswith(start)), len(_PREFERRED))

    found = []
    for pattern, unit in _STANDARD:
        fitting = sorted(filter(pattern.search, names), key=rank)
        if fitting:
            # The DNA of a cell is in its nucleus.
            nuclear = "Intensity" in pattern.pattern
            nuclei = [name for name in fitting if name.startswith("Nuclei_")]
            found.append((nuclei[0] if nuclear and nuclei else fitting[0], unit))
    return found


def _wells_of_images(plan: Plan, open_: Open) -> list[str | None]:
    """The well of each image, images in the order of the results; empty where no image table names wells."""
    import numpy as np
    import pyarrow.parquet as pq

    if IMAGE not in plan.compartments:
        return []
    try:
        with open_(IMAGE) as opened, pq.ParquetFile(opened) as file:
            name = next((name for name in WELL_NAMES if name in file.schema_arrow.names), None)
            if name is None:
                return []
            texts = _texts(file.read(columns=[name]).column(0))
    except FileNotFoundError:
        return []
    counts = plan.counts(IMAGE)
    if counts.sum() != len(texts):
        return []
    starts = np.cumsum(counts) - counts
    return [texts[start] if count else None for start, count in zip(starts, counts, strict=True)]


def _texts(column: "pa.ChunkedArray") -> list[str | None]:
    return [None if value is None else str(value) for value in column.to_pylist()]


def _doubles(column: "pa.ChunkedArray") -> "np.ndarray":
    """Numbers, NaN where there is none."""
    import numpy as np

    # `to_numpy` of a column imports pandas.
    parts = [np.where(valid_mask(chunk), to_numpy(chunk), np.nan) for chunk in column.chunks if len(chunk)]
    return np.concatenate([np.empty(0), *parts]).astype(np.float64)
