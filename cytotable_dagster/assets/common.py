"""What the assets share: names, failures of one line, what was last recorded."""

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
    SourceChangedError,
    UploadError,
    WorkerLostError,
)
from cytotable_dagster.core.machine_errors import as_ours, errors_of_machine
from cytotable_dagster.core.version import VERSION
from cytotable_dagster.presence import at_work
from cytotable_dagster.run_log import in_run_log

COMPARTMENTS = ("Image", "Cells", "Cytoplasm", "Nuclei")
PLATE_SQLITE = dg.AssetKey("plate_sqlite")
SINGLE_CELLS = dg.AssetKey("single_cells")

# Results depend on the converter's version, so that another version marks them as outdated.
CODE_VERSION = VERSION
OWNERS = ["team:image-analysis"]
# Steps that convert share the machine's cores; those that fetch, its network.
CONVERT_POOL = "parsl"
FETCH_POOL = "fetch"

# A fault that passes is given a minute and a half; a chunk that failed is made again alone, as the others are there.
# No RetryPolicy, which starts a step that was cancelled once more.
_TRIES_AGAIN, _FIRST_WAIT = 4, 5

# The network, the store, a disk or a shared file system, other work on this machine.
_PASSING = (
    *(DownloadError, UploadError, SourceChangedError, WorkerLostError),
    *(DestinationInUseError, DiskFullError, FileSystemError, OutOfMemoryError),
)


def compartment_key(compartment: str) -> dg.AssetKey:
    return dg.AssetKey(compartment.lower())


def chunk_asset_key(compartment: str) -> dg.AssetKey:
    return dg.AssetKey(f"{compartment.lower()}_chunk")


@contextmanager
def step(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Iterator[None]:
    """A step's work: this process is recorded with its run, remarks go into the run's log, and our errors are failures
    of one line, those that may pass a wish to try again."""
    try:
        with at_work(context.instance, context.run.run_id), in_run_log(context.log), errors_of_machine():
            yield
    except CytoTableError as error:
        raise failure(error, retries_of(context)) from error


def retries_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> int:
    """How often a step was tried again already."""
    return context.op_execution_context.retry_number


def failure(error: Exception, retries: int, where: str = "") -> dg.Failure | dg.RetryRequested:
    """An error as its one line, or as a wish to try again where that may help."""
    error = as_ours(error) or error
    if passes(error) and retries < _TRIES_AGAIN:
        return dg.RetryRequested(max_retries=_TRIES_AGAIN, seconds_to_wait=_FIRST_WAIT * 2**retries)
    again = "it was tried again, in vain" if passes(error) else "trying again does not help until this is mended"
    return dg.Failure(description=f"{where}{error}", metadata={"again": again}, allow_retries=False)


def passes(error: Exception) -> bool:
    """Whether trying again may help."""
    return isinstance(error, _PASSING)


def latest_record(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> dg.EventLogRecord | None:
    """The last materialization of a partition, or of any."""
    partitions = None if partition is None else [partition]
    found = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions), limit=1)
    return found.records[0] if found.records else None


def data_version(record: dg.EventLogRecord | None) -> str | None:
    """The data version that a materialization was recorded with."""
    if record is None or record.asset_materialization is None:
        return None
    return (record.asset_materialization.tags or {}).get("dagster/data_version")
