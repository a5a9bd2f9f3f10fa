"""Which files of a folder are converted, by their names: those that are a plate each, or such as make up plates."""

from collections.abc import Sequence
from typing import NamedTuple

from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.sources.csv.names import may_be_table
from cytotable_dagster.core.sources.naming import KINDS, is_npz, is_sqlite, plate_files, shows_plate
from cytotable_dagster.core.sources.parquet.names import is_joined


class Listed(NamedTuple):
    """The files that are a plate each, or else those that make up plates (see `plate_folders`), and what is to be told
    of others that may be plates too."""

    each: Sequence[str]
    together: Sequence[str]
    note: str


def listed(files: Sequence[str], datatype: str | None, where: str) -> Listed:
    """Which of the files in a folder and below it are converted; names are as of the folder.

    Args:
        datatype: the type asked for; None takes what is there, SQLite first.

    Raises:
        SourceNotFoundError: nothing of the type is there.
    """
    if datatype in (None, "sqlite"):
        databases = _databases(files, datatype)
        if databases:
            return Listed(databases, (), _passed_over(where, files, databases, datatype))
    fits = bool if datatype is None else KINDS[datatype].fits
    if datatype == "sqlite" or not any(map(fits, plate_files(files))):
        wanted = (kind.looked_for for name, kind in KINDS.items() if datatype in (None, name))
        raise SourceNotFoundError(f"{where}: holds no {', and no '.join(wanted)}")
    joined = sorted(filter(is_joined, files)) if all(map(is_joined, plate_files(files))) else []
    return Listed(joined, [file for file in files if fits(file)], _passed_over(where, files, (), datatype))


def _databases(files: Sequence[str], datatype: str | None) -> list[str]:
    """The SQLite files among a folder's; where none is directly in it, those below it, unless it is one of others."""
    below = sorted(file for file in files if is_sqlite(file))
    direct = [file for file in below if "/" not in file]
    if direct or datatype == "sqlite" or not shows_plate(files):
        return direct or below
    return []


def _passed_over(where: str, files: Sequence[str], databases: Sequence[str], datatype: str | None) -> str:
    """What is to be told of files that may be plates too and are not taken: SQLite files but for these, and those of
    other kinds where none is asked for."""
    others = [sorted({*filter(is_sqlite, files)}.difference(databases))]
    if datatype is None:
        arrays = sorted(filter(is_npz, files))
        tables = sorted(filter(may_be_table, files)) if databases or arrays else []
        others += [tables if databases else [], arrays if databases or tables else []]
    elif datatype != "sqlite":
        return ""
    told = ", ".join(f"{found[0]} ({len(found)} such)" for found in others if found)
    more = "; name each plate, as in a list, or pass source_datatype= for those of one kind"
    return f"{where}: not converted, though they may be plates: {told}{more}" if told else ""
