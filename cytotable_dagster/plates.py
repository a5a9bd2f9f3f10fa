"""Plates of a Dagster instance: added, listed and removed by the command line and by sensors.

A plate is a partition of `plates`. Where its file is, when it was said, is kept in the instance as an observation of
the asset `plate_source`, so that the web UI shows it and nothing beside the instance has to be looked after.
"""

import re

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.partitions import plates

SOURCE = dg.AssetKey("plate_source")

# `|` and `...` mean something to Dagster; the name is a folder of the lake, and a leading dot would hide it there.
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")


def checked_name(name: str) -> str:
    """The name, if a plate can be called so; raises OptionError."""
    if not _NAME.fullmatch(name) or "..." in name:
        raise OptionError(
            f"{name!r} cannot be a plate's name: letters, digits and _ . ~ - only, no dot first, no three in a row"
        )
    return name


def observation(name: str, uri: str | None, version: str | None = None) -> dg.AssetObservation:
    """What is known of a plate's source: its address (None: found by its name), its version (such as the ETag).

    Another version marks what was made of the plate as outdated.
    """
    return dg.AssetObservation(
        asset_key=SOURCE,
        partition=name,
        description=f"Plate {name} is at {uri}" if uri else f"Plate {name} is found by its name",
        metadata={"source": uri or ""},
        tags={"dagster/data_version": version or uri or "found by its name"},
    )


def add(instance: dg.DagsterInstance, name: str, uri: str | None = None, version: str | None = None) -> None:
    """Make a plate known, or tell anew where a known one is.

    Raises:
        OptionError: a name that no plate can have.
    """
    instance.add_dynamic_partitions(plates.name, [checked_name(name)])
    instance.report_runless_asset_event(observation(name, uri, version))


def list_plates(instance: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """Plates, sorted, with the addresses that were given for them."""
    names = sorted(instance.get_dynamic_partitions(plates.name))
    return [(name, source_of(instance, name)) for name in names]


def remove(instance: dg.DagsterInstance, name: str) -> None:
    """Forget a plate; its files and its history stay.

    Raises:
        OptionError: there is no such plate.
    """
    if not instance.has_dynamic_partition(plates.name, name):
        raise OptionError(f"no plate is called {name!r}; `cytotable-dagster plate list` shows those there are")
    instance.delete_dynamic_partition(plates.name, name)


def source_of(instance: dg.DagsterInstance, name: str) -> str | None:
    """The address that was last given for a plate; None where none was."""
    newest = instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=SOURCE, asset_partitions=[name]), limit=1
    ).records
    for record in newest:
        seen = record.asset_observation
        return str(seen.metadata["source"].value) or None if seen else None
    return None
