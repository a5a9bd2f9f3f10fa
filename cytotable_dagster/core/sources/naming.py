"""Which files are a plate's, by their names."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import DatatypeError
from cytotable_dagster.core.model.presets import DATATYPES
from cytotable_dagster.core.sources.csv.names import ENDING, is_table_file, is_text, may_be_table
from cytotable_dagster.core.sources.csv.setup import is_setup
from cytotable_dagster.core.sources.parquet.names import is_parquet
from cytotable_dagster.core.sources.sqlite.header import MAGIC
from cytotable_dagster.core.support.hidden import visible_files
from cytotable_dagster.core.support.suggestions import there_are

_SQLITE = (".sqlite", ".sqlite3", ".db")
_NPZ = ".npz"
# A plate's folder in the Cell Painting Gallery holds one of this name, which says nothing.
_NAMELESS = "analysis"
_EXPERIMENT = re.compile(r"(^|[/_])experiment$", re.IGNORECASE)


def is_sqlite(name: str) -> bool:
    return name.lower().endswith(_SQLITE)


def is_csv(name: str) -> bool:
    return ENDING.search(name) is not None


def is_npz(name: str) -> bool:
    return name.lower().endswith(_NPZ)


@dataclass(frozen=True)
class Kind:
    """A kind of source: what it is called, which files are of it by their names, how these begin, and what one is told
    to look for in a folder."""

    called: str
    fits: Callable[[str], bool]
    begins: bytes
    looked_for: str


# By their `source_datatype`.
KINDS: Mapping[str, Kind] = {
    "sqlite": Kind("SQLite", is_sqlite, MAGIC, f"file that ends in {' or '.join(_SQLITE)}"),
    "csv": Kind("CSV", is_csv, b"", "CSV file (Cells.csv, ...)"),
    "npz": Kind("NPZ", is_npz, b"PK\x03\x04", "NPZ file"),
    "parquet": Kind("Parquet", is_parquet, b"PAR1", "Parquet file that lies with no others"),
}


def kind_of_file(name: str) -> Kind | None:
    """What a file is, by its name or address; None where it is of no kind."""
    return next((kind for kind in KINDS.values() if kind.fits(name)), None)


def kind_of(names: Iterable[str]) -> str:
    """What a plate's files are, by their names: SQLite, CSV, NPZ, Parquet; the first of them that is known decides."""
    return next((kind.called for kind in map(kind_of_file, names) if kind is not None), "other files")


def check_datatype(datatype: str | None) -> None:
    """Refuse a `source_datatype` that there is not.

    Raises:
        DatatypeError: it is none of `DATATYPES`.
    """
    if datatype not in (None, *DATATYPES):
        raise DatatypeError(f"source_datatype {datatype!r} is not known; {there_are(str(datatype), DATATYPES)}")


def check_named(address: str, datatype: str | None) -> None:
    """Refuse a file that by its name is not of the type asked for; a SQLite file may be called anything.

    Raises:
        DatatypeError: it is not.
    """
    if datatype not in (None, "sqlite") and not KINDS[datatype].fits(address):
        raise DatatypeError(f"{address}: no {KINDS[datatype].called} file by its name, as source_datatype= says")


def is_named_for_table(address: str, datatype: str | None) -> bool:
    """Whether a file is called as a table, so that its name says nothing of the plate."""
    return datatype != "sqlite" and may_be_table(address)


def plate_name(folder: str) -> str:
    """The name of the plate whose files are in a folder."""
    names = [name for name in folder.rstrip("/").split("/") if name]
    return names[-2] if names[-1].lower() == _NAMELESS and len(names) > 1 else names[-1]


def stem(name: str) -> str:
    """A file's name without its ending."""
    bare = ENDING.sub("", name)
    return bare if bare != name or "." not in name else name.rsplit(".", 1)[0]


def plate_files(names: Iterable[str]) -> list[str]:
    """Those of a folder's files, by their names or addresses, that may be tables of its plate: CSV and NPZ files
    and what declares their tables, without what CellProfiler and the Cell Painting Gallery have beside them. Where
    there are none of these, Parquet files, which else may be results that lie beside their sources."""
    names = list(names)
    found = [name for name in names if is_npz(name) or _may_be_csv_table(name) or is_setup(name)]
    return found or list(filter(is_parquet, names))


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
    """Those of a plate's files that are of a type, `csv`, `npz` or `parquet`: names as of its folder, and paths."""
    if not path.is_dir():
        return [(path.name, path)]
    return [(name, file) for name, file in files_below(path) if KINDS[datatype].fits(name)]
