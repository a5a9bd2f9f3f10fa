"""Where plates are: a path or an address to the plates behind it."""

import glob
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError, SourceAccessError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.intake.image_tables import plates_said
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.sources.csv.exports import plate_name
from cytotable_dagster.core.sources.csv.names import may_be_table
from cytotable_dagster.core.sources.csv.plates import plates_among
from cytotable_dagster.core.sources.naming import SQLITE, is_csv, is_npz, is_sqlite, plate_files, shows_plate, stem
from cytotable_dagster.core.storage.client import head, is_remote, list_remote
from cytotable_dagster.core.support.hidden import stands_for_hidden, visible_files
from cytotable_dagster.core.support.written_paths import expanded

DATATYPES = ("sqlite", "csv", "npz")
_MAGIC = re.compile(r"[*?\[]")


def find_plates(
    source_path: str | Path | Sequence[str | Path],
    source_datatype: str | None,
    cloud: Mapping[str, Any],
    preferred: str | None = None,
    attempt: Callable[[str], AbstractContextManager[object]] = nullcontext,
    plate_pattern: str | None = None,
) -> tuple[Plate, ...]:
    """All plates at an address, or at each of several, by name.

    An address is a SQLite, CSV or NPZ file, or a folder (or prefix): of SQLite files, in it or, where it has none,
    below it; or of CSV or NPZ files of one plate or several (see `csv.plates`). Or it may have `*`, `?` and `[...]` in
    it, and then every file or folder that matches is looked at.
    Plates of one name are called `<folder>~<name>`.

    Args:
        source_datatype: `sqlite`, `csv` or `npz`; None takes what is there, SQLite first.
        cloud: options of the cloud client (see `cache.checked_cloud_options`).
        preferred: the type that is taken where it is there, if none is asked for.
        attempt: a context in which each of several addresses is looked at, which may pass over its errors.
        plate_pattern: which folders below an address are plates of CSV or NPZ files, as in `{plate}/{site}/...`.

    Raises:
        SourceNotFoundError: nothing is there.
        SourceFormatError: two plates have one name, and so have their folders.
        OptionError: a `source_datatype` that is not known, or a pattern that does not fit.
    """
    if source_datatype is not None and source_datatype not in DATATYPES:
        raise OptionError(f"source_datatype {source_datatype!r} is not known; there are: {', '.join(DATATYPES)}")
    given = [source_path] if isinstance(source_path, str | Path) else list(source_path)
    addresses = [expanded(address, to_read=True) for address in given]
    if not addresses:
        raise SourceNotFoundError("source_path: no address was given")
    matches = [match for address in addresses for match in _matches(str(address), cloud)]
    found: list[Plate] = []
    for match in matches:
        with attempt(match) if len(matches) > 1 else nullcontext():
            found += _plates_in(match, source_datatype, cloud, preferred, plate_pattern)
    plates = list({plate.uri: plate for plate in found}.values())
    names = Counter(plate.name for plate in plates)
    named = [plate if names[plate.name] == 1 else replace(plate, name=_long_name(plate)) for plate in plates]
    seen: dict[str, str] = {}
    for plate in named:
        if seen.setdefault(plate.name, plate.uri) != plate.uri:
            raise SourceFormatError(f"{seen[plate.name]} and {plate.uri} would both be plate {plate.name}; rename one")
    return tuple(sorted(named, key=lambda plate: plate.name))


def _matches(address: str, cloud: Mapping[str, Any]) -> list[str]:
    """What an address means: itself, or all that a pattern fits."""
    # A name may have these characters itself.
    if _MAGIC.search(address) and not _is_there(address, cloud):
        matches = _matching(address, cloud)
        if not matches:
            raise SourceNotFoundError(f"{address}: nothing matches")
        return matches
    return [address]


