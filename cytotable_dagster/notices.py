"""Notices to a webhook, in Slack's format: a plate that failed, a batch that is done. Off until one is configured."""

import json
import time
from collections import Counter
from datetime import UTC
from typing import Any

import dagster as dg

from cytotable_dagster.jobs import convert_plate
from cytotable_dagster.plates import BATCH_TAG
from cytotable_dagster.resources import Webhook
from cytotable_dagster.webhook import post

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_UNDER_WAY = [status for status in dg.DagsterRunStatus if status not in _ENDED]
_OFF = "CYTOTABLE_WEBHOOK_URL is not set"


def plate_failed_notice() -> dg.SensorDefinition:
    """Tells of each plate whose conversion failed for good."""

    @dg.run_failure_sensor(
        name="plate_failed_notice",
        monitored_jobs=[convert_plate],
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts to CYTOTABLE_WEBHOOK_URL when a plate's conversion failed and is not tried again.",
    )
    def plate_failed(context: dg.RunFailureSensorContext, webhook: Webhook) -> dg.SkipReason | None:
        url = webhook.address()
        if url is None:
            return dg.SkipReason(_OFF)
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return dg.SkipReason(f"run {run.run_id} is tried again")
        post(url, f":x: plate {run.tags.get('dagster/partition')} failed: {_reason(context)}")
        return None

    return plate_failed


def batch_done_notice() -> dg.SensorDefinition:
    """Tells of each batch of which nothing is left to convert."""

    @dg.sensor(
        name="batch_done_notice",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts to CYTOTABLE_WEBHOOK_URL when no plate of a batch is under way and none has come for a "
        "while.",
    )
    def batch_done(context: dg.SensorEvaluationContext, webhook: Webhook) -> dg.SensorResult | dg.SkipReason:
        url = webhook.address()
        if url is None:
            return dg.SkipReason(_OFF)
        seen = json.loads(context.cursor or "{}")
        pending: dict[str, float] = seen.get("pending", {})
        since = seen.get("since", time.time())
        for record in _ended_since(context.instance, since):
            batch = record.dagster_run.tags.get(BATCH_TAG)
            if batch and record.end_time:
                pending[batch] = max(record.end_time, pending.get(batch, 0))
                since = max(since, record.end_time)
        quiet = webhook.quiet_seconds
        told = [batch for batch, end in pending.items() if _is_done(context.instance, batch, end, quiet)]
        for batch in told:
            post(url, _summary(context.instance, batch))
        left = {batch: end for batch, end in pending.items() if batch not in told}
        return dg.SensorResult(
            skip_reason=f"{len(told)} batches told of, {len(left)} under way",
            cursor=json.dumps({"since": since, "pending": left}),
        )

    return batch_done


def _reason(context: dg.RunFailureSensorContext) -> str:
    """The line of the step that failed, else that of the run."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return str(data.user_failure_data.description)
    return str(context.failure_event.message)


def _ended_since(instance: dg.DagsterInstance, moment: float) -> list[Any]:
    from datetime import datetime

    wanted = dg.RunsFilter(
        job_name=convert_plate.name, statuses=_ENDED, updated_after=datetime.fromtimestamp(moment, UTC)
    )
    return list(instance.get_run_records(wanted, limit=1000))


def _is_done(instance: dg.DagsterInstance, batch: str, end: float, quiet: float) -> bool:
    if time.time() - end < quiet:
        return False
    return not instance.get_runs_count(dg.RunsFilter(tags={BATCH_TAG: batch}, statuses=_UNDER_WAY))


def _summary(instance: dg.DagsterInstance, batch: str) -> str:
    """How the last run of each plate of a batch ended."""
    last: dict[str, str] = {}
    for run in instance.get_runs(dg.RunsFilter(job_name=convert_plate.name, tags={BATCH_TAG: batch})):
        last.setdefault(run.tags.get("dagster/partition", ""), run.status.value)
    counts = Counter(last.values())
    failed = sorted(plate for plate, status in last.items() if status != "SUCCESS")
    told = f":white_check_mark: batch {batch} is done: {counts['SUCCESS']} plates converted"
    return f"{told}, {len(failed)} failed ({', '.join(failed[:10])})" if failed else told
