"""Runs with worker processes: one that is cancelled in the web UI, one that is killed, one that loses its workers."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cytotable_dagster.core.errors import WorkerLostError
from cytotable_dagster.core.execution.runner import runner
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.assets.faults import passes
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.operation import Operation, operation, wait_for

pytest.importorskip("moto", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operation]:
    import dagster as dg

    folder = tmp_path_factory.mktemp("cancelled")
    with operation(folder, CYTOTABLE_EXECUTOR="processes", CYTOTABLE_WORKERS="2") as found:
        with dg.DagsterInstance.from_config(str(found.home)) as instance:
            for name in ("Cancelled", "Killed", "Lost"):
                source = write_sqlite(folder / f"{name}.sqlite", plate(JUMP, sites(*[20] * 10)))
                plates.add(instance, name, str(source))
        yield found


def test_a_cancelled_run_takes_its_workers_with_it_and_leaves_no_half_files(running: Operation) -> None:
    run = running.launch("Cancelled")

    wait_for(lambda: running.has_begun(run, "compartments"), "the step does not start")
    worker = psutil.Process(running.worker_pid(run))
    wait_for(lambda: bool(workers(running, "Cancelled")), "Parsl starts no workers")
    family = [worker, *worker.children(recursive=True), *workers(running, "Cancelled")]
    cancelled = time.monotonic()
    running.terminate(run)
    _, alive = psutil.wait_procs(family, timeout=60)
    print(f"{len(family)} processes gone {time.monotonic() - cancelled:.1f} s after cancelling")
    assert alive == []
    (ended,) = running.ended("Cancelled", 1)
    assert ended.status == "CANCELED"
    assert not list(running.lake("Cancelled").rglob("*.tmp"))
    assert not list(running.lake("Cancelled").glob("*.parquet"))


def test_a_killed_run_leaves_no_workers_behind_and_is_done_by_another(running: Operation) -> None:
    run = running.launch("Killed")
    wait_for(lambda: bool(workers(running, "Killed")), "Parsl starts no workers")
    family = workers(running, "Killed")
    killed = time.monotonic()
    psutil.Process(running.worker_pid(run)).kill()
    _, alive = psutil.wait_procs(family, timeout=60)
    print(f"{len(family)} processes gone {time.monotonic() - killed:.1f} s after the run was killed")
    assert alive == []
    assert [run.status for run in running.ended("Killed", 2)] == ["FAILURE", "SUCCESS"]


@pytest.mark.slow
def test_a_run_that_loses_its_workers_goes_on_by_itself(running: Operation) -> None:
    run = running.launch("Lost")
    wait_for(lambda: bool(list(running.lake("Lost").glob("chunks/*/*"))), "no chunk is begun")
    for process in workers(running, "Lost"):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    (ended,) = running.ended("Lost", 1)
    print("tried again:", [event["message"] for event in running.logs(run) if "Restart" in event["__typename"]])
    assert ended.status == "SUCCESS"
    assert (running.lake("Lost") / "single_cells.parquet").exists()


def test_a_worker_that_is_gone_is_said_in_one_line_and_may_be_tried_again(tmp_path: Path) -> None:
    config = ParslCluster(executor="processes", workers=1).config(tmp_path)
    with runner(config, tmp_path) as run:
        with pytest.raises(WorkerLostError, match="a worker is gone") as caught:
            # What the system does to a process that takes too much memory.
            list(run.run([(signal.raise_signal, (signal.SIGKILL,))]))
        assert passes(caught.value)
        assert "\n" not in str(caught.value)
    assert processes_of(tmp_path) == []


def workers(running: Operation, plate: str) -> list[psutil.Process]:
    """Parsl's worker processes of a plate's run; their files are in its folder."""
    return processes_of(running.lake(plate))


def processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if str(folder) in " ".join(process.cmdline()):
                found.extend([process, *process.children(recursive=True)])
    return found
