"""Which Parquet files are which tables of which plate, by their names.

A table is a file (`Cells.parquet`, `per_cells.parquet`) or all files in a folder of that name (`Cells/00000.parquet`,
of a dataset `Cells/<plate>.parquet`); what these names stand in is the plate. Any other file is a joined table.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import USUAL
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.support.hidden import visible_files

PARQUET = ".parquet"
_BEFORE = re.compile(r"^per_", re.IGNORECASE)
_TABLES = (*USUAL, SINGLE_CELLS)


def is_parquet(name: str) -> bool:
    return name.lower().endswith(PARQUET)


def is_joined(file: str) -> bool:
    """Whether a file is a joined table, and a plate by itself."""
    return _is_table(file) and _place(file, _TABLES) is None


def folders_in(files: Iterable[str]) -> list[str]:
    """The folders of plates among a folder's Parquet files (empty for that folder); what lies below one is a part of
    it."""
    places = (_place(file, _TABLES) for file in files if _is_table(file))
    found: list[str] = []
    for folder in sorted({place[0] for place in places if place is not None}, key=lambda folder: folder.count("/")):
        if not any(not plate or folder.startswith(f"{plate}/") for plate in found):
            found.append(folder)
    return sorted(found)


def tables_in(root: Path, wanted: Sequence[str]) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """A plate's files by table, and those that are of none of the tables wanted; names as of its folder.

    A joined table is `SINGLE_CELLS`, and is of none where objects have tables of their own.

    Raises:
        SourceFormatError: a table is there twice, as results and a dataset of them in one folder.
    """
    names = sorted(filter(_is_table, visible_files(root))) if root.is_dir() else [root.name]
    found: dict[str, list[str]] = defaultdict(list)
    others = []
    for name in names:
        place = _place(name, (*wanted, SINGLE_CELLS))
        if place is not None and not place[0]:
            found[place[1]].append(name)
        elif place is None and len(names) == 1:
            found[SINGLE_CELLS].append(name)
        else:
            others.append(name)
    if len(found) > 1 and any(table in found for table in wanted):
        others += found.pop(SINGLE_CELLS, [])
    for table, files in found.items():
        stored = sorted({name.split("/")[0] for name in files})
        if len(stored) > 1:
            raise SourceFormatError(f"{root}: {' and '.join(stored)} are both {table}; give a folder that has it once")
    return found, sorted(others)


def _is_table(file: str) -> bool:
    """Whether a Parquet file is data: what begins with `_` tells about tables, and readers pass it over."""
    return is_parquet(file) and not any(level.startswith("_") for level in file.split("/"))


def _place(file: str, tables: Sequence[str]) -> tuple[str, str] | None:
    """The folder of the plate that a file is a table of, and that table; None where no name tells."""
    *folders, last = file.split("/")
    for depth, folder in enumerate(folders):
        if table := _table(folder, tables):
            return "/".join(folders[:depth]), table
    table = _table(last[: -len(PARQUET)], tables)
    return None if table is None else ("/".join(folders), table)


def _table(name: str, tables: Sequence[str]) -> str | None:
    bare = _BEFORE.sub("", name).lower()
    return next((table for table in tables if table.lower() == bare), None)
