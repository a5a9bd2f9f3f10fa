"""Sensors: plates that arrive by themselves become partitions, and are converted."""

import itertools
import math
import time

import dagster as dg

from cytotable_dagster.core.errors import DownloadError
from cytotable_dagster.core.intake.arrivals import Look, Memory, look
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.shown import counted
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.assets.common import IMAGE_PROVENANCE, SINGLE_CELLS, latest_record
from cytotable_dagster.defs.conversions import UNDER_WAY, is_under_way
from cytotable_dagster.defs.found_plates import Asked, asked_for
from cytotable_dagster.defs.jobs import build_datasets, convert_plate, find_images
from cytotable_dagster.defs.resources import PlateSource

# A tick is given a minute, start-up of its process aside: for listing, and for looking into what was found.
_TICK_SECONDS, _LOOKING = 40, 10
_PLATES_A_TICK = 25
# Builds of datasets that fail are tried again after 2, 4, 8, ... minutes; at most so many seconds.
_LONGEST_WAIT_IF_NEW, _LONGEST_WAIT = 3600, 6 * 3600


def new_plates_sensor(
    *, interval: int = 15, limit: int = _PLATES_A_TICK, seconds: float = _TICK_SECONDS
) -> dg.SensorDefinition:
    """Looks through the source for plates that are new or changed.

    Args:
        interval: seconds between two ticks.
        limit: plates in one tick; the others come with the next.
        seconds: when a tick stops listing, to go on with the next.
    """

    @dg.sensor(
        name="new_plates_sensor",
        job=convert_plate,
        minimum_interval_seconds=interval,
        description="Lists CYTOTABLE_SOURCE, adds plates that are new or changed, and has them converted. What cannot "
        "be a plate makes the check uploads_accepted of plate_source red.",
    )
    def new_plates(context: dg.SensorEvaluationContext, plate_files: PlateSource) -> dg.SensorResult:
        started = time.monotonic()
        pattern = plate_files.pattern()
        with listing(pattern, plate_files.copies().store) as source:
            seen = look(source, pattern, Memory.loaded(context.cursor), limit=limit, seconds=seconds)
            asked = asked_for(context.instance, source, seen, started + seconds + _LOOKING)
            calls = source.calls
        told = f"{_summary(seen, pattern.text)} ({calls} calls, {time.monotonic() - started:.1f} s)"
        context.log.info(told)
        if seen.error is not None and not seen.ready:
            if not isinstance(seen.error, DownloadError):
                raise seen.error
            return dg.SensorResult(skip_reason=f"{seen.error}; the next tick goes on", cursor=seen.memory.dumped())
        if not seen.ready and not asked.events:
            return dg.SensorResult(skip_reason=told, cursor=seen.memory.dumped())
        return dg.SensorResult(
            skip_reason=None if asked.requests else _why_none(asked, told),
            run_requests=list(asked.requests),
            dynamic_partitions_requests=[plates.plates.build_add_request(list(asked.new))] if asked.new else [],
            asset_events=list(asked.events),
            cursor=asked.memory.dumped(),
        )

    return new_plates


def images_sensor(*, interval: int = 30, limit: int = _PLATES_A_TICK) -> dg.SensorDefinition:
    """Has the images of plates found that were converted.

    Args:
        interval: seconds between two ticks.
        limit: plates in one tick; the others come with the next.
    """

    @dg.sensor(
        name="images_sensor",
        job=find_images,
        minimum_interval_seconds=interval,
        description="Runs find_images for each plate that was converted, once its run has ended.",
    )
    def images_follow(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        after = dg.AssetRecordsFilter(asset_key=SINGLE_CELLS, after_storage_id=int(context.cursor or 0))
        converted = context.instance.fetch_materializations(after, limit=limit, ascending=True).records
        requests, last = [], context.cursor
        for record in converted:
            plate = record.partition_key
            if plate is not None and plates.plates.has_partition_key(plate, dynamic_partitions_store=context.instance):
                if is_under_way(context.instance, plate):
                    break  # it is looked at again, and those after it, in the next tick
                found = latest_record(context.instance, IMAGE_PROVENANCE, plate)
                if found is None or found.storage_id < record.storage_id:
                    requests.append(dg.RunRequest(f"{plate}:{record.storage_id}", partition_key=plate))
            last = str(record.storage_id)
        if not requests:
            told = (
                "waiting for the run of a plate to end" if last == context.cursor and converted else "no plate is new"
            )
            return dg.SensorResult(skip_reason=told, cursor=last)
        return dg.SensorResult(run_requests=requests, cursor=last)

    return images_follow


def datasets_sensor(*, interval: int = 60) -> dg.SensorDefinition:
    """Has the datasets brought up to the plates when some have ended and no run for it is under way.

    Args:
        interval: seconds between two ticks.
    """

    @dg.sensor(
        name="datasets_sensor",
        job=build_datasets,
        minimum_interval_seconds=interval,
        description="Runs build_datasets after plates were converted; one run for all that ended since the last.",
    )
    def datasets_follow(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        newest = latest_record(context.instance, SINGLE_CELLS)
        if newest is None:
            return dg.SkipReason("no plate was converted yet")
        if context.instance.get_runs_count(dg.RunsFilter(job_name=build_datasets.name, statuses=UNDER_WAY)):
            return dg.SkipReason("a run is under way; the next one takes what has come meanwhile")
        failed = _failed_builds(context.instance)
        is_new = str(newest.storage_id) != context.cursor
        if not is_new and not failed:
            return dg.SkipReason("no plate was converted since the last run")
        if failed:
            wait = min(60 * 2 ** len(failed), _LONGEST_WAIT_IF_NEW if is_new else _LONGEST_WAIT)
            left = (failed[0].end_time or 0) + wait - time.time()
            if left > 0:
                return dg.SkipReason(
                    f"build_datasets failed {len(failed)} times without success between; the next try is in "
                    f"{math.ceil(left / 60)} minutes, or run it yourself once the reason is mended"
                )
        key = ":".join([str(newest.storage_id), *(record.dagster_run.run_id for record in failed[:1])])
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key)], cursor=str(newest.storage_id))

    return datasets_follow


def _failed_builds(instance: dg.DagsterInstance) -> list[dg.RunRecord]:
    """Runs of build_datasets that failed since the last that did not, the latest first; at most ten."""
    ended = dg.RunsFilter(
        job_name=build_datasets.name, statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    )
    records = instance.get_run_records(ended, limit=10)
    failed = itertools.takewhile(lambda record: record.dagster_run.status == dg.DagsterRunStatus.FAILURE, records)
    return list(failed)


def _why_none(asked: Asked, told: str) -> str:
    """Why nothing is to be converted of what was found."""
    return f"{asked.unread[0]}; the next tick goes on" if asked.unread else f"{told}; what is not refused is converted"


def _summary(seen: Look, where: str) -> str:
    told = f"{counted(len(seen.ready), 'plate')} new or changed" if seen.ready else "nothing new"
    told += f" in {where}: {seen.batches} {'batch' if seen.batches == 1 else 'batches'}"
    if seen.memory.waiting:
        told += f", {len(seen.memory.waiting)} may still grow"
    if not seen.whole:
        told += ", the next tick goes on"
    if seen.gone:
        told += f", {len(seen.gone)} batches that were there are gone, such as {seen.gone[0]}"
    return f"{told}; error: {seen.error}" if seen.error else told
