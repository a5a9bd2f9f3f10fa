"""Faults in a step: which are tried again, and how they are told."""

import errno

import dagster as dg
import pytest

from cytotable_dagster.core.errors import (
    DamagedSourceError,
    DownloadError,
    KeyColumnError,
    PlanError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    UploadError,
    WorkerLostError,
)
from cytotable_dagster.defs.assets.faults import failure
from cytotable_dagster_tests.defs.deployment import Deployment, failures

# What passes is tried again, what has to be mended is not; each is told in one line.
FAULTS = {
    DownloadError("half of it arrived"): (True, "half of it arrived"),
    UploadError("the store does not answer"): (True, "the store does not answer"),
    SourceChangedError("P1: written to while it was read"): (True, "P1: written to while it was read"),
    WorkerLostError("a worker is gone"): (True, "a worker is gone; CYTOTABLE_WORKERS says how many there are"),
    OSError(errno.ENOSPC, "No space left on device", "/lake/P1"): (
        True,
        "/lake/P1: the disk is full (No space left on device)",
    ),
    OSError(errno.ESTALE, "Stale file handle"): (True, "cannot be read or written (Stale file handle)"),
    OSError("Error writing bytes\nto file"): (False, "cannot be read or written (Error writing bytes / to file)"),
    MemoryError(): (True, "too little memory (none is left)"),
    PermissionError(errno.EACCES, "Permission denied", "/lake"): (
        False,
        "/lake: may not be read or written (Permission denied)",
    ),
    OSError(errno.EROFS, "Read-only file system", "/lake"): (
        False,
        "/lake: may not be read or written (Read-only file system)",
    ),
    DamagedSourceError("P1: page 7 is damaged"): (False, "P1: page 7 is damaged"),
    SourceNotFoundError("P1: not there"): (False, "P1: not there"),
    SourceAccessError("s3://b: not permitted"): (False, "s3://b: not permitted"),
    PlanError("plate P1: it has no plan"): (False, "plate P1: it has no plan; materialize plate_sqlite first"),
    KeyColumnError("Cells: no ImageNumber"): (False, "Cells: no ImageNumber"),
}


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: f"{type(error).__name__} {error}")
def test_what_passes_is_tried_again_and_what_has_to_be_mended_is_not(error: Exception) -> None:
    passing, line = FAULTS[error]
    last = failure(error, 4, "1 of 8 chunks failed: ")
    assert isinstance(last, dg.Failure)
    assert last.description is not None and last.description.startswith(f"1 of 8 chunks failed: {line}")
    assert "\n" not in last.description
    assert isinstance(failure(error, 0), dg.RetryRequested if passing else dg.Failure)


def test_below_a_failure_there_is_no_stack_of_ours(deployment: Deployment) -> None:
    deployment.add("Stackless").write_text("no plate")
    (event,) = [event for event in deployment.convert("Stackless").all_events if event.is_step_failure]
    error = event.step_failure_data.error
    assert (error.cause, error.context) == (None, None)
    assert not any("cytotable_dagster/core" in frame for frame in error.stack)


def test_a_lake_that_cannot_be_written_is_told_in_one_line(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("Unwritable")
    # Where nobody may make a folder, whoever runs the tests.
    monkeypatch.setenv("CYTOTABLE_LAKE", "/proc/lake")
    (line,) = failures(deployment.convert("Unwritable"))
    assert line.startswith("/proc/lake: is not there and cannot be made (No such file or directory)")
    assert "\n" not in line


def test_the_reason_of_a_failure_is_among_the_events_of_the_partition(deployment: Deployment) -> None:
    path = deployment.add("Reasoned")
    path.write_text("no plate")
    result = deployment.convert("Reasoned")
    (line,) = failures(result)
    assert str(path) in line
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("plate_sqlite"), asset_partitions=["Reasoned"])
    (record,) = deployment.instance.fetch_observations(wanted, limit=5).records
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["why it failed"].value == line
