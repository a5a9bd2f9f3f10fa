"""Plates of a Dagster instance: added, listed and removed by the command line and by sensors.

A plate is a partition of `plates`, whose key is its name (see `partitions.key_of`). Where its files are is kept in the
instance as an observation of the asset `plate_source`, so that the web UI shows it and nothing beside the instance has
to be looked after. A materialization with the same facts goes with it: by observations Dagster tells what is outdated
of an asset that others make, by materializations what is there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from shlex import quote
from types import MappingProxyType
from typing import Any

import dagster as dg

from cytotable_dagster.core.errors import OptionError, UnsafeNameError
from cytotable_dagster.core.intake.addresses import Found
from cytotable_dagster.core.model.plate_names import plate_of
from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.storage.address import check_store
from cytotable_dagster.core.support.written_paths import expanded
from cytotable_dagster.defs.assets.common import PLATE_SOURCE
from cytotable_dagster.defs.partitions import key_of, plates
from cytotable_dagster.defs.refusals import accept

SOURCE = PLATE_SOURCE
PLATES = str(plates.name)
# Of runs: the batch is shown in their list, the long ones are not.
BATCH_TAG, URI_TAG, VERSION_TAG = "batch", ".dagster/cytotable_uri", ".dagster/cytotable_version"
# Plates, or records of them, that are asked for in one query; SQLite of old takes no more than 999 values.
_AT_ONCE = 500
# What is told of a plate's source that no placeholder of an address stands for; and of one that is found by its name.
_FACTS = ("source", "kind", "size", "bytes", "modified", "added by")
_BY_NAME = "cytotable/found_by_name"


class Known:
    """The plates of an instance, as far as they matter for files that were found, and those that are added to them.

    Args:
        places: what the placeholders of the files' addresses stand for, `plate` and for instance `batch`.
    """

    def __init__(self, instance: dg.DagsterInstance, places: Iterable[Mapping[str, str]]) -> None:
        self._keys = set(instance.get_dynamic_partitions(PLATES))
        self._seen = last_seen(instance, self._keys & {key for own in places for key in _possible_keys(own)})
        self._added: dict[str, str] = {}

    @property
    def new(self) -> tuple[str, ...]:
        """Keys that were added and are no partitions."""
        return tuple(key for key in self._added if key not in self._keys)

    def key_for(self, uri: str, places: Mapping[str, str]) -> str:
        """The key of the plate at an address, which is called by its barcode, or `<batch>~<barcode>` where another
        plate has that already.

        Raises:
            OptionError: both names are taken.
            UnsafeNameError: one of them cannot be a plate's.
        """
        for key in _keys(places):
            owner = self._added.get(key) or _source(self._seen.get(key))
            if owner is None or owner == uri:
                return key
        barcode = places["plate"]
        raise OptionError(
            f"a plate called {barcode} is at {owner} already; if it has moved: "
            f"cytotable-dagster plate add {quote(barcode)} --source {quote(uri)}"
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the plates are that were added."""
        return tuple(self._added.values())

    def add(self, key: str, uri: str) -> None:
        self._added[key] = uri

    def version_of(self, key: str) -> str | None:
        """The version of a plate's source that was told last."""
        seen = self._seen.get(key)
        return (seen.tags or {}).get("dagster/data_version") if seen else None


def _keys(places: Mapping[str, str]) -> Iterator[str]:
    """Keys that a plate can have, the best first."""
    barcode = places["plate"]
    yield from map(key_of, dict.fromkeys((barcode, "~".join([*_batches(places).values(), barcode]))))


def _possible_keys(places: Mapping[str, str]) -> Iterator[str]:
    with suppress(UnsafeNameError):
        yield from _keys(places)


def run_tags(uri: str, version: str, places: Mapping[str, str]) -> dict[str, str]:
    """Tags of a run that converts a version of the plate at an address."""
    return {
        URI_TAG: uri,
        VERSION_TAG: version,
        **_batches(places),
    }


def _batches(places: Mapping[str, str]) -> dict[str, str]:
    """What placeholders stand for, but that of the plate."""
    return {place: value for place, value in places.items() if place != "plate"}


def sightings(
    name: str,
    uri: str | None,
    found: Found | None = None,
    version: str | None = None,
    *,
    by: str,
    more: Mapping[str, str] = MappingProxyType({}),
) -> tuple[dg.AssetObservation, dg.AssetMaterialization]:
    """What is known of a plate's source: its address (None: found by its name), what was found there, and who told.

    Another version, such as an ETag, marks what was made of the plate as outdated.

    Args:
        version: where nothing was found.
        by: `sensor`, `schedule`, `command`, `run`.
        more: tags.
    """
    known: dict[str, Any] = {"source": uri or ""}
    if found is not None:
        known |= {
            "kind": found.kind,
            "size": human_bytes(found.size),
            "bytes": found.size,
            "modified": dg.MetadataValue.timestamp(found.modified),
            **_batches(found.places),
        }
        version = version_of(found)
    told: dict[str, Any] = {
        "asset_key": SOURCE,
        "partition": key_of(name),
        "description": f"Plate {name} is at {uri}" if uri else f"Plate {name} is found by its name",
        "metadata": {**known, "added by": by},
        "tags": {"dagster/data_version": version or uri or "found by its name", **more},
    }
    return dg.AssetObservation(**told), dg.AssetMaterialization(**told)


