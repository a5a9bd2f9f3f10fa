"""Writing SQLite files as cytominer-database does for JUMP: four tables, keys first, indexes afterwards."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGE_KEYS = ("TableNumber", "ImageNumber")
OBJECT_KEYS = (*IMAGE_KEYS, "ObjectNumber")

INDEXES = {
    "table_image_idx": ("Image", IMAGE_KEYS),
    "table_image_object_cells_idx": ("Cells", OBJECT_KEYS),
    "table_image_object_cytoplasm_idx": ("Cytoplasm", OBJECT_KEYS),
    "table_image_object_nuclei_idx": ("Nuclei", OBJECT_KEYS),
    "plate_well_image_idx": ("Image", ("Metadata_Plate", "Metadata_Well")),
}
"""Name -> table and columns, as the Cell Painting Gallery's plates have them."""

_TYPES = {"i": "BIGINT", "u": "BIGINT", "f": "FLOAT"}


@contextmanager
def new_database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a new SQLite file that gets its name when it is whole; an existing one is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as connection:
            # Nobody else reads this file and a crash discards it: no journal, no waiting for the disk.
            connection.executescript(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; BEGIN"
            )
            yield connection
            connection.execute("COMMIT")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def declared_types(columns: Mapping[str, NDArray[np.generic]]) -> Mapping[str, str]:
    """Column name -> SQLite type as pandas declares it: whole numbers BIGINT, reals FLOAT."""
    return {name: _TYPES[column.dtype.kind] for name, column in columns.items()}


def create_table(connection: sqlite3.Connection, table: str, types: Mapping[str, str]) -> None:
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())
    connection.execute(f"CREATE TABLE {quoted(table)} ({columns})")


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]], width: int) -> None:
    """Rows of `width` values. SQLite stores NaN as NULL, a whole number in a FLOAT column as an integer."""
    connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({', '.join('?' * width)})", rows)


def create_indexes(connection: sqlite3.Connection) -> None:
    for name, (table, columns) in INDEXES.items():
        keys = ", ".join(quoted(column) for column in columns)
        connection.execute(f"CREATE INDEX {quoted(name)} ON {quoted(table)} ({keys})")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
