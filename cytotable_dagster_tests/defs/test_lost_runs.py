"""Runs that are started and have nobody who works at them, told from those that have."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.defs import plates
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.home import LOCATION
from cytotable_dagster.defs.lost_runs import lost_runs_sensor
from cytotable_dagster.defs.presence import TAG, Process, at_work
from cytotable_dagster.defs.resources import Lake
from cytotable_dagster_tests.defs.instances import opened

LONG = 3600.0
STARTED = dg.DagsterRunStatus.STARTED
ELSEWHERE = replace(Process.this(), machine="another", host="lab7")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with opened(dg.DagsterInstance.ephemeral()) as found:
        yield found


@pytest.fixture(scope="module")
def gone() -> Process:
    """A process that was killed, and that its parent knows of."""
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = Process.of(process.pid)
        assert found.lives()
        process.kill()
    return found


def status(instance: dg.DagsterInstance, tags: dict[str, str], *, quiet: float, silent: float) -> tuple[str, str]:
    """Of a run that is started and has these tags, after a tick; and the last that its log says."""
    job = build_defs(chunks=2).resolve_job_def("convert_plate")
    run = instance.create_run_for_job(job, tags=tags, status=STARTED)
    told = lost_runs_sensor(quiet=quiet, silent=silent)(dg.build_sensor_context(instance=instance))
    assert isinstance(told, dg.SkipReason)
    (found,) = instance.get_runs(dg.RunsFilter(run_ids=[run.run_id]))
    lost = found.status == dg.DagsterRunStatus.FAILURE
    assert (run.run_id in str(told.skip_message)) == lost
    said = [entry.message for entry in instance.all_logs(run.run_id)]
    return found.status.value, said[-1] if said else ""


def test_a_run_whose_process_is_gone_is_failed(instance: dg.DagsterInstance, gone: Process) -> None:
    found, said = status(instance, {TAG: str(gone)}, quiet=0, silent=LONG)
    assert found == "FAILURE"
    assert f"its process {gone.pid} is gone" in said


def test_one_that_its_own_code_server_may_still_fail_is_left_to_it(instance: dg.DagsterInstance, gone: Process) -> None:
    assert status(instance, {TAG: str(gone)}, quiet=LONG, silent=LONG)[0] == "STARTED"


def test_a_run_whose_process_lives_is_left_alone_however_silent_it_is(instance: dg.DagsterInstance) -> None:
    assert status(instance, {TAG: str(Process.this())}, quiet=0, silent=0)[0] == "STARTED"


def test_a_process_that_got_the_number_of_another_is_another(instance: dg.DagsterInstance) -> None:
    other = replace(Process.this(), started="1")
    assert status(instance, {TAG: str(other)}, quiet=0, silent=LONG)[0] == "FAILURE"


@pytest.mark.parametrize(("silent", "expected"), [(LONG, "STARTED"), (0, "FAILURE")])
def test_a_run_of_another_machine_is_lost_when_nothing_is_heard_of_it(
    instance: dg.DagsterInstance, silent: float, expected: str
) -> None:
    found, said = status(instance, {TAG: str(ELSEWHERE)}, quiet=0, silent=silent)
    assert found == expected
    assert ("from lab7" in said) == (expected == "FAILURE")


@pytest.mark.parametrize(
    ("location", "silent", "expected"),
    [(LOCATION, 0, "FAILURE"), (LOCATION, LONG, "STARTED"), ("somebody_elses", 0, "STARTED")],
)
def test_a_run_that_died_before_it_said_who_it_is_is_lost_if_it_is_ours(
    instance: dg.DagsterInstance, location: str, silent: float, expected: str
) -> None:
    tags = {".dagster/repository": f"__repository__@{location}"}
    assert status(instance, tags, quiet=0, silent=silent)[0] == expected


def test_a_process_is_read_as_it_was_written() -> None:
    assert Process.read(str(ELSEWHERE)) == ELSEWHERE


def test_a_run_tells_of_its_process(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    plates.add(instance, "P1", str(tmp_path / "nowhere.sqlite"))
    job = build_defs(resources={"lake": Lake(folder=str(tmp_path))}, chunks=2).resolve_job_def("convert_plate")
    job.execute_in_process(instance=instance, partition_key="P1", raise_on_error=False)
    (found,) = instance.get_runs()
    assert Process.read(found.tags[TAG]) == Process.this()
    assert Process.this().pid == os.getpid()


def test_a_run_is_heard_of_while_it_works(tmp_path: Path) -> None:
    # An instance in memory refuses to be read while another thread writes to it; one in files waits.
    with opened(dg.DagsterInstance.local_temp(str(tmp_path))) as instance:
        job = build_defs(chunks=2).resolve_job_def("convert_plate")
        run = instance.create_run_for_job(job, status=STARTED)

        def heard() -> object:
            (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
            return record.update_timestamp

        with at_work(instance, run.run_id, beat=0.01):
            first = heard()
            while heard() == first:
                pass
        last = heard()
        assert heard() == last
