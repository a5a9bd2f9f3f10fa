"""Which columns of a table are what in AnnData, and all of it but X."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cytotable_dagster.core.about.columns import channel_of, channels_in, family_of
from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.images import centre_columns
from cytotable_dagster.core.model.names import OBJECT_NUMBER, PLATE, SITE, WELL, names_no_measurement
from cytotable_dagster.core.parquet.groups import RowGroups

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

UNS = "cytotable_dagster"
_TABLE, _IMAGE = "Metadata_TableNumber", "Metadata_ImageNumber"
_NO_FEATURES = ("Metadata_", "Image_")
_EMPTY = ("layers", "obsp", "varm", "varp")
# CellProfiler measures the intensity of every channel.
_OF_A_CHANNEL = re.compile(r".*_Intensity_MeanIntensity_(.+)")

# Bytes of columns that are read at once, numbers or codes of 8 bytes.
_AT_ONCE = 1 << 27


@dataclass(frozen=True)
class Parts:
    """Columns of a table by what they are: `features` for X, `about` for obs; pairs of `places` for obsm, of which the
    first with a value counts; `facts` are those of its footer."""

    features: tuple[str, ...]
    about: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Frame:
    """A table's names of rows, texts as objects, and of columns, which are elements of their own."""

    index: "np.ndarray"
    columns: Sequence[str]


class Container(Protocol):
    """What keeps elements of AnnData: an array, text, dictionary, Frame or column of a table."""

    def put(self, key: str, value: Any) -> None:
        """Keep an element under a key with `/` between groups, and those that are in it."""


def parts_of(groups: RowGroups, address: str) -> Parts:
    """The parts of a table.

    Raises:
        SchemaError: it has no features.
    """
    schema = groups.schema
    features = tuple(field.name for field in schema if _is_feature(field))
    if not features:
        raise SchemaError(
            f"{address}: there are no features to make AnnData of: none of the table's {len(schema)} columns measures "
            "objects in numbers; convert it to Parquet"
        )
    others = {*schema.names}.difference(features)
    about = tuple(name for name in schema.names if name in others)
    return Parts(features, about, centre_columns(schema.names), groups.facts)


def _is_feature(field: "pa.Field") -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    is_number = any(kind(field.type) for kind in kinds)
    return is_number and not field.name.startswith(_NO_FEATURES) and not names_no_measurement(field.name)


def write_parts(container: Container, groups: RowGroups, parts: Parts) -> None:
    """Write all but X, a few columns at a time."""
    spatial = {"spatial": _places(groups, parts.places)} if parts.places else {}
    for part, content in {"obsm": spatial, "uns": {UNS: dict(parts.facts)}, **{key: {} for key in _EMPTY}}.items():
        container.put(part, content)
    about = _of_features(parts)
    container.put("var", Frame(_objects(parts.features), [*about]))
    for column, values in about.items():
        container.put(f"var/{column}", values)
    names = dict(_as_keys(parts.about))
    container.put("obs", Frame(_objects(_row_names(groups, parts)), [*names.values()]))
    step = max(1, _AT_ONCE // (8 * max(1, groups.num_rows)))
    for first in range(0, len(parts.about), step):
        table = groups.read(parts.about[first : first + step])
        for column in table.column_names:
            container.put(f"obs/{names[column]}", _values(table[column]))


def _of_features(parts: Parts) -> dict[str, Any]:
    """For each feature what its name says."""
    import pyarrow as pa

    named = (_OF_A_CHANNEL.fullmatch(feature) for feature in parts.features)
    channels = channels_in(parts.about) | {found[1] for found in named if found}
    columns = {
        "compartment": [name.partition("_")[0] if "_" in name else None for name in parts.features],
        "family": [family_of(name) for name in parts.features],
        "channel": [channel_of(name, channels) for name in parts.features],
    }
    return {name: _values(pa.chunked_array([pa.array(values, pa.string())])) for name, values in columns.items()}


def _row_names(groups: RowGroups, parts: Parts) -> list[str]:
    """A name for each row that no other has: plate, well, site and object, and what else it takes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def texts(column: str) -> Any:
        if column == PLATE and column not in parts.about:
            return parts.facts.get("plate", "")
        return table[column].cast(pa.string()).fill_null("").combine_chunks()

    rows, there = groups.num_rows, {PLATE, *parts.about}
    usual = (PLATE, WELL, SITE if SITE in there else _IMAGE, OBJECT_NUMBER)
    longer = (PLATE, WELL, SITE, _TABLE, _IMAGE, OBJECT_NUMBER)
    table = groups.read([column for column in longer if column in parts.about])
    for columns in (usual, longer):
        found = pc.binary_join_element_wise(*(texts(column) for column in columns if column in there), ":")
        names: list[str] = [found.as_py()] * rows if isinstance(found, pa.Scalar) else found.to_pylist()
        if len({*names}) == rows:
            return names
    return [f"{name}:{row}" for row, name in enumerate(names)]


def _places(groups: RowGroups, pairs: Sequence[tuple[str, str]]) -> "np.ndarray":
    """x and y of each row, in pixels; NaN where they are not known."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = groups.read([name for pair in pairs for name in pair])
    axes = [[table[name].cast(pa.float64()) for name in axis] for axis in zip(*pairs, strict=True)]
    return np.column_stack([pc.coalesce(*axis).to_numpy() for axis in axes])


def _as_keys(columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each column and what it is called in a group, where `/` would lead into another."""
    taken = {*columns, "_index"}
    for column in columns:
        key = column.replace("/", "_")
        while key != column and key in taken:
            key += "_"
        taken.add(key)
        yield column, key


def _values(values: "pa.ChunkedArray") -> Any:
    """A column as AnnData keeps it: text as categories, in order; whole numbers with nulls as such."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        return values.cast(pa.float64()).to_numpy()
    nulls = values.is_null().to_numpy()
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        numbers = values.fill_null(False if pa.types.is_boolean(values.type) else 0).to_numpy()
        kind = pd.arrays.BooleanArray if pa.types.is_boolean(values.type) else pd.arrays.IntegerArray
        return kind(numbers, nulls) if nulls.any() else numbers
    texts = values.cast(pa.string())
    known = pc.unique(texts).drop_null().sort() if len(texts) else texts.combine_chunks()
    codes = pc.fill_null(pc.index_in(texts, known), -1).to_numpy()
    return pd.Categorical.from_codes(codes, categories=as_index(known.to_numpy(zero_copy_only=False)))


def _objects(texts: Sequence[str]) -> "np.ndarray":
    import numpy as np

    return np.array(texts, object)


def as_index(texts: "np.ndarray") -> Any:
    """Texts as pandas kept them before version 3, which all versions of AnnData write."""
    import pandas as pd

    return pd.Index(texts, dtype=object)
