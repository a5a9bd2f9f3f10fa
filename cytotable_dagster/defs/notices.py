"""Notices to a webhook, in Slack's format: a plate that failed, a file that was refused, a batch that is done, datasets
that cannot be built, a queue that stands still. Off until one is configured.

But for the first, what was told is remembered when the webhook has taken it, so that none is lost while it does not.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from cytotable_dagster.core.errors import DownloadError
from cytotable_dagster.core.model.plate_names import plate_of
from cytotable_dagster.defs.jobs import build_datasets, convert_plate
from cytotable_dagster.defs.plates import BATCH_TAG
from cytotable_dagster.defs.refusals import refused_now
from cytotable_dagster.defs.resources import Webhook
from cytotable_dagster.defs.webhook import post

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_UNDER_WAY = [status for status in dg.DagsterRunStatus if status not in _ENDED]
_STARTED = [status for status in _UNDER_WAY if status.value in ("STARTING", "STARTED", "CANCELING")]
_OFF = "CYTOTABLE_WEBHOOK_URL is not set"
# What is told by name.
_NAMED = 20
_EVERY = 60

# What a sensor's tick is given, what it returns.
_Tick = Callable[[dg.SensorEvaluationContext, str, Webhook], dg.SensorResult | dg.SkipReason]


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
        post(url, f":x: plate {plate_of(run.tags.get('dagster/partition', ''))} failed: {_reason(context)}")
        return None

    return plate_failed


def refused_notice() -> dg.SensorDefinition:
    """Tells of files that cannot be plates."""

    def refused(context: dg.SensorEvaluationContext, url: str, webhook: Webhook) -> dg.SensorResult | dg.SkipReason:
        now = {f"{one.uri} {one.version}": one for one in refused_now(context.instance).values()}
        told = json.loads(context.cursor) if context.cursor else None
        if not isinstance(told, list):
            return dg.SensorResult(skip_reason="what comes is told of", cursor=json.dumps(sorted(now)))
        new = sorted((one for key, one in now.items() if key not in told), key=lambda one: one.since)
        if new:
            more = [f"and {len(new) - _NAMED} more"] if len(new) > _NAMED else []
            head = f":no_entry: {_counted(len(new), 'file')} refused: "
            post(url, head + "\n".join([*(one.reason for one in new[:_NAMED]), *more]))
        return dg.SensorResult(skip_reason=f"{len(new)} refused", cursor=json.dumps(sorted(now)))

    return _notice("refused_notice", "Posts to CYTOTABLE_WEBHOOK_URL which files were refused, and why.", refused)


def batch_done_notice() -> dg.SensorDefinition:
    """Tells of each batch of which nothing is left to convert."""

    def batch_done(context: dg.SensorEvaluationContext, url: str, webhook: Webhook) -> dg.SensorResult | dg.SkipReason:
        seen = json.loads(context.cursor or "{}")
        pending: dict[str, float] = seen.get("pending", {})
        since = begin = seen.get("since", time.time())
        for record in _ended_since(context.instance, since):
            batch = record.dagster_run.tags.get(BATCH_TAG)
            if batch and record.end_time:
                pending[batch] = max(record.end_time, pending.get(batch, 0))
                since = max(since, record.end_time)
        refused = sorted(refused_now(context.instance).values(), key=lambda one: one.since)
        until = seen.get("refused_until", begin)
        for one in refused:
            if one.batch is not None and one.since > until:
                pending[one.batch] = max(one.since, pending.get(one.batch, 0))
        until = max((one.since for one in refused), default=until)
        told, in_vain = 0, ""
        for batch, end in list(pending.items()):
            if not in_vain and _is_done(context.instance, batch, end, webhook.quiet_seconds):
                try:
                    post(url, _summary(context.instance, batch, [one.name for one in refused if one.batch == batch]))
                except DownloadError as error:
                    in_vain = f"; {error}"
                    continue
                told += 1
                del pending[batch]
        return dg.SensorResult(
            skip_reason=f"{told} batches told of, {len(pending)} under way{in_vain}",
            cursor=json.dumps({"since": since, "pending": pending, "refused_until": until}),
        )

    return _notice(
        "batch_done_notice",
        "Posts to CYTOTABLE_WEBHOOK_URL when no plate of a batch is under way and none has come for a while.",
        batch_done,
    )


def datasets_failed_notice() -> dg.SensorDefinition:
    """Tells that the datasets cannot be built, once for the same reason, and when they can again."""

    def datasets_failed(
        context: dg.SensorEvaluationContext, url: str, webhook: Webhook
    ) -> dg.SensorResult | dg.SkipReason:
        ended = dg.RunsFilter(job_name=build_datasets.name, statuses=_ENDED[:2])
        run = next(iter(context.instance.get_runs(ended, limit=1)), None)
        if run is None or run.tags.get("dagster/will_retry") == "true":
            return dg.SkipReason("no run has ended for good")
        reason = _reason_of_run(context.instance, run.run_id) if run.status == dg.DagsterRunStatus.FAILURE else ""
        if reason == (context.cursor or ""):
            return dg.SkipReason("this was told" if reason else "the datasets are built")
        said = f":x: build_datasets failed: {reason}" if reason else ":white_check_mark: the datasets are built again"
        post(url, said)
        return dg.SensorResult(skip_reason=said, cursor=reason)

    return _notice(
        "datasets_failed_notice",
        "Posts to CYTOTABLE_WEBHOOK_URL when build_datasets failed, once for the same reason.",
        datasets_failed,
    )


def queue_notice() -> dg.SensorDefinition:
    """Tells that runs wait and nothing moves."""

    def queue(context: dg.SensorEvaluationContext, url: str, webhook: Webhook) -> dg.SensorResult | dg.SkipReason:
        queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
        oldest = context.instance.get_run_records(queued, limit=1, ascending=True)
        if not oldest:
            return dg.SkipReason("nothing waits")
        moved = _last_moved(context.instance, oldest[0].create_timestamp.timestamp())
        if time.time() - moved < webhook.stuck_seconds:
            return dg.SkipReason(f"the queue moved at {_shown(moved)}")
        if context.cursor == str(moved):
            return dg.SkipReason(f"nothing has moved since {_shown(moved)}, which was told")
        started = context.instance.get_runs(dg.RunsFilter(statuses=_STARTED), limit=_NAMED)
        names = ", ".join(run.tags.get("dagster/partition") or run.job_name for run in started) or "none"
        waiting = _counted(context.instance.get_runs_count(queued), "run")
        post(
            url,
            f":hourglass: {waiting} in the queue, and nothing has moved since {_shown(moved)}. Said to be under way: "
            f"{names}. If their machine or the daemon was lost, terminate them under Runs in the web UI (Force).",
        )
        return dg.SensorResult(skip_reason=f"told that nothing has moved since {_shown(moved)}", cursor=str(moved))

    return _notice(
        "queue_notice", "Posts to CYTOTABLE_WEBHOOK_URL when runs wait and nothing has moved for an hour.", queue
    )


def _notice(name: str, description: str, tick: _Tick) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def notice(context: dg.SensorEvaluationContext, webhook: Webhook) -> dg.SensorResult | dg.SkipReason:
        url = webhook.address()
        return dg.SkipReason(_OFF) if url is None else tick(context, url, webhook)

    return notice


def _reason(context: dg.RunFailureSensorContext) -> str:
    """The line of the step that failed, else that of the run."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return str(data.user_failure_data.description)
    return str(context.failure_event.message)


