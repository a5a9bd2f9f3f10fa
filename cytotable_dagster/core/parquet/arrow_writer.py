"""pyarrow's writer of Parquet, with the settings of this project's files."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Plain values, which every reader takes; see docs/performance.md for what else was measured.
_COMPRESSION = "lz4"
# Of a dictionary; more than a row group has of text. Behind a smaller one pyarrow goes on with plain values, which
# fastparquet reads as nulls.
_DICTIONARY_BYTES = 1 << 30


@contextmanager
def arrow_writer(
    sink: "pa.NativeFile", schema: "pa.Schema", without_values: Collection[str] = ()
) -> "Iterator[pq.ParquetWriter]":
    """A writer of one file; each table written is one row group.

    Measurements hardly repeat and are seldom selected by value, so only text gets a dictionary, and only other
    columns get statistics.

    Args:
        without_values: columns that are null in every row. They get no dictionary: hyparquet takes a compressed
            one without values for damage.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds, names = schema.types, schema.names
    texts = {name for name, kind in zip(names, kinds, strict=True) if kind == pa.string()}
    floats = {kind for kind in set(kinds) if pa.types.is_floating(kind)}
    with pq.ParquetWriter(
        sink,
        schema.remove_metadata(),
        compression=_COMPRESSION,
        use_dictionary=[name for name in names if name in texts and name not in without_values],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        write_statistics=[name for name, kind in zip(names, kinds, strict=True) if kind not in floats],
        # Parquet's own types say it all but for a few; of 2,000 columns it is a third of a megabyte.
        store_schema=not all(map(_is_plain, set(kinds))),
    ) as writer:
        yield writer


def _is_plain(kind: "pa.DataType") -> bool:
    """Whether a column of this type is read as what it was written as, without Arrow's own schema in the footer."""
    import pyarrow as pa

    return kind in (pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.string(), pa.binary(), pa.bool_())
