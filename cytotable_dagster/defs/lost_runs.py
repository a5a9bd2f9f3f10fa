"""Runs whose process is gone and that nobody else notices: their code server went down with them.

Dagster's run monitoring asks the run launcher, and the default one cannot tell (dagster 1.13.27): a run whose process
dies is failed by the code server that started it, and where that is dead too stays started for ever, in the way of all
that wait. Failed here, it leaves its pools, and `run_retries` has it done again.
"""

import time
from datetime import UTC

import dagster as dg

from cytotable_dagster.defs.home import LOCATION
from cytotable_dagster.defs.presence import BEAT_SECONDS, TAG, Process

# A code server fails a run of its own a second after its process died; nothing is heard of a run that works at most for
# as long as it takes to say so once. What is of another machine cannot be asked.
_QUIET_SECONDS, _SILENT_SECONDS = 1.5 * BEAT_SECONDS, 5 * BEAT_SECONDS
_REPOSITORY_TAG, _REPOSITORY = ".dagster/repository", f"__repository__@{LOCATION}"


def lost_runs_sensor(
    *, interval: int = 30, quiet: float = _QUIET_SECONDS, silent: float = _SILENT_SECONDS
) -> dg.SensorDefinition:
    """Fails runs whose process is gone.

    Args:
        interval: seconds between two ticks.
        quiet: seconds since a run was last heard of, after which its process is looked for.
        silent: seconds after which a run of another machine is lost, and one of which no process is known.
    """

    @dg.sensor(
        name="lost_runs_sensor",
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails runs that are started and whose process is gone, such as after the machine went down; "
        "they are then started again.",
    )
    def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance = context.instance
        started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        lost = []
        for record in instance.get_run_records(started):
            reason = _why_lost(record, quiet, silent)
            # What ended between the two looks needs nobody.
            if reason and instance.get_runs(
                dg.RunsFilter(run_ids=[record.dagster_run.run_id], statuses=started.statuses)
            ):
                instance.report_run_failed(record.dagster_run, f"{reason}; what it has not done is done by another run")
                lost.append(f"run {record.dagster_run.run_id} was lost: {reason}")
        return dg.SkipReason("; ".join(lost) or "no run is lost")

    return lost_runs


def _why_lost(record: dg.RunRecord, quiet: float, silent: float) -> str | None:
    """Why a run that is started has nobody who works at it; None where it has, or that cannot be told."""
    heard = record.update_timestamp
    since = time.time() - (heard if heard.tzinfo else heard.replace(tzinfo=UTC)).timestamp()
    tags = record.dagster_run.tags
    if TAG not in tags:
        is_ours = tags.get(_REPOSITORY_TAG) == _REPOSITORY
        return f"nothing was heard of it for {since:.0f} s" if is_ours and since > silent else None
    process = Process.read(tags[TAG])
    if not process.is_of_this_machine():
        return f"nothing was heard of it for {since:.0f} s from {process.host}" if since > silent else None
    return f"its process {process.pid} is gone" if since > quiet and not process.lives() else None
