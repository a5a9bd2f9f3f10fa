"""Where the results of a conversion go, and what they are called there."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.model.presets import DEFAULT
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.sources.unconverted import OTHERS
from cytotable_dagster.core.storage.client import is_remote
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.publication import exists_already


def is_joined(dest_path: str | Path, join: bool | None, joins: str | None) -> bool:
    """Whether the joined table is asked for.

    Raises:
        OptionError: `join` and `joins` contradict each other.
    """
    if join is None:
        return joins is not None or _names_file(dest_path)
    if joins is not None and not join:
        raise OptionError("joins= was given with join=False; leave one of them out")
    return join


def place_for(dest_path: str | Path, joined: bool, cloud: Mapping[str, Any]) -> tuple[Destination, str]:
    """Where results go, and what the joined table is called there."""
    if not (joined and _names_file(dest_path)):
        return destination_of(dest_path, cloud), f"{SINGLE_CELLS}.parquet"
    if is_remote(str(dest_path)):
        folder, _, name = str(dest_path).rstrip("/").rpartition("/")
        return destination_of(folder, cloud), name
    path = Path(dest_path).absolute()
    return destination_of(path.parent, cloud), path.name


def output_name(compartment: str, one_file: bool) -> str:
    """What a compartment is called in the destination: a file, or a folder of chunk files."""
    return f"{compartment}.parquet" if one_file else compartment


def usual_outputs(targets: Sequence[str] | None, one_file: bool) -> list[str]:
    """What compartments that nearly every plate has are called there, of those wanted."""
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
