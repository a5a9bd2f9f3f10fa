"""Where the results of a conversion go, and what they are called there."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.model.presets import DEFAULT
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.planning.options import BOTH
from cytotable_dagster.core.sources.unconverted import OTHERS
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.publication import exists_already
from cytotable_dagster.core.support.suggestions import nearest

# Endings of files that a conversion writes, and of such as it does not.
WRITTEN = (".parquet", ".h5ad", ".zarr")
_TABLES = (".csv", ".tsv", ".txt", ".feather", ".arrow", ".pq", ".json", ".xlsx")
NOT_WRITTEN = (*_TABLES, ".h5", ".hdf5", ".sqlite", ".db", ".duckdb")


def join_asked(dest_path: str | Path, join: bool | str | None, joins: str | None) -> bool | str:
    """Whether the joined table is asked for, or BOTH.

    Raises:
        OptionError: `join` contradicts `joins`, or is of several files where `dest_path` names one.
    """
    if join == BOTH:
        if _names_file(dest_path):
            raise OptionError(f'{dest_path}: join="{BOTH}" makes several files; give a folder as dest_path')
        return BOTH
    if join is None:
        return joins is not None or _names_file(dest_path)
    if joins is not None and not join:
        raise OptionError("joins= was given with join=False; leave one of them out")
    return join


def place_for(dest_path: str | Path, joined: bool, store: Store) -> tuple[Destination, str]:
    """Where results go, and what the joined table is called there."""
    if not (joined and _names_file(dest_path)):
        return destination_of(dest_path, store), f"{SINGLE_CELLS}.parquet"
    return place_and_name(dest_path, store)


def ending_of_folder(path: str) -> str | None:
    """What to say of a destination that becomes a folder though its name ends as that of a file does; None where
    there is nothing to say."""
    ending = PurePosixPath(path.rstrip("/")).suffix.lower()
    meant = nearest(ending, WRITTEN) if len(ending) > len(".pq") else None
    if ending in WRITTEN or not (meant or ending in NOT_WRITTEN):
        return None
    more = f"did you mean {meant}?" if meant else f"files of that kind are not written here, but {', '.join(WRITTEN)}"
    return f"dest_path {path!r} becomes a folder of Parquet files; {more}"


def place_and_name(dest_path: str | Path, store: Store) -> tuple[Destination, str]:
    """Where one result goes, and what it is called there."""
    if is_remote(str(dest_path)):
        folder, _, name = str(dest_path).rstrip("/").rpartition("/")
        return destination_of(folder, store), name
    path = Path(dest_path).absolute()
    return destination_of(path.parent, store), path.name


def output_name(compartment: str, one_file: bool) -> str:
    """What a compartment is called in the destination: a file, or a folder of chunk files."""
    return f"{compartment}.parquet" if one_file else compartment


def usual_outputs(targets: Sequence[str] | None, one_file: bool) -> list[str]:
    """What compartments that nearly every plate has are called in the destination, of those wanted."""
    usual = (*DEFAULT.metadata, *DEFAULT.compartments)
    asked = None if targets is None else {target.lower() for target in targets}
    wanted = [name for name in usual if asked is None or name.lower() in asked]
    wanted += [name for name in OTHERS if asked and name in asked]
    return [output_name(name, one_file) for name in wanted]


def check_free(place: Destination, names: Iterable[str], overwrite: bool) -> None:
    """Refuse to replace what is there.

    Raises:
        DestinationExistsError: one of the names is taken, without `overwrite`.
    """
    for name in names:
        if place.exists(name) and not overwrite:
            raise exists_already(place.address(name))


def _names_file(dest_path: str | Path) -> bool:
    return PurePosixPath(dest_path).suffix == ".parquet"
