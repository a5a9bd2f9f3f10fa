"""Partitions: plates come and go, a plate's chunks are numbered, and a chunk's key reads `BR00126114|03`."""

from shlex import quote

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.model.plate_names import plate_of, safe_name

plates = dg.DynamicPartitionsDefinition(name="plates")

# The dimensions of a multi-partition are sorted by name; these two put the plate first in the key.
PLATE = "plate"
CHUNK = "plate_chunk"


def plate_chunk_partitions(chunks: int) -> dg.MultiPartitionsDefinition:
    """Plate x chunk, the chunks named `00`, `01`, ..."""
    numbers = dg.StaticPartitionsDefinition([chunk_name(chunk) for chunk in range(chunks)])
    return dg.MultiPartitionsDefinition({PLATE: plates, CHUNK: numbers})


def chunk_name(chunk: int) -> str:
    return f"{chunk:02d}"


def chunk_key(plate: str, chunk: int) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({PLATE: key_of(plate), CHUNK: chunk_name(chunk)})


def key_of(plate: str) -> str:
    """The partition key of a plate: its name, with `%XX` for what Dagster or a file system cannot carry.

    Raises:
        UnsafeNameError: no plate can be called so.
    """
    return safe_name(plate)


def name_of(key: str) -> str:
    """The plate of a partition key."""
    return plate_of(key)


def check_key(key: str) -> None:
    """Refuse a key that no plate has, as it may be where one was typed by hand.

    Raises:
        OptionError: it is not how `key_of` writes it.
    """
    if key_of(name_of(key)) != key:
        raise OptionError(
            f"partition {key!r}: plate {name_of(key)!r} has the partition key {key_of(name_of(key))!r}; delete this "
            f"partition, and add that one, or: cytotable-dagster plate add {quote(name_of(key))}"
        )
