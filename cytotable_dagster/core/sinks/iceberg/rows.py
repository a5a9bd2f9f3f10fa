"""Rows of the joined table as those of a warehouse: with an identifier, and the box of the object in its image."""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.parquet.refit import Computed, Fill, Renamed
from cytotable_dagster.core.sinks.iceberg.schemas import iceberg_columns
from cytotable_dagster.core.sinks.iceberg.tables import Opened, Rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

OBJECT_ID = "Metadata_ObjectID"
# CytoTable's names of the box's sides.
BOX = {
    "x_min": "Metadata_SourceBBoxXMin",
    "x_max": "Metadata_SourceBBoxXMax",
    "y_min": "Metadata_SourceBBoxYMin",
    "y_max": "Metadata_SourceBBoxYMax",
}
_SIDES = {"x_min": "Minimum_X", "x_max": "Maximum_X", "y_min": "Minimum_Y", "y_max": "Maximum_Y"}
_OF = ("Cytoplasm_", "Nuclei_", "Cells_", "")
_OBJECT = "Metadata_ObjectNumber"
_KEYS = (
    *("Metadata_TableNumber", "Metadata_ImageNumber", _OBJECT),
    *("Image_Metadata_Well", "Image_Metadata_Plate", "Metadata_Well", "Metadata_Plate"),
)
_NUMBERS = ("_Object_Number", "_Parent_Cells", "_Parent_Nuclei")
# Where a pixel may be, so that it is a whole number.
_FARTHEST = 2.0**53
# The digit of a digest that says which kind of UUID it is -> that digit.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def object_id(name: str | uuid.UUID | None = None, *, prefix: str = "obj") -> str:
    """An identifier that is the same for the same name, and a new one for none; as CytoTable makes it."""
    value = uuid.uuid4() if name is None else uuid.uuid5(uuid.NAMESPACE_URL, str(name))
    return f"{prefix}-{value}"


def box_columns(columns: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The columns that hold the sides of an object's box; empty where there are none.

    Raises:
        OptionError: one that is given is not there.
    """
    there = set(columns)
    if given:
        lacking = [name for name in (given.get(side) for side in _SIDES) if name not in there]
        if lacking or set(given) != set(_SIDES):
            raise OptionError(
                f"bbox_column_map: a column for each of {', '.join(_SIDES)} is needed, and "
                f"{lacking[0] if lacking else 'another key'} is none of the table's"
            )
        return dict(given)
    for prefix in _OF:
        found = {side: f"{prefix}AreaShape_BoundingBox{name}" for side, name in _SIDES.items()}
        if there.issuperset(found.values()):
            return found
    return {}


def profile_rows(plate: str, files: "Sequence[Opened]", schema: "pa.Schema", box: Mapping[str, str]) -> Rows:
    """A plate's joined table with `Metadata_ObjectID` and, where it tells, `Metadata_SourceBBox...` (in pixels) after
    its metadata.

    An identifier is made of the keys and the box, as CytoTable makes it, so that the same object has the same one
    whenever it is written.
    """
    names = schema.names
    keys = keys_of(names)
    columns = list(iceberg_columns(plate, schema, lambda name: "Metadata_" in name or name in keys))
    at = next((place for place, name in enumerate(names) if not name.startswith("Metadata_")), len(names))
    fills: dict[str, Fill] = {name: Renamed(box[side]) for side, name in BOX.items() if box and name not in names}
    added = [(name, "double") for name in fills]
    if OBJECT_ID not in names:
        sources = tuple(dict.fromkeys([*keys, *box.values()]))
        fills[OBJECT_ID] = Computed(sources, partial(_identifiers, keys=keys, box=box))
        added.append((OBJECT_ID, "string"))
    return Rows(files, tuple(columns[:at] + added + columns[at:]), fills)


def _identifiers(rows: "pa.Table", keys: Sequence[str], box: Mapping[str, str]) -> "pa.Array":
    return ids_of(texts_of(rows, keys), box_texts(*boxes_of(rows, box)))


def keys_of(names: Sequence[str], *, of_image: bool = False) -> list[str]:
    """The columns that an object's identifier is made of; or its image's."""
    if of_image:
        return [name for name in names if name in _KEYS and name != _OBJECT]
    return [name for name in names if name in _KEYS or name.endswith(_NUMBERS)]


def texts_of(rows: "pa.Table", names: Sequence[str]) -> "pa.Array":
    """Each row's values of these columns as they stand in JSON, without those that are null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not names or not rows.num_rows:
        return pa.array([""] * rows.num_rows, pa.string())
    parts = [mapped(rows[name], partial(_named, name)) for name in sorted(names)]
    return pc.binary_join_element_wise(*parts, ", ", null_handling="skip")


def _named(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value, default=str)}"


def mapped(column: "pa.ChunkedArray", text: Callable[[Any], str]) -> "pa.Array":
    """A column's values as text, each different one made once; NaN is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks()
    codes = pc.dictionary_encode(whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole)
    known = [None if value is None or value != value else text(value) for value in codes.dictionary.to_pylist()]
    return pa.array(known, pa.string()).take(codes.indices)


def boxes_of(rows: "pa.Table", box: Mapping[str, str]) -> "tuple[np.ndarray, np.ndarray]":
    """Boxes in whole pixels, shape (rows, 4): x_min, x_max, y_min, y_max; and which of them are boxes."""
    import numpy as np
    import pyarrow as pa

    if not box:
        return np.zeros((rows.num_rows, 4), np.int64), np.zeros(rows.num_rows, bool)
    sides = np.stack([rows[box[side]].cast(pa.float64()).to_numpy() for side in _SIDES], axis=1)
    known = (np.abs(sides) < _FARTHEST).all(axis=1)
    whole = np.where(known[:, None], sides, 0).astype(np.int64)
    return whole, known & (whole[:, 0] < whole[:, 1]) & (whole[:, 2] < whole[:, 3])


def box_texts(boxes: "np.ndarray", valid: "np.ndarray") -> list[str]:
    """Boxes as JSON."""
    return [
        f'{{"x_max": {right}, "x_min": {left}, "y_max": {bottom}, "y_min": {top}}}' if there else "{}"
        for (left, right, top, bottom), there in zip(boxes.tolist(), valid.tolist(), strict=True)
    ]


def ids_of(keys: "pa.Array", boxes: Sequence[str] | None, source: str | Sequence[str] = "") -> "pa.Array":
    """Identifiers: of keys and boxes (objects), or of these and a `source` (crops), or of keys and that (images)."""
    import pyarrow as pa

    before = [""] * len(keys) if boxes is None else [f'"bbox": {box}, ' for box in boxes]
    after = [source] * len(keys) if isinstance(source, str) else source
    parts = zip(before, keys.to_pylist(), after, strict=True)
    names = [f'{{{box}"keys": {{{own}}}{image}}}' for box, own, image in parts]
    # What uuid5 does, without an object for each.
    space = uuid.NAMESPACE_URL.bytes
    digests = [hashlib.sha1(space + name.encode(), usedforsecurity=False).hexdigest() for name in names]
    return pa.array([f"obj-{d[:8]}-{d[8:12]}-5{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:32]}" for d in digests],
                    pa.string())  # fmt: skip


def source_text(column: str, file: str) -> str:
    """Which image an identifier is of, as JSON."""
    return f', "source_image_column": {json.dumps(column)}, "source_image_file": {json.dumps(file)}'
