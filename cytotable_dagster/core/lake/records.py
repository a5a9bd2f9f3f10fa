"""What is written down beside a result: which chunks it is made of, and where in it each of them lies.

A chunk's file goes when it has become a part of its table; the record tells all that the file told.
"""

import json
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster.core.model.coercions import as_facts, in_facts
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.parquet.parts import Piece
from cytotable_dagster.core.support.files import whole_file


@dataclass(frozen=True)
class ChunkPart:
    """A chunk in the file of its table: what tells it from the one that was there before it, its row groups, and what
    was coerced in it. `made` is when a chunk of a compartment was written, of the joined table those of its
    compartments."""

    made: str
    piece: Piece
    coercions: tuple[Coercion, ...] = ()


@dataclass(frozen=True)
class Record:
    """A result as it was when it was made: what tells the file from others of its name, the fingerprint of its plan,
    how many seconds it took, how many columns it has, and its chunks in order."""

    version: str
    size: int
    plan: str
    seconds: float
    columns: int
    chunks: tuple[ChunkPart, ...]


def write_record(path: Path, record: Record) -> None:
    chunks = [{"made": c.made, "piece": asdict(c.piece), **as_facts(c.coercions)} for c in record.chunks]
    content = {**vars(record), "chunks": chunks}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps({"crc32": _sum(content), "record": content}))


def read_record(path: Path) -> Record | None:
    """None where there is none, or one that is damaged, changed by hand or of another version."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads(path.read_text())
        content = found["record"]
        if found["crc32"] == _sum(content):
            return Record(**{**content, "chunks": tuple(map(_part, content["chunks"]))})
    return None


def _sum(content: Any) -> int:
    """The CRC-32 of what is written down."""
    return zlib.crc32(json.dumps(content).encode())


def _part(found: dict[str, object]) -> ChunkPart:
    return ChunkPart(str(found["made"]), Piece(**found["piece"]), in_facts(found))  # type: ignore[arg-type]
