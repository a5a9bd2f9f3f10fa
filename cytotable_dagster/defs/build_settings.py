"""What has to be known while definitions are built: how many chunks a plate has, which tables, and who owns them."""

import os

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.model.preset_file import given_preset
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.defs.assets.common import COMPARTMENTS
from cytotable_dagster.defs.settings import WAREHOUSE

_CHUNKS, _DEFAULT_CHUNKS = "CYTOTABLE_CHUNKS_PER_PLATE", 8
_PRESET = "CYTOTABLE_PRESET"
_OWNERS, _DEFAULT_OWNERS = "CYTOTABLE_OWNERS", "team:image-analysis"


def chunks_per_plate() -> int:
    """`CYTOTABLE_CHUNKS_PER_PLATE`, default 8.

    Raises:
        OptionError: it is no number from 1 to 99; Dagster compares at most 100 partitions of a dependency.
    """
    text = os.environ.get(_CHUNKS, str(_DEFAULT_CHUNKS))
    if not text.isdigit() or not 1 <= int(text) <= 99:
        raise OptionError(f"{_CHUNKS}={text!r}: give a number of chunks from 1 to 99")
    return int(text)


def compartments_of_plates() -> tuple[str, ...]:
    """The tables that have assets: those of nearly every plate, and what else `CYTOTABLE_PRESET` names.

    Raises:
        PresetError: there is no such preset.
    """
    name = os.environ.get(_PRESET)
    if not name:
        return COMPARTMENTS
    preset = given_preset(name)
    return tuple(dict.fromkeys((*COMPARTMENTS, *preset.metadata, *preset.compartments)))


def has_warehouse() -> bool:
    """Whether `CYTOTABLE_WAREHOUSE` names a place.

    Raises:
        OptionError: it is in a store.
    """
    place = os.environ.get(WAREHOUSE, "")
    if is_remote(place):
        raise OptionError(f"{WAREHOUSE}={place}: a warehouse's catalog is a file of this machine; name a folder of it")
    return bool(place)


def owners_of_assets() -> list[str]:
    """`CYTOTABLE_OWNERS`: addresses and `team:name`, with commas between.

    Raises:
        OptionError: one that Dagster does not take.
    """
    owners = [owner.strip() for owner in os.environ.get(_OWNERS, _DEFAULT_OWNERS).split(",") if owner.strip()]
    for owner in owners:
        try:
            dg.AssetSpec("any", owners=[owner])
        except dg.DagsterError as error:
            raise OptionError(
                f"{_OWNERS}: {owner!r} is no owner; give e-mail addresses or team:name, with commas between"
            ) from error
    return owners
