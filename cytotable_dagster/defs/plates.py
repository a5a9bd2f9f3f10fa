"""Plates of a Dagster instance: added, listed and removed by the command line and by sensors.

A plate is a partition of `plates`, whose key is its name (see `partitions.key_of`). Where its file is, when it was
said, is kept in the instance as an observation of the asset `plate_source`, so that the web UI shows it and nothing
beside the instance has to be looked after.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from shlex import quote

import dagster as dg

from cytotable_dagster.core.errors import OptionError, UnsafeNameError
from cytotable_dagster.core.model.plate_names import plate_of
from cytotable_dagster.core.storage.client import check_store
from cytotable_dagster.core.support.written_paths import expanded
from cytotable_dagster.defs.partitions import key_of, plates

SOURCE = dg.AssetKey("plate_source")
PLATES = str(plates.name)
URI_TAG, BATCH_TAG, VERSION_TAG = "cytotable/uri", "cytotable/batch", "cytotable/version"
# Plates, or records of them, that are asked for in one query; SQLite of old takes no more than 999 values.
_AT_ONCE = 500


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
        **{f"cytotable/{place}": value for place, value in _batches(places).items()},
    }


def _batches(places: Mapping[str, str]) -> dict[str, str]:
    """What placeholders stand for, but that of the plate."""
    return {place: value for place, value in places.items() if place != "plate"}


def refusal(uri: str, reason: str, places: Mapping[str, str]) -> dg.AssetObservation:
    """What is told once of a file that cannot be a plate; of no partition, for it has none."""
    return dg.AssetObservation(
        asset_key=SOURCE,
        description=f"refused: {reason}",
        metadata={"source": uri, "refused": reason, **_batches(places)},
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
        partition=key_of(name),
        description=f"Plate {name} is at {uri}" if uri else f"Plate {name} is found by its name",
        metadata={"source": uri or "", **_batches(places or {})},
        tags={"dagster/data_version": version or uri or "found by its name"},
    )


def add(instance: dg.DagsterInstance, name: str, uri: str | None = None, version: str | None = None) -> None:
    """Make a plate known, or tell anew where a known one is.

    Raises:
        UnsafeNameError: a name that no plate can have.
        OptionError: a variable in the address that is not set, or a store that is not read.
    """
    check_store(uri or "")
    seen = observation(name, None if uri is None else expanded(uri, to_read=True), version)
    instance.add_dynamic_partitions(PLATES, [key_of(name)])
    instance.report_runless_asset_event(seen)


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
    return str(seen.metadata["source"].value) or None if seen else None


def _batch(seen: dg.AssetObservation | None) -> str | None:
    """The batch that a plate was found in; None where its address does not say one."""
    found = seen.metadata.get("batch") if seen else None
    return str(found.value) if found else None
