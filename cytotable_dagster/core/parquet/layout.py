"""How the columns of a schema are encoded: which by compiled code of this project, which by pyarrow."""

import functools
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.kernels.parquet_pages_layout import (
    COLUMN,
    DESCRIPTION_ROOM,
    DOUBLE,
    FIRST,
    FLOAT,
    FOREIGN,
    INT32,
    INT64,
    LAST,
    TYPE,
)
from cytotable_dagster.core.parquet.arrow_writer import arrow_writer
from cytotable_dagster.core.parquet.parts import Part, read_part

if TYPE_CHECKING:
    import pyarrow as pa

# Schemas that are remembered: of a plate's tables, and of what each gives to the joined one.
_SCHEMAS = 32


@dataclass(frozen=True)
class Layout:
    """How the columns of a schema are encoded: `columns` as kernels are told of them, their `names`, which are `own`
    (`numbers` are those of `columns`) and which pyarrow's (`foreign`), bytes of a row of the own; `empty` is the footer
    of a file without rows."""

    schema: "pa.Schema"
    empty: Part
    columns: np.ndarray
    names: np.ndarray
    numbers: np.ndarray
    own: tuple[int, ...]
    foreign: tuple[int, ...]
    row_bytes: int

    @property
    def group_room(self) -> int:
        """The most bytes that the item of a row group takes in a footer, beside the columns of pyarrow's."""
        return len(self.names) + (len(self.columns) + 1) * DESCRIPTION_ROOM


class _Same:
    """A schema that is known by being the same object: 5,700 columns take milliseconds to compare."""

    def __init__(self, schema: "pa.Schema") -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schema is self.schema


def layout_of(schema: "pa.Schema") -> Layout:
    """How its columns are encoded."""
    return _layout(_Same(schema))


@functools.lru_cache(_SCHEMAS)
def _layout(same: _Same) -> Layout:
    import pyarrow as pa

    schema = same.schema
    kinds = {pa.int32(): INT32, pa.int64(): INT64, pa.float32(): FLOAT, pa.float64(): DOUBLE}
    names = [name.encode() for name in schema.names]
    columns = np.empty((len(names), COLUMN), np.int64)
    columns[:, TYPE] = [kinds.get(field.type, FOREIGN) if field.nullable else FOREIGN for field in schema]
    columns[:, LAST] = np.cumsum([len(name) for name in names])
    columns[:, FIRST] = columns[:, LAST] - [len(name) for name in names]
    is_own = columns[:, TYPE] != FOREIGN
    sink = pa.BufferOutputStream()
    with arrow_writer(sink, schema):
        pass
    return Layout(
        schema=schema,
        empty=read_part("schema", io.BytesIO(sink.getvalue().to_pybytes())),
        columns=columns,
        names=np.frombuffer(b"".join(names), np.uint8),
        numbers=columns[is_own],
        own=tuple(np.flatnonzero(is_own).tolist()),
        foreign=tuple(np.flatnonzero(~is_own).tolist()),
        row_bytes=int(np.isin(columns[:, TYPE], (INT64, DOUBLE)).sum() * 4 + is_own.sum() * 4),
    )
