"""Plates of a Dagster instance: added, listed and removed by the command line and by sensors.

A plate is a partition of `plates`. Where its file is, when it was said, is kept in the instance as an observation of
the asset `plate_source`, so that the web UI shows it and nothing beside the instance has to be looked after.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.partitions import plates

SOURCE = dg.AssetKey("plate_source")
PLATES = str(plates.name)
URI_TAG, BATCH_TAG, VERSION_TAG = "cytotable/uri", "cytotable/batch", "cytotable/version"

# `|` and `...` mean something to Dagster; the name is a folder of the lake, and a leading dot would hide it there.
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")


def checked_name(name: str) -> str:
    """The name, if a plate can be called so; raises OptionError."""
    if not _NAME.fullmatch(name) or "..." in name:
        raise OptionError(
            f"{name!r} cannot be a plate's name: letters, digits and _ . ~ - only, no dot first, no three in a row"
        )
    return name


def name_for(
    instance: dg.DagsterInstance, uri: str, places: Mapping[str, str], taken: Mapping[str, str] | None = None
) -> str:
    """The name of the plate at an address: its barcode, or `<batch>~<barcode>` where another plate has that already.

    Args:
        places: what the placeholders of the address's pattern stand for, `plate` and for instance `batch`.
        taken: addresses by names that are about to be added.

    Raises:
        OptionError: neither can be a plate's name, or both are taken.
    """
    barcode = checked_name(places["plate"])
    long = "~".join([*(value for name, value in places.items() if name != "plate"), barcode])
    for name in dict.fromkeys((barcode, long)):
        owner = (taken or {}).get(name) or (
            source_of(instance, name) if instance.has_dynamic_partition(PLATES, name) else None
        )
        if owner is None or owner == uri:
            return checked_name(name)
    raise OptionError(
        f"a plate called {barcode} is at {owner} already; if it has moved: "
        f"cytotable-dagster plate add {barcode} --source {uri}"
    )


def run_tags(uri: str, version: str, places: Mapping[str, str]) -> dict[str, str]:
    """Tags of a run that converts a version of the plate at an address."""
    return {
        URI_TAG: uri,
        VERSION_TAG: version,
        **{f"cytotable/{place}": value for place, value in places.items() if place != "plate"},
    }


def refusal(uri: str, reason: str) -> dg.AssetObservation:
    """What is told once of a file that cannot be a plate; of no partition, for it has none."""
    return dg.AssetObservation(
        asset_key=SOURCE, description=f"refused: {reason}", metadata={"source": uri, "refused": reason}
    )


def observation(
    name: str, uri: str | None, version: str | None = None, places: Mapping[str, str] | None = None
) -> dg.AssetObservation:
    """What is known of a plate's source: its address (None: found by its name), its version (such as the ETag), and
    what the placeholders of its pattern stand for.

    Another version marks what was made of the plate as outdated.
    """
    return dg.AssetObservation(
        asset_key=SOURCE,
        partition=name,
        description=f"Plate {name} is at {uri}" if uri else f"Plate {name} is found by its name",
        metadata={
            "source": uri or "",
            **{place: value for place, value in (places or {}).items() if place != "plate"},
        },
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


def chosen_plates(instance: dg.DagsterInstance, patterns: Sequence[str]) -> list[str]:
    """Plates whose name, or `<batch>/<name>`, matches one of the patterns (`BR*`, `2020_11_*/*`), sorted."""
    names = sorted(instance.get_dynamic_partitions(PLATES))
    if not any("/" in pattern for pattern in patterns):
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return [
        name
        for name in names
        for subject in [(name, f"{batch_of(instance, name) or ''}/{name}")]
        if any(fnmatchcase(subject["/" in pattern], pattern) for pattern in patterns)
    ]


def batch_of(instance: dg.DagsterInstance, name: str) -> str | None:
    """The batch that a plate was found in; None where its address does not say one."""
    seen = _last_seen(instance, name)
    found = seen.metadata.get("batch") if seen else None
    return str(found.value) if found else None


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
    seen = _last_seen(instance, name)
    return str(seen.metadata["source"].value) or None if seen else None


def version_of(instance: dg.DagsterInstance, name: str) -> str | None:
    """The version of a plate's source that was seen last."""
    seen = _last_seen(instance, name)
    return (seen.tags or {}).get("dagster/data_version") if seen else None


def _last_seen(instance: dg.DagsterInstance, name: str) -> dg.AssetObservation | None:
    wanted = dg.AssetRecordsFilter(asset_key=SOURCE, asset_partitions=[name])
    records = instance.fetch_observations(wanted, limit=1).records
    return records[0].asset_observation if records else None
