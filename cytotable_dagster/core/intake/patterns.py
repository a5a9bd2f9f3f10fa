"""Where the plate of a name is: a pattern of addresses with `{plate}` in it, over a folder or a store."""

import glob
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.storage.client import check_store, is_remote, list_remote
from cytotable_dagster.core.support.hidden import is_hidden

_OTHER = re.compile(r"\{(?!plate\})[a-z_]+\}")
# A pattern that names no file is a folder of plates.
_DEFAULT_FILE = "{plate}.sqlite"


def find_by_pattern(pattern: str, name: str, cloud: Mapping[str, Any]) -> Plate:
    """The plate called `name` among the addresses of a pattern.

    Args:
        pattern: `plates`, `s3://bucket/backend/{batch}/{plate}/{plate}.sqlite`, or of folders
            `s3://bucket/{batch}/{plate}/analysis/`; `{plate}` stands for the name, any other placeholder for what is
            there, which costs a listing of its folder.

    Raises:
        SourceNotFoundError: there is none. SourceFormatError: there are several; the message names two.
        OptionError: an address in a store that is not read.
    """
    check_store(pattern)
    if "/" in name:
        raise OptionError(f"plate {name}: no file is called so; tell its source, the address of its file")
    whole = whole_pattern(pattern)
    wanted = whole.replace("{plate}", name)
    known = _OTHER.search(whole) is None
    found = [wanted] if known else sorted(a for a in _expand("", whole, name, cloud) if _exists(a, cloud))
    if not found:
        raise SourceNotFoundError(f"plate {name}: there is nothing at {wanted}; tell its source, a file")
    if len(found) > 1:
        raise SourceFormatError(
            f"plate {name}: {len(found)} files of that name, such as {found[0]} and {found[1]}; "
            "tell the one meant as its source"
        )
    return Plate(name, found[0])


def whole_pattern(pattern: str) -> str:
    """The pattern, with the file's name where it names a folder."""
    return pattern if "{plate}" in pattern else f"{pattern.rstrip('/')}/{_DEFAULT_FILE}"


def _expand(found: str, rest: str, plate: str, cloud: Mapping[str, Any]) -> list[str]:
    """The addresses that the rest of a pattern may stand for behind what was found for its beginning; names that are
    there may look like placeholders."""
    match = _OTHER.search(rest)
    if match is None:
        return [found + rest.replace("{plate}", plate)]
    start = rest.rfind("/", 0, match.start()) + 1
    if not found and not start:
        raise OptionError(f"{rest}: a placeholder needs a folder before it")
    found += rest[:start].replace("{plate}", plate)
    segment, slash, rest = rest[start:].partition("/")
    wanted = "*".join(glob.escape(part.replace("{plate}", plate)) for part in _OTHER.split(segment))
    names = [name for name in _names_in(found, cloud) if fnmatchcase(name, wanted) and not is_hidden(name)]
    return [whole for name in names for whole in _expand(f"{found}{name}{slash}", rest, plate, cloud)]


def _exists(address: str, cloud: Mapping[str, Any]) -> bool:
    folder, _, name = address.rstrip("/").rpartition("/")
    return name in _names_in(f"{folder}/", cloud)


def _names_in(folder: str, cloud: Mapping[str, Any]) -> list[str]:
    if is_remote(folder):
        return [uri.rstrip("/").rsplit("/", 1)[-1] for uri in list_remote(folder, cloud)]
    path = Path(folder).expanduser()
    return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
