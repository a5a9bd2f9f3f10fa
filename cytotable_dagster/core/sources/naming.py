"""Which files are a plate's, by their names."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cytotable_dagster.core.sources.csv.names import ENDING, is_table_file, is_text, may_be_table
from cytotable_dagster.core.sources.csv.setup import is_setup
from cytotable_dagster.core.support.hidden import visible_files

SQLITE = (".sqlite", ".sqlite3", ".db")
_NPZ = ".npz"
_EXPERIMENT = re.compile(r"(^|[/_])experiment$", re.IGNORECASE)


def is_sqlite(name: str) -> bool:
    return name.lower().endswith(SQLITE)


def is_csv(name: str) -> bool:
    return ENDING.search(name) is not None


def is_npz(name: str) -> bool:
    return name.lower().endswith(_NPZ)


def stem(name: str) -> str:
    """A file's name without its ending."""
    bare = ENDING.sub("", name)
    return bare if bare != name or "." not in name else name.rsplit(".", 1)[0]


def plate_files(names: Iterable[str]) -> list[str]:
    """Those of a folder's files, by their names or addresses, that may be tables of its plate: CSV and NPZ files
    and what declares their tables, without what CellProfiler and the Cell Painting Gallery have beside them."""
    return [name for name in names if is_npz(name) or _may_be_csv_table(name) or is_setup(name)]


def _may_be_csv_table(name: str) -> bool:
    return is_table_file(name) and (may_be_table(name) or not is_text(name))


def is_experiment(name: str) -> bool:
    """Whether a file has facts of the experiment, which are no part of its plate but where they are asked for."""
    return is_csv(name) and _EXPERIMENT.search(stem(name)) is not None


def shows_plate(names: Iterable[str]) -> bool:
    """Whether files are a plate's without a doubt: a CSV file may be anything."""
    return any(is_npz(name) or may_be_table(name) for name in names)


def files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """The files of the plate in a folder and all below it: names as of the folder, and paths, sorted by name."""
    yield from ((name, root / name) for name in sorted(plate_files(visible_files(root))))


def files_of(path: Path, datatype: str) -> Sequence[tuple[str, Path]]:
    """Those of a plate's files that are of a type, `csv` or `npz`: names as of its folder, and paths."""
    if not path.is_dir():
        return [(path.name, path)]
    fits = is_npz if datatype == "npz" else is_csv
    return [(name, file) for name, file in files_below(path) if fits(name)]
