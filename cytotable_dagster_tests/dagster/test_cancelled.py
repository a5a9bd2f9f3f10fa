"""A run that is cancelled in the web UI."""

import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from cytotable_dagster import plates
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.dagster.operation import Operation, operation, wait_for

pytest.importorskip("moto", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operation]:
    import dagster as dg

    folder = tmp_path_factory.mktemp("cancelled")
    with operation(folder, CYTOTABLE_EXECUTOR="processes", CYTOTABLE_WORKERS="2") as found:
        with dg.DagsterInstance.from_config(str(found.home)) as instance:
            source = write_sqlite(folder / "Cancelled.sqlite", plate(JUMP, sites(*[20] * 10)))
            plates.add(instance, "Cancelled", str(source))
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


def workers(running: Operation, plate: str) -> list[psutil.Process]:
    """Parsl's worker processes of a plate's run; their files are in its folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if str(running.lake(plate)) in " ".join(process.cmdline()):
                found.extend([process, *process.children(recursive=True)])
    return found
