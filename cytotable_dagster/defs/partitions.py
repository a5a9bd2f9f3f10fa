"""Partitions: plates come and go, a plate's chunks are numbered, and a chunk's key reads `BR00126114|03`."""

import os

import dagster as dg

from cytotable_dagster.core.errors import OptionError

plates = dg.DynamicPartitionsDefinition(name="plates")

# The dimensions of a multi-partition are sorted by name; these two put the plate first in the key.
PLATE = "plate"
CHUNK = "plate_chunk"

_VARIABLE = "CYTOTABLE_CHUNKS_PER_PLATE"
_DEFAULT = 8


def chunks_per_plate() -> int:
    """`CYTOTABLE_CHUNKS_PER_PLATE`, default 8: the one setting that has to be known while definitions are built.

    Raises:
        OptionError: it is no number from 1 to 99; Dagster compares at most 100 partitions of a dependency.
    """
    text = os.environ.get(_VARIABLE, str(_DEFAULT))
    if not text.isdigit() or not 1 <= int(text) <= 99:
        raise OptionError(f"{_VARIABLE}={text!r}: give a number of chunks from 1 to 99")
    return int(text)


def plate_chunk_partitions(chunks: int) -> dg.MultiPartitionsDefinition:
    """Plate x chunk, the chunks named `00`, `01`, ..."""
    numbers = dg.StaticPartitionsDefinition([chunk_name(chunk) for chunk in range(chunks)])
    return dg.MultiPartitionsDefinition({PLATE: plates, CHUNK: numbers})


def chunk_name(chunk: int) -> str:
    return f"{chunk:02d}"


def chunk_key(plate: str, chunk: int) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({PLATE: plate, CHUNK: chunk_name(chunk)})