def _plates_in(
    address: str,
    source_datatype: str | None,
    cloud: Mapping[str, Any],
    preferred: str | None,
    plate_pattern: str | None,
) -> list[Plate]:
    """The plates at an address that is meant as it stands."""
    if source_datatype is None and preferred is not None:
        with suppress(SourceNotFoundError, SourceFormatError):
            return _plates_in(address, preferred, cloud, None, plate_pattern)
    if _is_file(address):
        return [_one_file(address, source_datatype)]
    prefix, files = _below(address, cloud)
    if source_datatype in (None, "sqlite"):
        databases = _databases(files, source_datatype)
        if databases:
            first, *others = [plate_at(f"{prefix}{database}") for database in databases]
            return [replace(first, note=_passed_over(address, files, databases, source_datatype)), *others]
    if not _fits(files, source_datatype):
        raise _nothing(address, source_datatype)
    fits = {"csv": is_csv, "npz": is_npz}.get(source_datatype or "", bool)
    wanted = [file for file in files if fits(file)]
    groups = plates_among(wanted, prefix.rstrip("/"), plate_pattern, plates_said(prefix, wanted, cloud))
    end = "/" if is_remote(address) else ""
    whole = _folder_plate(address)
    found = [
        Plate(group.name or plate_name(group.folder), f"{prefix}{group.folder}{end}", group.note)
        if group.folder
        else replace(whole, note=group.note)
        for group in groups
    ]
    told = (found[0].note, _passed_over(address, files, [], source_datatype))
    return [replace(found[0], note="; ".join(filter(None, told))), *found[1:]]


def _is_file(address: str) -> bool:
    """Whether an address is of one file; of a store's, by its name. Raises SourceNotFoundError."""
    if is_remote(address):
        return is_sqlite(address) or is_csv(address) or is_npz(address)
    path = Path(address)
    if not path.exists():
        raise SourceNotFoundError(f"{address}: no such file or folder")
    return not path.is_dir()


