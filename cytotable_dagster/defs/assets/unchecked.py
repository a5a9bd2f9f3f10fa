"""Checks that a run has planned and does not come to: a plate without a file is no failure of its checks.

Dagster takes each of them for failed when the run fails, and shows that as the state of the asset, whatever the plates
before it have passed.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import dagster as dg

_PLANNED, _DONE = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, dg.DagsterEventType.ASSET_CHECK_EVALUATION
_Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@contextmanager
def unchecked_if_failed(context: _Context) -> Iterator[None]:
    """A step of a plate, which when it fails for good tells of the checks that cannot be made."""
    try:
        yield
    except dg.RetryRequested:
        raise
    except Exception:
        if isinstance(context, dg.AssetExecutionContext):
            tell_unchecked(context)
        raise


def tell_unchecked(context: _Context, but: Collection[dg.AssetCheckKey] = ()) -> None:
    """Record for a plate's checks that this run has planned and not made, `but` for some, that nothing was checked."""
    if not context.has_partition_key:
        return
    plate = context.partition_key
    for key in _planned(context) - set(but):
        log_check(
            context,
            dg.AssetCheckEvaluation(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=True,
                metadata={},
                severity=dg.AssetCheckSeverity.WARN,
                description=f"not checked, as the run of {plate} failed before: see its log",
                partition=plate,
            ),
        )


def log_check(context: _Context, evaluation: dg.AssetCheckEvaluation) -> None:
    """Record an evaluation that is not the result of a step."""
    # Dagster takes it, and does not say so.
    context.op_execution_context.log_event(evaluation)  # type: ignore[arg-type]


def _planned(context: _Context) -> set[dg.AssetCheckKey]:
    """Checks of a plate that have no outcome in this run."""
    records = context.instance.get_records_for_run(context.run.run_id, of_type={_PLANNED, _DONE}).records
    planned, done = set(), set()
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.event_type == _PLANNED and event.asset_check_planned_data.partitions_subset:
            planned.add(event.asset_check_planned_data.asset_check_key)
        elif event is not None and event.event_type == _DONE:
            done.add(event.asset_check_evaluation_data.asset_check_key)
    return planned - done
