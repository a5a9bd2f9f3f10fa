"""Where plates are: a path or an address to the plates behind it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.store import is_remote, list_remote
from cytotable_dagster.core.types import Plate

_SUFFIXES = {"sqlite": (".sqlite", ".sqlite3", ".db")}


def find_plate(source_path: str | Path, source_datatype: str | None, cloud: Mapping[str, Any]) -> Plate:
    """The one plate at `source_path`: a SQLite file, or a folder (or prefix) that holds one.

    Args:
        source_datatype: `sqlite`, or None for whatever is there.
        cloud: options of the cloud client (see `cache.checked_cloud_options`).

    Raises:
        SourceNotFoundError: nothing is there.
        SourceFormatError: several plates are, or none of the type asked for.
        OptionError: a `source_datatype` that is not known.
    """
    suffixes = _wanted_suffixes(source_datatype)
    address = str(source_path)
    if is_remote(address):
        return _remote_plate(address, suffixes, cloud)
    path = Path(address).expanduser()
    if path.is_dir():
        found = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in suffixes)
        return _only(found, address, suffixes)
    if not path.exists():
        raise SourceNotFoundError(f"{address}: no such file or folder")
    return plate_at(str(path))


def plate_at(address: str) -> Plate:
    """The plate that a file's address means; its name is the file's without the ending."""
    name = address.rstrip("/").rsplit("/", 1)[-1]
    return Plate(name=name.rsplit(".", 1)[0] if "." in name else name, uri=address)


def _wanted_suffixes(source_datatype: str | None) -> tuple[str, ...]:
    if source_datatype is None:
        return tuple(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)
    if source_datatype not in _SUFFIXES:
        raise OptionError(f"source_datatype {source_datatype!r} is not known; there are: {', '.join(_SUFFIXES)}")
    return _SUFFIXES[source_datatype]


def _remote_plate(address: str, suffixes: tuple[str, ...], cloud: Mapping[str, Any]) -> Plate:
    if address.lower().endswith(suffixes):
        return plate_at(address)
    found = [uri for uri in list_remote(address, cloud) if uri.lower().endswith(suffixes)]
    return _only(found, address, suffixes)


def _only(found: list[str], address: str, suffixes: tuple[str, ...]) -> Plate:
    if not found:
        raise SourceNotFoundError(f"{address}: holds no file that ends in {' or '.join(suffixes)}")
    if len(found) > 1:
        raise SourceFormatError(
            f"{address}: holds {len(found)} plates, and one is converted at a time; name one, such as {found[0]}"
        )
    return plate_at(found[0])
