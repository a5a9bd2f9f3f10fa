"""One Parquet file: its footer, and what its columns are as columns of a source."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.support.file_values import FILE_VALUES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Footers kept: those of a table with thousands of columns take long to read.
_KEPT = 32


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """What Arrow says of a file that is none of its own, in one line.

    Raises:
        SourceFormatError: it is damaged, cut off or something else.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # What a disk says has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        told = " ".join(str(error).split())[:200]
        raise SourceFormatError(f"{path}: not a whole Parquet file ({told}); make or fetch it again") from error


def footer(path: Path) -> "pq.FileMetaData":
    with damage_told(path):
        return FILE_VALUES.get(path, _footer, _KEPT)


def _footer(path: Path) -> "pq.FileMetaData":
    import pyarrow.parquet as pq

    return pq.read_metadata(path)


def opened(path: Path) -> "pq.ParquetFile":
    import pyarrow.parquet as pq

    known = footer(path)
    with damage_told(path):
        return pq.ParquetFile(path, metadata=known)


def columns_of(path: Path) -> "dict[str, pa.DataType]":
    with damage_told(path):
        schema = footer(path).schema.to_arrow_schema()
    return dict(zip(schema.names, schema.types, strict=True))


def affinity_of(type: "pa.DataType") -> str | None:
    """What a column of this type holds, as SQLite calls it; None where no table of results can hold it.

    Times and truths are text, as in every source.
    """
    import pyarrow as pa

    of = pa.types
    if of.is_dictionary(type):
        return affinity_of(type.value_type)
    if of.is_integer(type):
        return "INTEGER"
    if of.is_floating(type) or of.is_decimal(type):
        return "REAL"
    if of.is_string(type) or of.is_large_string(type) or of.is_boolean(type) or of.is_temporal(type):
        return "TEXT"
    if of.is_binary(type) or of.is_large_binary(type) or of.is_fixed_size_binary(type) or of.is_null(type):
        return "BLOB"
    return None