def _reason_of_run(instance: dg.DagsterInstance, run: str) -> str:
    """The same, of a run that has ended."""
    failed = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    reason = "it ended without a word"
    for record in instance.get_records_for_run(run, of_type=failed).records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.is_step_failure:
            data = event.step_failure_data.user_failure_data
            return str(data.description if data and data.description else event.message)
        reason = str(event and event.message)
    return reason


def _ended_since(instance: dg.DagsterInstance, moment: float) -> list[Any]:
    wanted = dg.RunsFilter(
        job_name=convert_plate.name, statuses=_ENDED, updated_after=datetime.fromtimestamp(moment, UTC)
    )
    return list(instance.get_run_records(wanted, limit=1000))


def _is_done(instance: dg.DagsterInstance, batch: str, end: float, quiet: float) -> bool:
    if time.time() - end < quiet:
        return False
    return not instance.get_runs_count(dg.RunsFilter(tags={BATCH_TAG: batch}, statuses=_UNDER_WAY))


def _summary(instance: dg.DagsterInstance, batch: str, refused: Sequence[str]) -> str:
    """How the last run of each plate of a batch ended, and which of its files are refused."""
    last: dict[str, str] = {}
    for run in instance.get_runs(dg.RunsFilter(job_name=convert_plate.name, tags={BATCH_TAG: batch})):
        last.setdefault(plate_of(run.tags.get("dagster/partition", "")), run.status.value)
    counts = Counter(last.values())
    failed = sorted(plate for plate, status in last.items() if status != "SUCCESS")
    told = f":white_check_mark: batch {batch} is done: {counts['SUCCESS']} plates converted"
    told += f", {len(failed)} failed ({', '.join(failed[:10])})" if failed else ""
    return f"{told}, {len(refused)} refused ({', '.join(sorted(refused)[:10])})" if refused else told


def _last_moved(instance: dg.DagsterInstance, queued: float) -> float:
    """When a run last began or ended, or one that is under way last told something; since 1970, at least `queued`."""
    others = [status for status in dg.DagsterRunStatus if status.value not in ("QUEUED", "NOT_STARTED")]
    moments = [queued]
    for record in instance.get_run_records(dg.RunsFilter(statuses=others), limit=1, order_by="update_timestamp"):
        moments.append(record.update_timestamp.timestamp())
    for run in instance.get_runs(dg.RunsFilter(statuses=_STARTED), limit=_NAMED):
        told = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        moments += [record.event_log_entry.timestamp for record in told]
    return max(moments)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
