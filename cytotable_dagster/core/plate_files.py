"""Which files are a plate, by their names: one file, or those of a folder that are tables."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cytotable_dagster.core.csv_files import is_export_file

SQLITE = (".sqlite", ".sqlite3", ".db")
_CSV = re.compile(r"\.csv(\.gz)?$", re.IGNORECASE)
_NPZ = ".npz"


def is_sqlite(name: str) -> bool:
    return name.lower().endswith(SQLITE)


def is_csv(name: str) -> bool:
    return _CSV.search(name) is not None


def is_npz(name: str) -> bool:
    return name.lower().endswith(_NPZ)


def stem(name: str) -> str:
    """A file's name without its ending."""
    bare = _CSV.sub("", name)
    return bare if bare != name or "." not in name else name.rsplit(".", 1)[0]


def plate_files(names: Iterable[str]) -> list[str]:
    """Those of a folder's files, by their names or addresses, that are the plate's: NPZ files, and CSV files named for
    tables; where there are neither, all CSV files."""
    known = list(names)
    return [name for name in known if is_npz(name) or is_export_file(name)] or [name for name in known if is_csv(name)]


def files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """The files of the plate in a folder and all below it: names as of the folder, and paths, sorted."""
    found = [str(Path(folder, name)) for folder, _, names in os.walk(root) for name in names]
    yield from sorted((Path(path).relative_to(root).as_posix(), Path(path)) for path in plate_files(found))
