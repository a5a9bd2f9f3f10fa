"""What a plan reads of all rows of a SQLite file, read while the file comes from a store: keys, and storage classes.

It is the same pass as over a file that is there, but for waiting for pages (see `walk.Walk`). What it finds is kept in
memory for the one who opens the file next; whatever is wrong with the file is left to them, too.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster.core.sources.sqlite.header import HEADER_SIZE, MAGIC, NotOrdinary, read_geometry
from cytotable_dagster.core.sources.sqlite.open_file import OpenFile
from cytotable_dagster.core.sources.sqlite.statement import parse_table
from cytotable_dagster.core.storage.download import Front
from cytotable_dagster.core.support.file_values import FILE_VALUES

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.sqlite.pages import PageTable

# Tables of a file that are read ahead, by two threads each, and files of which it is kept.
_TABLES, _KEPT = 8, 4


@dataclass(frozen=True)
class Ahead:
    """By the name of a table in small letters: rowids and columns of keys, which go to the first who asks, and counts
    of storage classes (see `pages.PageTable`)."""

    keys: "dict[str, tuple[np.ndarray, dict[str, pa.Array]]]" = field(default_factory=dict)
    profiles: "dict[str, np.ndarray]" = field(default_factory=dict)


class _ComingFile(OpenFile):
    """A file of which more and more is there, and that is written to by nobody but who fetches it."""

    def __init__(self, path: Path, front: Front) -> None:
        front.beyond(HEADER_SIZE - 1)
        self.path, self._front = path, front
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.geometry = read_geometry(os.pread(self.fd, HEADER_SIZE, 0), front.size, path)
        self.pages_there = self._pages_there

    def _pages_there(self, more_than: int) -> int:
        there = pages = 0
        while pages <= more_than:
            there = self._front.beyond(there)
            pages = min(there // self.geometry.page_size, self.geometry.pages)
        return pages

    def check_unchanged(self) -> None:
        """What came is compared with the store's by who fetches it."""


def look_ahead(path: Path, front: Front) -> Ahead:
    """Read a file that fills up; nothing of what is no SQLite file, nor of tables that cannot be read like this.

    Raises:
        EOFError: it does not come whole.
        NotOrdinary, CytoTableError: as of a file that is there.
    """
    found = Ahead()
    front.beyond(min(HEADER_SIZE, front.size) - 1)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return found
    tables = _tables(_ComingFile(path, front))[:_TABLES]
    with ThreadPoolExecutor(2 * len(tables) or 1) as threads:
        keys = {table.table.lower(): threads.submit(_keys, table) for table in tables}
        profiles = {table.table.lower(): threads.submit(table.profile) for table in tables}
    found.keys.update(_came(keys))
    found.profiles.update(_came(profiles))
    return found


def keep(path: Path, found: Ahead) -> None:
    """Keep what was read of a file, which is there by now."""
    FILE_VALUES.put(path, _nothing, _KEPT, found)


def known_keys(path: Path, table: str, columns: Sequence[str]) -> "tuple[np.ndarray, list[pa.Array]] | None":
    """What `PageTable.keys` gives, where it was read ahead; once."""
    found = _known(path).keys.pop(table.lower(), None)
    if found is None or not {*columns} <= found[1].keys():
        return None
    return found[0], [found[1][name] for name in columns]


def known_profile(path: Path, table: str) -> "np.ndarray | None":
    """What `PageTable.profile` gives, where it was read ahead."""
    return _known(path).profiles.get(table.lower())


def _known(path: Path) -> Ahead:
    try:
        return FILE_VALUES.get(path, _nothing, _KEPT)
    except OSError:
        # It has gone since it was opened.
        return Ahead()


def _nothing(path: Path) -> Ahead:
    return Ahead()


def _came(futures: "dict[str, Future[Any]]") -> dict[str, Any]:
    return {name: future.result() for name, future in futures.items() if future.exception() is None}


def _tables(file: OpenFile) -> "list[PageTable]":
    """Ordinary tables that have columns by which presets tell rows apart."""
    from cytotable_dagster.core.sources.sqlite.pages import PageTable, entries, schema_in

    found = []
    for kind, name, root, sql in entries(schema_in(file)):
        if kind != "table" or not isinstance(name, str) or not sql or not root or root > file.geometry.pages:
            continue
        try:
            table = PageTable(file, name, root, parse_table(name, sql))
        except NotOrdinary:
            continue
        if any(column.name in _key_columns() for column in table.columns):
            found.append(table)
    return found


def _keys(table: "PageTable") -> "tuple[np.ndarray, dict[str, pa.Array]]":
    columns = [column.name for column in table.columns if column.name in _key_columns()]
    rows, arrays = table.keys(columns)
    return rows, dict(zip(columns, arrays, strict=True))


@cache
def _key_columns() -> frozenset[str]:
    """Columns that presets have rows told apart, and joined, by."""
    found: set[str] = set()
    for preset in PRESETS.values():
        for compartment in (*preset.metadata, *preset.compartments):
            found.update(preset.keys_of(compartment))
        found.update(preset.parents_of(preset.base_order[0]).values())
    return frozenset(found)
