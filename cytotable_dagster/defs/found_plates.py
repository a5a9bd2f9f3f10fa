"""What becomes of plates that were found: partitions, observations and runs, for the sensor and the schedule alike."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dagster as dg

from cytotable_dagster.core.errors import CytoTableError, DownloadError, SourceAccessError, SourceFormatError
from cytotable_dagster.core.intake.addresses import Found
from cytotable_dagster.core.intake.arrivals import Look, Memory
from cytotable_dagster.core.intake.cache_place import check_address
from cytotable_dagster.core.intake.listing import Listing
from cytotable_dagster.core.model.plate_names import plate_of
from cytotable_dagster.core.sources.naming import KINDS, kind_of_file
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.conversions import is_converted, is_under_way
from cytotable_dagster.defs.refusals import Refused, after_look, evaluation, told_last

# Files of which the first bytes are read at once, from a store that takes its time.
_READERS = 8


_Event = dg.AssetObservation | dg.AssetMaterialization | dg.AssetCheckEvaluation


@dataclass(frozen=True)
class Asked:
    """`new` are keys that become partitions; `events` tell of sources; `memory` is that of the look, but for files
    that come again with the next look; `unread` says why some do."""

    requests: tuple[dg.RunRequest, ...]
    new: tuple[str, ...]
    events: tuple[_Event, ...]
    memory: Memory
    unread: tuple[str, ...]


def asked_for(
    instance: dg.DagsterInstance, source: Listing, seen: Look, until: float = math.inf, *, by: str = "sensor"
) -> Asked:
    """Partitions, events and runs for what a look found; a plate that is converted as it is there needs no run.

    Args:
        by: who looks, as the web UI tells it.
        until: a moment of time.monotonic() after which no file is looked into; those that are left come again.
    """
    memory = seen.memory
    known = plates.Known(instance, [found.places for found in seen.ready])
    with ThreadPoolExecutor(_READERS) as readers:
        looked = list(readers.map(lambda found: _looked_into(source, found, until), seen.ready))
    events: list[_Event] = []
    refused, requests, unread = [], [], []
    for found, fault in zip(seen.ready, looked, strict=True):
        try:
            key = known.key_for(found.uri, found.places)
            if fault is not None:
                raise fault
        except (DownloadError, SourceAccessError, TimeoutError) as error:
            # Not the plate's fault: it comes when the store gives it.
            memory = memory.without(found)
            unread.append(str(error))
            continue
        except CytoTableError as error:
            refused.append(Refused.now(found.uri, found.version, str(error), found.places))
            continue
        known.add(key, found.uri)
        version = plates.version_of(found)
        if known.version_of(key) != version:
            events += plates.sightings(plate_of(key), found.uri, found, by=by)
        elif is_converted(instance, key, version):
            continue
        if is_under_way(instance, key):
            # Which may make this very version: it comes again when that is known.
            memory = memory.without(found)
            unread.append(f"a run of plate {plate_of(key)} is under way")
            continue
        # With the time, for a file may become again what it was once.
        run_key = f"{key}:{version}:{found.modified:.0f}"
        tags = plates.run_tags(found.uri, run_key, found.places)
        requests.append(dg.RunRequest(run_key=run_key, partition_key=key, tags=tags))
    before = told_last(instance)
    after = after_look(source, before or {}, refused, known.addresses)
    # That nothing is refused is told as well, once.
    if after != before:
        events.append(evaluation(after))
    return Asked(tuple(requests), known.new, tuple(events), memory, tuple(unread))


def _looked_into(source: Listing, found: Found, until: float) -> CytoTableError | TimeoutError | None:
    """What is wrong with a file by its first bytes, or why they could not be read."""
    if time.monotonic() > until:
        return TimeoutError(f"{found.uri}: there was no time to look into it")
    try:
        check_address(found.uri)
        _check_content(source, found)
    except CytoTableError as error:
        return error
    return None


def _check_content(source: Listing, found: Found) -> None:
    """Refuse what by its first bytes is not what its name says, and a folder without tables.

    Raises:
        SourceFormatError: it is empty or something else.
    """
    if found.uri.endswith("/"):
        if not found.size:
            raise SourceFormatError(f"{found.uri}: no CSV or NPZ file in it that is a table, or all are empty")
        return
    if not found.size:
        raise SourceFormatError(f"{found.uri}: empty (0 bytes); upload it again")
    kind = kind_of_file(found.uri) or KINDS["sqlite"]
    if kind.begins and source.begins(found.uri, len(kind.begins)) != kind.begins:
        raise SourceFormatError(
            f"{found.uri}: no {kind.called} file by its first bytes; upload it again or move it elsewhere"
        )