def _below(address: str, cloud: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A folder or prefix, which ends in `/`, and the files in it and below it, as of it."""
    if is_remote(address):
        prefix = address.rstrip("/") + "/"
        return prefix, [file.removeprefix(prefix) for file in list_remote(prefix, cloud, below=True)]
    folder = Path(address)
    return f"{folder}/", list(visible_files(folder))


def _databases(files: Sequence[str], source_datatype: str | None) -> list[str]:
    """The SQLite files among a folder's; where none is directly in it, those below it, unless it is one of others."""
    below = sorted(file for file in files if is_sqlite(file))
    direct = [file for file in below if "/" not in file]
    if direct or source_datatype == "sqlite" or not shows_plate(files):
        return direct or below
    return []


def _passed_over(address: str, files: Sequence[str], databases: Sequence[str], source_datatype: str | None) -> str:
    """What is to be told of files that may be plates too and are not taken: SQLite files but for these, and those of
    other kinds where none is asked for."""
    others = [sorted({*filter(is_sqlite, files)}.difference(databases))]
    if source_datatype is None:
        arrays = sorted(filter(is_npz, files))
        tables = sorted(filter(may_be_table, files)) if databases or arrays else []
        others += [tables if databases else [], arrays if databases or tables else []]
    elif source_datatype != "sqlite":
        return ""
    told = ", ".join(f"{found[0]} ({len(found)} such)" for found in others if found)
    more = "; name each plate, as in a list, or pass source_datatype= for those of one kind"
    return f"{address}: not converted, though they may be plates: {told}{more}" if told else ""


def _matching(pattern: str, cloud: Mapping[str, Any]) -> list[str]:
    """What matches a pattern; `*` stands for no `/`, and for nothing hidden. A folder that is called as a part of the
    pattern is meant before others that match it."""
    if not is_remote(pattern):
        whole = str(Path(pattern))
        levels = whole.split("/")
        known = next(count for count in range(len(levels), -1, -1) if Path("/".join(levels[:count]) or "/").exists())
        found = glob.glob("/".join([*map(glob.escape, levels[:known]), *levels[known:]]))  # noqa: PTH207 (from any root)
        return sorted(path for path in found if not stands_for_hidden(whole, path))
    known_folder = pattern[: _MAGIC.search(pattern).start()].rsplit("/", 1)[0] + "/"  # type: ignore[union-attr]
    wanted = pattern.rstrip("/").split("/")
    addresses = [uri.split("/")[: len(wanted)] for uri in list_remote(known_folder, cloud, below=True)]
    addresses = [levels for levels in addresses if len(levels) == len(wanted)]
    for place, level in enumerate(wanted):
        called_so = [levels for levels in addresses if levels[place] == level]
        addresses = called_so or [levels for levels in addresses if fnmatchcase(levels[place], level)]
    return sorted({"/".join(levels) for levels in addresses})


def _is_there(address: str, cloud: Mapping[str, Any]) -> bool:
    """Whether a file or folder is called exactly so."""
    if not is_remote(address):
        return Path(address).exists()
    with suppress(SourceNotFoundError, SourceAccessError):
        head(address, cloud)
        return True
    return bool(list_remote(address, cloud))


def _long_name(plate: Plate) -> str:
    """A plate's name with that of the folder around its own."""
    parts = [part for part in plate.uri.split("://")[-1].rstrip("/").split("/")[:-1] if part != plate.name]
    return f"{parts[-1]}~{plate.name}" if parts else plate.name


def find_plate(
    source_path: str | Path,
    source_datatype: str | None,
    cloud: Mapping[str, Any],
    preferred: str | None = None,
    plate_pattern: str | None = None,
) -> Plate:
    """The one plate at `source_path`; see `find_plates`.

    Raises:
        SourceFormatError: several are there. Else as `find_plates`.
    """
    found = find_plates(source_path, source_datatype, cloud, preferred, plate_pattern=plate_pattern)
    if len(found) > 1:
        told = f"holds {len(found)} plates, and one is converted at a time; name one, such as {found[0].uri}"
        raise SourceFormatError(f"{source_path}: {told}")
    return found[0]


def _folder_plate(address: str) -> Plate:
    """The plate whose CSV or NPZ files are in a folder, or below a prefix."""
    if is_remote(address):
        return Plate(plate_name(address), address.rstrip("/") + "/")
    path = Path(address)
    return Plate(plate_name(str(path.absolute())), str(path))


def plate_at(address: str) -> Plate:
    """The plate that a file's address means; its name is the file's without the ending."""
    return Plate(name=stem(address.rstrip("/").rsplit("/", 1)[-1]), uri=address)


def _one_file(address: str, source_datatype: str | None) -> Plate:
    """The plate in a file. One that is called as a table says nothing of the plate, whose folder does."""
    address = address if is_remote(address) else str(Path(address))
    for datatype, fits in (("csv", is_csv), ("npz", is_npz)):
        if source_datatype == datatype and not fits(address):
            raise SourceFormatError(f"{address}: no {datatype.upper()} file by its name, as source_datatype= says")
    if source_datatype != "sqlite" and may_be_table(address):
        whole = address if is_remote(address) else str(Path(address).absolute())
        return Plate(plate_name(whole.rpartition("/")[0]), address)
    return plate_at(address)


def _fits(names: Iterable[str], source_datatype: str | None) -> bool:
    """Whether files of the type asked for are among a folder's."""
    found = plate_files(names) if source_datatype != "sqlite" else []
    kinds = {"csv": is_csv, "npz": is_npz}
    return any(source_datatype is None or kinds[source_datatype](name) for name in found)


def _nothing(address: str, source_datatype: str | None) -> SourceNotFoundError:
    wanted = {
        "sqlite": f"file that ends in {' or '.join(SQLITE)}",
        "csv": "CSV file (Cells.csv, ...)",
        "npz": "NPZ file",
    }
    kinds = [text for kind, text in wanted.items() if source_datatype in (None, kind)]
    return SourceNotFoundError(f"{address}: holds no {', and no '.join(kinds)}")
