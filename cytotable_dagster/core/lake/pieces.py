"""Chunks that are a part of their table, to be read again: their row groups taken out of it, by copying encoded bytes.

A table's file is not opened for that by pyarrow, which keeps a kilobyte for each column of each of its row groups.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.lake.chunks import Chunk
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.parts import Piece, read_part
from cytotable_dagster.core.steps.join import join_chunk_files
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.support.files import scratch_folder


@dataclass(frozen=True)
class Place:
    """Where a chunk's rows are: in a file of its own, or in a piece of one of a lake."""

    file: Path | None
    lake: Destination
    name: str
    piece: Piece | None


def place_of(folder: PlateFolder, compartment: str, chunk: Chunk) -> Place:
    return Place(chunk.file, *folder.place_of(compartment), chunk.part.piece if chunk.part else None)


def join_pieces(plan_folder: Path, chunk: int, places: Mapping[str, Place], path: Path) -> tuple[FileFacts, ...]:
    """Join one chunk of its compartments' chunks, wherever these are; one file."""
    with scratch_folder(path.parent) as scratch:
        files = {name: _file(place, scratch / f"{name}.parquet") for name, place in places.items()}
        return join_chunk_files(plan_folder, chunk, files, path)


def _file(place: Place, path: Path) -> Path:
    """The chunk as a file."""
    if place.file is not None or place.piece is None:
        return place.file or path
    with closing(place.lake.open(place.name)) as table, path.open("wb") as out:
        one = Concatenation(out)
        one.append_piece(place.lake.address(place.name), table, read_part(place.name, table), place.piece)
        one.finish({})
    return path
