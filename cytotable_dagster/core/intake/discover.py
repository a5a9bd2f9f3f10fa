"""Where plates are: a path or an address to the plates behind it."""

import glob
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from cytotable_dagster.core.errors import (
    SourceAccessError,
    SourceFormatError,
    SourceNotFoundError,
)
from cytotable_dagster.core.intake.image_tables import plates_said
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.sources.listed import listed
from cytotable_dagster.core.sources.naming import (
    check_datatype,
    check_named,
    is_named_for_table,
    kind_of_file,
    plate_name,
    stem,
)
from cytotable_dagster.core.sources.plate_folders import plates_among
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.hidden import stands_for_hidden, visible_files
from cytotable_dagster.core.support.other_results import other_result, outside_warehouses
from cytotable_dagster.core.support.written_paths import expanded

_MAGIC = re.compile(r"[*?\[]")


def find_plates(
    source_path: str | Path | Sequence[str | Path],
    source_datatype: str | None,
    store: Store,
    preferred: str | None = None,
    attempt: Callable[[str], AbstractContextManager[object]] = nullcontext,
    plate_pattern: str | None = None,
) -> tuple[Plate, ...]:
    """All plates at an address, or at each of several, by name.

    An address is a SQLite, CSV, NPZ or Parquet file, or a folder (or prefix): of SQLite files, in it or, where it has
    none, below it; or of files of the other kinds, of one plate or several (see `plate_folders`). Or it may have `*`,
    `?` and `[...]` in it, and then every file or folder that matches is looked at.
    Plates of one name are called `<folder>~<name>`.

    Args:
        source_datatype: one of `DATATYPES`; None takes what is there, SQLite first and Parquet last.
        store: how stores are spoken to.
        preferred: the type that is taken where it is there, if none is asked for.
        attempt: a context in which each of several addresses is looked at, which may pass over its errors.
        plate_pattern: which folders below an address are plates of CSV or NPZ files, as in `{plate}/{site}/...`.

    Raises:
        SourceNotFoundError: nothing is there.
        SourceFormatError: two plates have one name, and so have their folders.
        DatatypeError: a `source_datatype` that is not known, or that a single file is not of.
        OptionError: a pattern that does not fit.
    """
    check_datatype(source_datatype)
    given = [source_path] if isinstance(source_path, str | Path) else list(source_path)
    addresses = [expanded(address, to_read=True) for address in given]
    if not addresses:
        raise SourceNotFoundError("source_path: no address was given")
    matches = [match for address in addresses for match in _matches(str(address), store)]
    found: list[Plate] = []
    for match in matches:
        with attempt(match) if len(matches) > 1 else nullcontext():
            found += _plates_in(match, source_datatype, store, preferred, plate_pattern)
    plates = list({plate.uri: plate for plate in found}.values())
    names = Counter(plate.name for plate in plates)
    named = [plate if names[plate.name] == 1 else replace(plate, name=_long_name(plate)) for plate in plates]
    seen: dict[str, str] = {}
    for plate in named:
        if seen.setdefault(plate.name, plate.uri) != plate.uri:
            raise SourceFormatError(f"{seen[plate.name]} and {plate.uri} would both be plate {plate.name}; rename one")
    return tuple(sorted(named, key=lambda plate: plate.name))


def _matches(address: str, store: Store) -> list[str]:
    """What an address means: itself, or all that a pattern fits."""
    # A name may have these characters itself.
    if _MAGIC.search(address) and not _is_there(address, store):
        matches = _matching(address, store)
        if not matches:
            raise SourceNotFoundError(f"{address}: nothing matches")
        return matches
    return [address]


def _plates_in(
    address: str,
    source_datatype: str | None,
    store: Store,
    preferred: str | None,
    plate_pattern: str | None,
) -> list[Plate]:
    """The plates at an address that is meant as it stands."""
    if other := other_result(address):
        raise SourceFormatError(f"{address}: {other}, which is made of plates and is none; name what it was made of")
    if source_datatype is None and preferred is not None:
        with suppress(SourceNotFoundError, SourceFormatError):
            return _plates_in(address, preferred, store, None, plate_pattern)
    if _is_file(address):
        return [_one_file(address, source_datatype)]
    prefix, files = _below(address, store)
    held = listed(files, source_datatype, address)
    found = [plate_at(f"{prefix}{file}") for file in held.each]
    if not found:
        groups = plates_among(
            held.together, prefix.rstrip("/"), plate_pattern, plates_said(prefix, held.together, store)
        )
        end = "/" if is_remote(address) else ""
        whole = _folder_plate(address)
        found = [
            Plate(group.name or plate_name(group.folder), f"{prefix}{group.folder}{end}", group.note)
            if group.folder
            else replace(whole, note=group.note)
            for group in groups
        ]
    note = "; ".join(filter(None, (found[0].note, held.note)))
    return [replace(found[0], note=note), *found[1:]]


def _is_file(address: str) -> bool:
    """Whether an address is of one file; of a store's, by its name. Raises SourceNotFoundError."""
    if is_remote(address):
        return kind_of_file(address) is not None
    path = Path(address)
    if not path.exists():
        raise SourceNotFoundError(f"{address}: no such file or folder")
    return not path.is_dir()


def _below(address: str, store: Store) -> tuple[str, list[str]]:
    """A folder or prefix, which ends in `/`, and the files in it and below it that may be of plates, as of it."""
    if is_remote(address):
        prefix = address.rstrip("/") + "/"
        files = [found.uri.removeprefix(prefix) for found in store.objects_below(prefix)]
    else:
        prefix = f"{Path(address)}/"
        files = list(visible_files(Path(address)))
    return prefix, outside_warehouses(files)


def _matching(pattern: str, store: Store) -> list[str]:
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
    addresses = [found.uri.split("/")[: len(wanted)] for found in store.objects_below(known_folder)]
    addresses = [levels for levels in addresses if len(levels) == len(wanted)]
    for place, level in enumerate(wanted):
        called_so = [levels for levels in addresses if levels[place] == level]
        addresses = called_so or [levels for levels in addresses if fnmatchcase(levels[place], level)]
    return sorted({"/".join(levels) for levels in addresses})


def _is_there(address: str, store: Store) -> bool:
    """Whether a file or folder is called exactly so."""
    if not is_remote(address):
        return Path(address).exists()
    with suppress(SourceNotFoundError, SourceAccessError):
        store.client(address).head(address)
        return True
    return bool(store.names_in(address))


def _long_name(plate: Plate) -> str:
    """A plate's name with that of the folder around its own."""
    parts = [part for part in plate.uri.split("://")[-1].rstrip("/").split("/")[:-1] if part != plate.name]
    return f"{parts[-1]}~{plate.name}" if parts else plate.name


def find_plate(
    source_path: str | Path,
    source_datatype: str | None,
    store: Store,
    preferred: str | None = None,
    plate_pattern: str | None = None,
) -> Plate:
    """The one plate at `source_path`; see `find_plates`.

    Raises:
        SourceFormatError: several are there. Else as `find_plates`.
    """
    found = find_plates(source_path, source_datatype, store, preferred, plate_pattern=plate_pattern)
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
    check_named(address, source_datatype)
    if is_named_for_table(address, source_datatype):
        whole = address if is_remote(address) else str(Path(address).absolute())
        return Plate(plate_name(whole.rpartition("/")[0]), address)
    return plate_at(address)
