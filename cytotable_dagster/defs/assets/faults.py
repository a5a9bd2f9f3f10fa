"""What becomes of an error in a step: tried again where it may pass, else one line, and no stack of ours below it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from cytotable_dagster.core.errors import (
    CytoTableError,
    DestinationInUseError,
    DiskFullError,
    DownloadError,
    FileSystemError,
    OutOfMemoryError,
    PlanError,
    SourceChangedError,
    UploadError,
    WorkerLostError,
)
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.support.machine_errors import as_ours, errors_of_machine
from cytotable_dagster.defs.assets.unchecked import unchecked_if_failed
from cytotable_dagster.defs.commits import commits_that_do_not_wait
from cytotable_dagster.defs.presence import at_work
from cytotable_dagster.defs.run_log import in_run_log
from cytotable_dagster.defs.words import in_dagster

# A fault that passes is given a minute and a half; a chunk that failed is made again alone, as the others are there.
# No RetryPolicy, which starts a step that was cancelled once more.
_TRIES_AGAIN, _FIRST_WAIT = 4, 5

# The network, the store, a disk or a shared file system, other work on this machine.
_PASSING = (
    *(DownloadError, UploadError, SourceChangedError, WorkerLostError),
    *(DestinationInUseError, DiskFullError, FileSystemError, OutOfMemoryError),
)
# Partitions of one run whose pages have the reason that it failed for.
_PARTITIONS = 100
# What to do about it here, where the converter does not know where here is.
_ADVICE = {PlanError: "materialize plate_sqlite first", WorkerLostError: "CYTOTABLE_WORKERS says how many there are"}


@contextmanager
def step(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Iterator[None]:
    """A step's work: this process is recorded with its run, remarks go into the run's log, and our errors are failures
    of one line, those that may pass a wish to try again. One that fails tells of the checks that cannot be made."""
    with unchecked_if_failed(context):
        try:
            with (
                commits_that_do_not_wait(),
                at_work(context.instance, context.run.run_id),
                in_run_log(context.log),
                errors_of_machine(),
            ):
                yield
        except CytoTableError as error:
            # Its line says all that there is to know; below it Dagster would show the stacks of both.
            raise ended_by(context, error) from None


def retries_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> int:
    """How often a step was tried again already."""
    return context.op_execution_context.retry_number


def ended_by(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, error: Exception, where: str = ""
) -> dg.Failure | dg.RetryRequested:
    """What to raise for an error; of a wish to try again the reason is said in the run's log."""
    found = failure(error, retries_of(context), where)
    if isinstance(found, dg.RetryRequested):
        context.log.warning(f"{where}{told(error)}; tried again in {found.seconds_to_wait} s")
    elif isinstance(context, dg.AssetExecutionContext):
        _observe(context, found)
    return found


def _observe(context: dg.AssetExecutionContext, found: dg.Failure) -> None:
    """Put the reason of a failure among the events of each partition that failed, where Dagster itself names a run."""
    whole = context.has_partition_key or context.has_partition_key_range
    keys = context.partition_keys[:_PARTITIONS] if whole else [None]
    for asset in context.selected_asset_keys:
        for key in keys:
            context.log_event(
                dg.AssetObservation(
                    asset, partition=key, description="failed", metadata={"why it failed": found.description or ""}
                )
            )


def failure(error: Exception, retries: int, where: str = "") -> dg.Failure | dg.RetryRequested:
    """An error as its one line, or as a wish to try again where that may help."""
    if passes(error) and retries < _TRIES_AGAIN:
        return dg.RetryRequested(max_retries=_TRIES_AGAIN, seconds_to_wait=_FIRST_WAIT * 2**retries)
    tried = f"tried {retries + 1} times; " if retries else ""
    then = f"{tried}once this is mended, materialize it again: what was made already is kept"
    return dg.Failure(description=where + told(error), metadata={"then": then}, allow_retries=False)


def passes(error: Exception) -> bool:
    """Whether trying again may help: the one place that tells what passes from what has to be mended."""
    return isinstance(as_ours(error), _PASSING)


def told(error: Exception) -> str:
    """An error as one line."""
    error = as_ours(error) or error
    advice = next((advice for kind, advice in _ADVICE.items() if isinstance(error, kind)), "")
    return in_dagster(one_line(f"{error}; {advice}" if advice else str(error)))
