"""Where plates are: a path or an address to the plates behind it."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cytotable_dagster.core.csv_files import is_export_file, plate_name
from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.store import is_remote, list_remote
from cytotable_dagster.core.types import Plate

_SQLITE = (".sqlite", ".sqlite3", ".db")
_DATATYPES = ("sqlite", "csv")
_MAGIC = re.compile(r"[*?\[]")


def find_plates(
    source_path: str | Path | Sequence[str | Path], source_datatype: str | None, cloud: Mapping[str, Any]
) -> tuple[Plate, ...]:
    """All plates at an address, or at each of several, by name.

    Besides what `find_plate` takes, an address may be a folder (or prefix) of several SQLite files, in it or, where it
    has none, below it; or have `*`, `?` and `[...]` in it, and then every file or folder that matches is looked at.
    Plates of one name are called `<folder>~<name>`.

    Raises:
        SourceNotFoundError: nothing is there.
        SourceFormatError: two plates have one name, and so have their folders.
        OptionError: a `source_datatype` that is not known.
    """
    addresses = [source_path] if isinstance(source_path, str | Path) else list(source_path)
    found = [plate for address in addresses for plate in _plates_at(str(address), source_datatype, cloud)]
    if not found:
        raise SourceNotFoundError("source_path: no address was given")
    plates = list({plate.uri: plate for plate in found}.values())
    names = Counter(plate.name for plate in plates)
    named = [plate if names[plate.name] == 1 else Plate(_long_name(plate), plate.uri) for plate in plates]
    seen: dict[str, str] = {}
    for plate in named:
        if seen.setdefault(plate.name, plate.uri) != plate.uri:
            raise SourceFormatError(f"{seen[plate.name]} and {plate.uri} would both be plate {plate.name}; rename one")
    return tuple(sorted(named, key=lambda plate: plate.name))


def _plates_at(address: str, source_datatype: str | None, cloud: Mapping[str, Any]) -> list[Plate]:
    if _MAGIC.search(address):
        matches = _matching(address, cloud)
        if not matches:
            raise SourceNotFoundError(f"{address}: nothing matches")
        return [plate for match in matches for plate in _plates_at(match, source_datatype, cloud)]
    if source_datatype in (None, "sqlite"):
        databases = _databases(address, source_datatype, cloud)
        if databases:
            return [plate_at(database) for database in databases]
    return [find_plate(address, source_datatype, cloud)]


def _databases(address: str, source_datatype: str | None, cloud: Mapping[str, Any]) -> list[str]:
    """The SQLite files in a folder or prefix; else those below it, unless it is one of CSV files. None for a file."""
    prefix = address.rstrip("/") + "/"
    if is_remote(address):
        files = [] if address.lower().endswith(_SQLITE) else list_remote(prefix, cloud, below=True)
    else:
        prefix = f"{Path(address).expanduser()}/"
        files = [str(Path(folder, name)) for folder, _, names in os.walk(prefix) for name in names]
    below = sorted(file for file in files if file.lower().endswith(_SQLITE))
    direct = [file for file in below if "/" not in file.removeprefix(prefix)]
    if direct or source_datatype == "sqlite" or not _any_export(files):
        return direct or below
    return []


def _matching(pattern: str, cloud: Mapping[str, Any]) -> list[str]:
    """What matches a pattern; `*` stands for no `/`."""
    if not is_remote(pattern):
        return sorted(glob.glob(str(Path(pattern).expanduser())))  # noqa: PTH207 (from any root)
    head = pattern[: _MAGIC.search(pattern).start()].rsplit("/", 1)[0] + "/"  # type: ignore[union-attr]
    expression = re.compile(
        "".join(
            part if part.startswith("[") else {"*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part)
            for part in re.findall(r"\[[^]]*\]|.", pattern.rstrip("/"))
        )
        + "(?=/|$)"
    )
    found = (expression.match(uri) for uri in list_remote(head, cloud, below=True))
    return sorted({match.group() for match in found if match})


def _long_name(plate: Plate) -> str:
    """A plate's name with that of the folder around its own."""
    parts = [part for part in plate.uri.split("://")[-1].rstrip("/").split("/")[:-1] if part != plate.name]
    return f"{parts[-1]}~{plate.name}" if parts else plate.name


def find_plate(source_path: str | Path, source_datatype: str | None, cloud: Mapping[str, Any]) -> Plate:
    """The one plate at `source_path`: a SQLite file, a folder (or prefix) that holds one, or a folder of CSV files.

    Args:
        source_datatype: `sqlite` or `csv`; None takes what is there, SQLite first.
        cloud: options of the cloud client (see `cache.checked_cloud_options`).

    Raises:
        SourceNotFoundError: nothing is there.
        SourceFormatError: several plates are, or none of the type asked for.
        OptionError: a `source_datatype` that is not known.
    """
    if source_datatype is not None and source_datatype not in _DATATYPES:
        raise OptionError(f"source_datatype {source_datatype!r} is not known; there are: {', '.join(_DATATYPES)}")
    address = str(source_path)
    if is_remote(address):
        return _remote_plate(address, source_datatype, cloud)
    path = Path(address).expanduser()
    if not path.exists():
        raise SourceNotFoundError(f"{address}: no such file or folder")
    if not path.is_dir():
        if source_datatype == "csv" or is_export_file(path.name):
            raise SourceFormatError(f"{address}: one file; a plate of CSV files is named by its folder, {path.parent}")
        return plate_at(str(path))
    databases = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in _SQLITE)
    if source_datatype != "csv" and databases:
        return _only(databases, address)
    if source_datatype != "sqlite" and any(is_export_file(name) for _, _, names in os.walk(path) for name in names):
        return Plate(plate_name(str(path.absolute())), str(path))
    raise _nothing(address, source_datatype)


def plate_at(address: str) -> Plate:
    """The plate that a file's address means; its name is the file's without the ending."""
    name = address.rstrip("/").rsplit("/", 1)[-1]
    return Plate(name=name.rsplit(".", 1)[0] if "." in name else name, uri=address)


def _remote_plate(address: str, source_datatype: str | None, cloud: Mapping[str, Any]) -> Plate:
    if source_datatype != "csv" and address.lower().endswith(_SQLITE):
        return plate_at(address)
    if source_datatype != "csv":
        databases = [uri for uri in list_remote(address, cloud) if uri.lower().endswith(_SQLITE)]
        if databases:
            return _only(databases, address)
    prefix = address.rstrip("/") + "/"
    if source_datatype != "sqlite" and _any_export(list_remote(prefix, cloud, below=True)):
        return Plate(plate_name(address), prefix)
    raise _nothing(address, source_datatype)


def _any_export(addresses: Iterable[str]) -> bool:
    return any(is_export_file(address) for address in addresses)


def _only(found: list[str], address: str) -> Plate:
    if len(found) > 1:
        raise SourceFormatError(
            f"{address}: holds {len(found)} plates, and one is converted at a time; name one, such as {found[0]}"
        )
    return plate_at(found[0])


def _nothing(address: str, source_datatype: str | None) -> SourceNotFoundError:
    wanted = {
        "sqlite": f"file that ends in {' or '.join(_SQLITE)}",
        "csv": "CSV file named for a table (Cells.csv, ...)",
    }
    kinds = [text for kind, text in wanted.items() if source_datatype in (None, kind)]
    return SourceNotFoundError(f"{address}: holds no {', and no '.join(kinds)}")
