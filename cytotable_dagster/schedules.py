"""Schedules: for those who would rather look for new plates at night than all the time."""

import dagster as dg

from cytotable_dagster import plates
from cytotable_dagster.core.arrivals import Memory, look
from cytotable_dagster.core.listing import listing
from cytotable_dagster.jobs import convert_plate
from cytotable_dagster.resources import PlateSource
from cytotable_dagster.sensors import asked_for

# A tick is given a minute. What does not fit into one night's comes in the next.
_PLATES, _SECONDS = 1000, 40


def nightly_schedule() -> dg.ScheduleDefinition:
    @dg.schedule(
        name="nightly_plates",
        job=convert_plate,
        cron_schedule="0 2 * * *",
        description="Does at two in the morning what new_plates_sensor does all the time; turn on one of them.",
    )
    def nightly_plates(
        context: dg.ScheduleEvaluationContext, plate_files: PlateSource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        pattern = plate_files.pattern()
        with listing(pattern, plate_files.cloud()) as source:
            # It has no memory from night to night: the instance knows what was asked for.
            seen = look(source, pattern, Memory(), limit=_PLATES, seconds=_SECONDS)
            found = asked_for(context.instance, source, seen)
        if seen.error is not None and not seen.ready:
            raise seen.error
        for request in found.dynamic_partitions_requests or []:
            context.instance.add_dynamic_partitions(plates.PLATES, list(request.partition_keys))
        for event in found.asset_events:
            context.instance.report_runless_asset_event(event)
        new = [request for request in found.run_requests or [] if not _was_asked(context.instance, request)]
        return new or found.skip_reason or dg.SkipReason(f"nothing new in {pattern.text}: {len(seen.ready)} files")

    return nightly_plates


def _was_asked(instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    version = {plates.VERSION_TAG: request.tags[plates.VERSION_TAG]}
    return instance.get_runs_count(dg.RunsFilter(tags=version)) > 0
