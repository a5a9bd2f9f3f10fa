"""A machine that goes down with all that runs on it, and comes up again: plates are converted without anybody's help."""

import signal
import time
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest

from cytotable_dagster.defs import plates
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.defs.operation import operation, wait_for

pytest.importorskip("moto", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

NAMES = ("First", "Second", "Third", "Fourth")


@pytest.mark.slow
def test_what_was_under_way_and_what_waited_is_converted_after_a_restart(tmp_path: Path) -> None:
    with operation(tmp_path) as running:
        with dg.DagsterInstance.from_config(str(running.home)) as instance:
            for name in NAMES:
                write_wide_plate(tmp_path / f"{name}.sqlite", images=64, objects_per_image=60, features=600)
                plates.add(instance, name, str(tmp_path / f"{name}.sqlite"))
        runs = [running.launch(name) for name in NAMES]
        wait_for(lambda: all(running.has_begun(run, "compartments") for run in runs[:2]), "no two runs begin")
        killed = kill_family(running.daemon.pid)
        down = time.time()
        assert killed >= 4, "the daemon, its code server and two runs"
        assert [run.status for run in running.runs()] == ["STARTED", "STARTED", "QUEUED", "QUEUED"]
        running.stop_daemon()
        running.start_daemon()
        wait_for(lambda: {run.plate for run in running.runs() if run.status == "SUCCESS"} == set(NAMES), "stuck", 600)
        for run in running.runs():
            print(f"{run.plate}: {run.status} {(run.ended or 0) - down:.0f} s after the machine was lost")
        found = {name: [run.status for run in running.runs(name)] for name in NAMES}
        assert found == {name: ["FAILURE", "SUCCESS"] if name in NAMES[:2] else ["SUCCESS"] for name in NAMES}
        assert all((running.lake(name) / "single_cells.parquet").exists() for name in NAMES)
        assert not list((tmp_path / "lake").rglob("*.tmp"))


def kill_family(pid: int) -> int:
    """Kill a process and all that it started, none of which may notice; how many they were."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for what in (signal.SIGSTOP, signal.SIGKILL):
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(what)
    psutil.wait_procs(family, timeout=60)
    return len(family)
