"""Where the plate of a name is: a pattern of addresses with `{plate}` in it, over a folder or a store."""

from pathlib import Path

from cytotable_dagster.core.errors import OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.intake.addresses import check_root
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.storage.address import check_store, is_remote
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.placeholders import Template, template

# A pattern that names no file is a folder of plates.
_DEFAULT_FILE = "{plate}.sqlite"


def find_by_pattern(pattern: str, name: str, store: Store) -> Plate:
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
    wanted = template(whole_pattern(pattern)).given({"plate": name})
    found = sorted(a for a in _expanded(wanted, store) if _exists(a, store)) if wanted.names else [str(wanted)]
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


def _expanded(wanted: Template, store: Store) -> list[str]:
    """The addresses that a pattern may stand for, by what is there."""
    check_root(wanted)
    found: list[tuple[tuple[str, ...], dict[str, str]]] = [((), {})]
    for level in wanted.levels():
        found = [
            ((*above, name), {**known, **more})
            for above, known in found
            for name, more in _at(level.given(known), f"{'/'.join(above)}/", store)
        ]
    return ["/".join(levels) for levels, _ in found]


def _at(level: Template, folder: str, store: Store) -> list[tuple[str, dict[str, str]]]:
    """The names in a folder that a level may stand for, and what its placeholders are there."""
    if not level.names:
        return [(str(level), {})]
    fitting = [(name, level.match_visible(name)) for name in _names_in(folder, store)]
    return [(name, places) for name, places in fitting if places is not None]


def _exists(address: str, store: Store) -> bool:
    folder, _, name = address.rstrip("/").rpartition("/")
    return name in _names_in(f"{folder}/", store)


def _names_in(folder: str, store: Store) -> list[str]:
    if is_remote(folder):
        return [uri.rstrip("/").rsplit("/", 1)[-1] for uri in store.names_in(folder)]
    path = Path(folder).expanduser()
    return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
