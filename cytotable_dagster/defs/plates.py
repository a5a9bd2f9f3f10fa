"""Plates of a Dagster instance: added, listed and removed by the command line and by sensors.

A plate is a partition of `plates`. Where its file is, when it was said, is kept in the instance as an observation of
the asset `plate_source`, so that the web UI shows it and nothing beside the instance has to be looked after.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.defs.partitions import plates

SOURCE = dg.AssetKey("plate_source")
PLATES = str(plates.name)
URI_TAG, BATCH_TAG, VERSION_TAG = "cytotable/uri", "cytotable/batch", "cytotable/version"
# Plates of which is asked in one query; SQLite of old takes no more than 999 values.
_AT_ONCE = 500

# `|` and `...` mean something to Dagster; the name is a folder of the lake, and a leading dot would hide it there.
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")


def checked_name(name: str) -> str:
    """The name, if a plate can be called so; raises OptionError."""
    if not _NAME.fullmatch(name) or "..." in name:
        raise OptionError(
            f"{name!r} cannot be a plate's name: letters, digits and _ . ~ - only, no dot first, no three in a row"
        )
    return name


class Known:
    """The plates of an instance, as far as they matter for files that were found, and those that are added to them.

    Args:
        places: what the placeholders of the files' addresses stand for, `plate` and for instance `batch`.
    """

    def __init__(self, instance: dg.DagsterInstance, places: Iterable[Mapping[str, str]]) -> None:
        self._names = set(instance.get_dynamic_partitions(PLATES))
        self._seen = last_seen(instance, self._names & {name for own in places for name in _names(own)})
        self._added: dict[str, str] = {}

    @property
    def new(self) -> tuple[str, ...]:
        """Names that were added and are no partitions."""
        return tuple(name for name in self._added if name not in self._names)

    def name_for(self, uri: str, places: Mapping[str, str]) -> str:
        """The name of the plate at an address: its barcode, or `<batch>~<barcode>` where another plate has that
        already.

        Raises:
            OptionError: neither can be a plate's name, or both are taken.
        """
        barcode = checked_name(places["plate"])
        for name in _names(places):
            owner = self._added.get(name) or _source(self._seen.get(name))
            if owner is None or owner == uri:
                return checked_name(name)
        raise OptionError(
            f"a plate called {barcode} is at {owner} already; if it has moved: "
            f"cytotable-dagster plate add {barcode} --source {uri}"
        )

    def add(self, name: str, uri: str) -> None:
        self._added[name] = uri

    def version_of(self, name: str) -> str | None:
        """The version of a plate's source that was told last."""
        seen = self._seen.get(name)
        return (seen.tags or {}).get("dagster/data_version") if seen else None


def _names(places: Mapping[str, str]) -> tuple[str, ...]:
    """What a plate can be called, the best first."""
    barcode = places["plate"]
    return tuple(dict.fromkeys((barcode, "~".join([*_batches(places).values(), barcode]))))


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
        partition=name,
        description=f"Plate {name} is at {uri}" if uri else f"Plate {name} is found by its name",
        metadata={"source": uri or "", **_batches(places or {})},
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
    names = sorted(instance.get_dynamic_partitions(PLATES))
    seen = last_seen(instance, names)
    return [(name, _source(seen.get(name))) for name in names]


def chosen_plates(instance: dg.DagsterInstance, patterns: Sequence[str]) -> list[str]:
    """Plates whose name, or `<batch>/<name>`, matches one of the patterns (`BR*`, `2020_11_*/*`), sorted."""
    names = sorted(instance.get_dynamic_partitions(PLATES))
    if not any("/" in pattern for pattern in patterns):
        return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    seen = last_seen(instance, names)
    return [
        name
        for name in names
        for subject in [(name, f"{_batch(seen.get(name)) or ''}/{name}")]
        if any(fnmatchcase(subject["/" in pattern], pattern) for pattern in patterns)
    ]


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
    return _source(last_seen(instance, [name]).get(name))


def last_seen(instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, dg.AssetObservation]:
    """What was last told of plates, by name; for hundreds it takes little longer than for one."""
    wanted, found = sorted(set(names)), dict[str, dg.AssetObservation]()
    for some in (wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)):
        of_these = dg.AssetRecordsFilter(asset_key=SOURCE, asset_partitions=some)
        left, cursor = set(some), None
        while left:
            answer = instance.fetch_observations(of_these, limit=2 * _AT_ONCE, cursor=cursor)
            for seen in (record.asset_observation for record in answer.records):
                if seen is not None and seen.partition in left:
                    left.remove(seen.partition)
                    found[seen.partition] = seen
            if not answer.has_more:
                break
            cursor = answer.cursor
    return found


def _source(seen: dg.AssetObservation | None) -> str | None:
    return str(seen.metadata["source"].value) or None if seen else None


def _batch(seen: dg.AssetObservation | None) -> str | None:
    """The batch that a plate was found in; None where its address does not say one."""
    found = seen.metadata.get("batch") if seen else None
    return str(found.value) if found else None
