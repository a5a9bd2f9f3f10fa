"""Schedules: for those who would rather look for new plates at night than all the time."""

import base64
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg

from cytotable_dagster.core.intake.arrivals import Memory, look
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.found_plates import Asked, asked_for
from cytotable_dagster.defs.jobs import convert_plate
from cytotable_dagster.defs.resources import PlateSource

# A tick is given a minute, of which a busy machine takes its part. What does not fit into one comes with the next, of
# which a night has six.
_SECONDS, _PLATES, _PLATES_AT_ONCE = 30, 1000, 100
_NIGHT = "*/10 2 * * *"
# Where the instance keeps what a tick leaves for the next: a schedule has no cursor.
_KEY = "cytotable_dagster/nightly_plates"


def nightly_schedule(*, seconds: float = _SECONDS, limit: int = _PLATES) -> dg.ScheduleDefinition:
    """Looks through the whole source, at night.

    Args:
        seconds: after which a tick takes up no more plates.
        limit: plates in one tick.
    """

    @dg.schedule(
        name="nightly_plates",
        job=convert_plate,
        cron_schedule=_NIGHT,
        description="Does from two to three in the morning what new_plates_sensor does all the time; turn on one of "
        "them.",
    )
    def nightly_plates(
        context: dg.ScheduleEvaluationContext, plate_files: PlateSource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        until = time.monotonic() + seconds
        instance, pattern = context.instance, plate_files.pattern()
        asked = {version for _, versions in instance.get_run_tags([plates.VERSION_TAG]) for version in versions}
        kept = _Kept.of(instance)
        # A daemon that died may not have started what was asked for last.
        memory = kept.memory.forgotten({name for name, version in kept.asked.items() if version not in asked})
        requests: dict[str, dg.RunRequest] = {}
        files, reasons = 0, list[str]()
        with listing(pattern, plate_files.copies().store) as source:
            while len(requests) < limit and (left := until - time.monotonic()) > 0:
                wanted = min(_PLATES_AT_ONCE, limit - len(requests))
                seen = look(source, pattern, memory, limit=wanted, seconds=left, every=True)
                found = asked_for(instance, source, seen, until, by="schedule")
                _record(instance, found)
                memory, files = found.memory, files + len(seen.ready)
                new = [request for request in found.requests if request.tags[plates.VERSION_TAG] not in asked]
                requests.update((request.tags[plates.URI_TAG].removeprefix(pattern.root), request) for request in new)
                reasons += found.unread[:1]
                if seen.error is not None:
                    if not files:
                        raise seen.error
                    reasons.append(str(seen.error))
                if seen.error is not None or found.unread or len(seen.ready) < wanted:
                    break
        _Kept(memory, {name: request.tags[plates.VERSION_TAG] for name, request in requests.items()}).save(instance)
        told = f"{len(requests)} plates are new or changed in {pattern.text}, {files} files looked into"
        context.log.info("; ".join([told, *reasons]))
        return list(requests.values()) or dg.SkipReason("; ".join([told, *reasons]))

    return nightly_plates


@dataclass(frozen=True)
class _Kept:
    """What a tick leaves for the next: what was looked at, and the versions asked for, by address below the root."""

    memory: Memory = field(default_factory=Memory)
    asked: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: dg.DagsterInstance) -> "_Kept":
        """What was kept, if it can be read: without it, the runs there are tell what was asked for."""
        text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
        try:
            known = json.loads(zlib.decompress(base64.b85decode(text or "")))
            return cls(Memory.loaded(known["memory"]), dict(known["asked"]))
        except (ValueError, LookupError, TypeError, zlib.error):
            return cls()

    def save(self, instance: dg.DagsterInstance) -> None:
        text = json.dumps({"memory": self.memory.dumped(), "asked": self.asked})
        kept = base64.b85encode(zlib.compress(text.encode())).decode()
        instance.daemon_cursor_storage.set_cursor_values({_KEY: kept})


def _record(instance: dg.DagsterInstance, found: Asked) -> None:
    """Partitions and events, which a schedule cannot return."""
    if found.new:
        instance.add_dynamic_partitions(plates.PLATES, list(found.new))
    for event in found.events:
        instance.report_runless_asset_event(event)