def told_by_run(instance: dg.DagsterInstance, name: str, uri: str, found: Found | None) -> dict[str, str]:
    """Tell what a run found at a plate's address, unless that was told already.

    Returns:
        tags of an event that says that it was made of this.
    """
    key = key_of(name)
    before = last_seen(instance, [key]).get(key)
    if found is not None and (before is None or (before.tags or {}).get("dagster/data_version") != version_of(found)):
        found = replace(found, places=_places_told(before))
        by = str(before.metadata["added by"].value) if before and "added by" in before.metadata else "run"
        # One that is found by its name may be elsewhere another time.
        told = sightings(name, uri, found, by=by, more={} if _source(before) else {_BY_NAME: "yes"})
        for event in told:
            instance.report_runless_asset_event(event)
        before = told[0]
    if before is None:
        return {}
    newest = instance.get_latest_storage_id_by_partition(SOURCE, dg.DagsterEventType.ASSET_OBSERVATION, {key})
    name = SOURCE.to_user_string()
    return {
        f"dagster/input_data_version/{name}": (before.tags or {}).get("dagster/data_version", ""),
        f"dagster/input_event_pointer/{name}": str(newest[key]),
    }


def _places_told(before: dg.AssetObservation | None) -> dict[str, str]:
    """What the placeholders of its pattern stand for, as it was told of a plate."""
    told = before.metadata if before else {}
    return {place: str(value.value) for place, value in told.items() if place not in _FACTS}


def version_of(found: Found) -> str:
    """What changes with a source."""
    return f"{found.version}-{found.size}"


def add(
    instance: dg.DagsterInstance,
    name: str,
    uri: str | None = None,
    version: str | None = None,
    found: Found | None = None,
) -> str:
    """Make a plate known, or tell anew where a known one is; `added`, `changed` or `unchanged`.

    Args:
        found: what is at the address, where that was looked at.

    Raises:
        UnsafeNameError: a name that no plate can have.
        OptionError: a variable in the address that is not set, or a store that is not read.
    """
    key = key_of(name)
    events = sightings(name, None if uri is None else address_of(uri), found, version, by="command")
    seen = events[0]
    is_known, before = instance.has_dynamic_partition(PLATES, key), last_seen(instance, [key]).get(key)
    instance.add_dynamic_partitions(PLATES, [key])
    if is_known and before is not None and _source(before) == _source(seen):
        is_told = (before.tags or {}).get("dagster/data_version") == (seen.tags or {}).get("dagster/data_version")
        if is_told or (found is None and version is None):
            return "unchanged"
    for event in events:
        instance.report_runless_asset_event(event)
    accept(instance, _source(seen) or "")
    return "changed" if is_known else "added"


def address_of(written: str) -> str:
    """An address as it was typed, with its variables filled in.

    Raises:
        OptionError: one that is not set, or a store that is not read.
    """
    check_store(written)
    return expanded(written, to_read=True)


def list_plates(instance: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """Plates, sorted, with the addresses that were given for them."""
    keys = instance.get_dynamic_partitions(PLATES)
    seen = last_seen(instance, keys)
    return [(plate_of(key), _source(seen.get(key))) for key in sorted(keys, key=plate_of)]


def chosen_plates(instance: dg.DagsterInstance, patterns: Sequence[str]) -> list[str]:
    """Plates whose name, or `<batch>/<name>`, is or matches one of the patterns (`BR*`, `2020_11_*/*`), sorted."""
    names = {plate_of(key): key for key in instance.get_dynamic_partitions(PLATES)}
    seen = last_seen(instance, names.values()) if any("/" in pattern for pattern in patterns) else {}
    return sorted(
        name
        for name, key in names.items()
        for subject in [(name, f"{_batch(seen.get(key)) or ''}/{name}")]
        if any(name == pattern or fnmatchcase(subject["/" in pattern], pattern) for pattern in patterns)
    )


def remove(instance: dg.DagsterInstance, name: str) -> None:
    """Forget a plate; its files and its history stay.

    Raises:
        OptionError: there is no such plate.
    """
    # A key as the web UI shows it, or as it was typed there.
    keys = [key for key in (*([key_of(name)] if name else []), name) if instance.has_dynamic_partition(PLATES, key)]
    if not keys:
        raise OptionError(f"no plate is called {name!r}; `cytotable-dagster plate list` shows those there are")
    instance.delete_dynamic_partition(PLATES, keys[0])


def source_of(instance: dg.DagsterInstance, name: str) -> str | None:
    """The address that was last given for a plate; None where none was."""
    key = key_of(name)
    return _source(last_seen(instance, [key]).get(key))


def last_seen(instance: dg.DagsterInstance, keys: Iterable[str]) -> dict[str, dg.AssetObservation]:
    """What was last told of plates, by key; for hundreds it takes little longer than for one."""
    wanted = set(keys)
    asked = None if len(wanted) > _AT_ONCE else wanted
    newest = instance.get_latest_storage_id_by_partition(SOURCE, dg.DagsterEventType.ASSET_OBSERVATION, asked)
    # Only the newest are read: of a plate that changes every night there are hundreds.
    ids = sorted(number for key, number in newest.items() if key in wanted)
    found = {}
    for some in (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)):
        these = dg.AssetRecordsFilter(asset_key=SOURCE, storage_ids=some)
        for record in instance.fetch_observations(these, limit=_AT_ONCE).records:
            if record.asset_observation is not None and record.asset_observation.partition is not None:
                found[record.asset_observation.partition] = record.asset_observation
    return found


def _source(seen: dg.AssetObservation | None) -> str | None:
    if seen and _BY_NAME in (seen.tags or {}):
        return None
    return str(seen.metadata["source"].value) or None if seen else None


def _batch(seen: dg.AssetObservation | None) -> str | None:
    """The batch that a plate was found in; None where its address does not say one."""
    found = seen.metadata.get("batch") if seen else None
    return str(found.value) if found else None
