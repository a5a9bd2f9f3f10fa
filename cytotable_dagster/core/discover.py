"""Where plates are: a path or an address to the plates behind it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cytotable_dagster.core.csv_files import is_export_file, plate_name
from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.store import is_remote, list_remote
from cytotable_dagster.core.types import Plate

_SQLITE = (".sqlite", ".sqlite3", ".db")
_DATATYPES = ("sqlite", "csv")


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
