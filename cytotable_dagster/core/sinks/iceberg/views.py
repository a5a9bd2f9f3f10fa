"""The view of profiles with their crops: CytoTable's, a row for each object and image."""

from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.sinks.iceberg.images import COLUMN, FILE, file_text
from cytotable_dagster.core.sinks.iceberg.rows import BOX, OBJECT_ID

if TYPE_CHECKING:
    import pandas as pd


def profiles_with_images(profiles: "pd.DataFrame", crops: "pd.DataFrame") -> "pd.DataFrame":
    """Profiles that have a box, once for each column that names an image, with the crop of that; nulls where there is
    none."""
    import pandas as pd

    columns = [name for name in crops[COLUMN].unique() if name in profiles]
    sides = [profiles[name] for name in BOX.values() if name in profiles]
    if not columns or len(sides) != len(BOX):
        return profiles
    left, right, top, bottom = sides
    own = profiles[(left < right) & (top < bottom)]
    rest = own.drop(columns=columns)
    parts = [rest.assign(**{COLUMN: name, FILE: own[name].map(_text)}) for name in columns]
    keys = [OBJECT_ID, COLUMN, FILE]
    added = [name for name in crops if name in keys or name not in profiles]
    rows = pd.concat(parts, ignore_index=True)
    return rows[rows[FILE].notna()].merge(crops[added], on=keys, how="left")


def _text(value: Any) -> str | None:
    return file_text(value) if isinstance(value, str) else None
