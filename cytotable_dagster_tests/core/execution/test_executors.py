"""Where the work runs: every Parsl executor gives the same files, and leaves nothing running or lying about."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import parsl
import psutil
import pytest
from parsl.providers import LocalProvider

from cytotable_dagster import convert
from cytotable_dagster.core.errors import KeyColumnError, OptionError
from cytotable_dagster.core.execution.runner import runner, thread_config
from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites
from cytotable_dagster_tests.digests import digests


@pytest.fixture
def loaded_kernel(tmp_path: Path) -> Iterator[parsl.dataflow.dflow.DataFlowKernel]:
    config = thread_config(1)
    config.run_dir = str(tmp_path / "runinfo")
    kernel = parsl.load(config)
    yield kernel
    kernel.cleanup()
    parsl.clear()


def test_every_executor_gives_the_same_bytes(make_plate, tmp_path):
    source = make_plate(plate(JUMP, sites(3, 2, 5, 1)))
    convert(source, tmp_path / "default", chunk_size=3)
    for threads in (1, 4):
        convert(source, tmp_path / f"{threads}", chunk_size=3, parsl_config=thread_config(threads))
        assert digests(tmp_path / f"{threads}") == digests(tmp_path / "default")


def test_parsl_is_not_even_imported_where_nobody_asked_for_it(make_plate, tmp_path):
    code = "import sys; from cytotable_dagster import convert; convert(*sys.argv[1:]); print('parsl' in sys.modules)"
    command = [sys.executable, "-c", code, str(make_plate()), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False"]


def test_a_kernel_that_is_loaded_is_used_and_left_alone(make_plate, tmp_path, loaded_kernel):
    before = loaded_kernel.task_count
    convert(make_plate(), tmp_path / "out")
    assert loaded_kernel.task_count > before
    assert not loaded_kernel.cleanup_called
    assert parsl.dfk() is loaded_kernel


def test_a_config_is_used_even_where_a_kernel_is_loaded(make_plate, tmp_path, loaded_kernel):
    before = loaded_kernel.task_count
    config = thread_config(1)
    run_dir = config.run_dir
    convert(make_plate(), tmp_path / "out", parsl_config=config)
    assert loaded_kernel.task_count == before
    assert parsl.dfk() is loaded_kernel
    assert config.run_dir == run_dir


def test_a_kernel_started_here_is_cleaned_up_and_no_thread_is_left(make_plate, tmp_path):
    convert(make_plate(), tmp_path / "first")
    before = {thread.name for thread in threading.enumerate()}
    convert(make_plate(name="2.sqlite"), tmp_path / "second")
    assert {thread.name for thread in threading.enumerate()} <= before
    with pytest.raises(parsl.errors.NoDataFlowKernelError):
        parsl.dfk()


@pytest.mark.parametrize("dest", ["out", "out.parquet"])
def test_nothing_is_left_in_the_working_directory(make_plate, tmp_path, monkeypatch, dest):
    source = make_plate()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    convert(source, tmp_path / dest)
    assert names_in(tmp_path / "cwd") == []
    assert {path.name for path in tmp_path.iterdir()} == {"source", "cwd", dest}


def test_the_first_error_stops_what_has_not_started(tmp_path):
    done: list[int] = []

    def step(number: int) -> int:
        if number == 2:
            raise KeyColumnError("step 2: broken")
        done.append(number)
        return number

    with runner(thread_config(1), tmp_path) as run, pytest.raises(KeyColumnError, match="step 2"):
        for _ in run.run((step, (number,)) for number in range(1000)):
            pass
    assert len(done) < 20


@pytest.mark.parametrize("parsl_threads", [False, True])
def test_work_that_nobody_waits_for_any_more_ends_between_its_batches(tmp_path, parsl_threads):
    begun, ended = [], []

    def step(number: int) -> None:
        begun.append(number)
        for _ in range(100):
            time.sleep(0.05)
            check_stopped()
        ended.append(number)

    with runner(thread_config(2) if parsl_threads else None, tmp_path) as run:
        results = run.run((step, (number,)) for number in range(1000))
        with pytest.raises(KeyboardInterrupt):
            _interrupted(results)
    assert ended == []
    assert len(begun) <= 2 * (os.cpu_count() or 1)


def _interrupted(results):
    """As a signal does it, in the thread that waits for the results."""
    # A process that a shell starts in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        next(results)
    finally:
        signal.signal(signal.SIGINT, before)


def test_results_come_with_the_position_of_their_call(tmp_path):
    with runner(thread_config(4), tmp_path) as run:
        found = dict(run.run((pow, (2, number)) for number in range(50)))
    assert found == {number: 2**number for number in range(50)}


_HIGH_THROUGHPUT = """
import os, sys, tempfile
import parsl
import psutil
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
from cytotable_dagster import convert, errors

if __name__ == "__main__":
    source, dest, broken, scratch = sys.argv[1:]
    def config():
        return parsl.Config(
            executors=[HighThroughputExecutor(
                label="workers", address="127.0.0.1", loopback_address="127.0.0.1", max_workers_per_node=2,
                cores_per_worker=0.5, worker_logdir_root=scratch, encrypted=False,
                provider=LocalProvider(init_blocks=1, min_blocks=0, max_blocks=1),
            )],
            run_dir=scratch, usage_tracking=0, initialize_logging=False,
        )
    convert(source, dest, chunk_size=3, parsl_config=config())
    try:
        convert(broken, dest + "-broken", parsl_config=config())
    except errors.DamagedSourceError as error:
        print("damaged:", error)
"""


def test_a_high_throughput_executor_on_this_machine_gives_the_same_bytes_and_ends(make_plate, tmp_path):
    source = make_plate(plate(JUMP, sites(3, 2, 5, 1)))
    convert(source, tmp_path / "threads", chunk_size=3)
    broken = make_plate(plate(JUMP, sites(*[40] * 10)), name="broken.sqlite")
    _break_table(broken, "Nuclei")
    script = tmp_path / "script.py"
    script.write_text(_HIGH_THROUGHPUT)
    (tmp_path / "cwd").mkdir()
    (tmp_path / "scratch").mkdir()
    arguments = [source, tmp_path / "workers", broken, tmp_path / "scratch"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path / "cwd",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert "damaged:" in ran.stdout
    assert "Nuclei" in ran.stdout
    assert digests(tmp_path / "workers") == digests(tmp_path / "threads")
    assert names_in(tmp_path / "cwd") == []
    assert not (tmp_path / "workers-broken").exists()
    assert _processes_that_mention(str(tmp_path)) == []


class _Unreached(LocalProvider):
    """Its workers are not asked to end."""

    def cancel(self, job_ids: list[str]) -> list[bool]:
        return [True for _ in job_ids]


@pytest.mark.slow
def test_workers_that_parsl_does_not_reach_have_ended_too(tmp_path, monkeypatch):
    # Where Parsl's own programs are.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    config = parsl.Config(
        executors=[
            parsl.HighThroughputExecutor(
                label="workers", address="127.0.0.1", loopback_address="127.0.0.1", max_workers_per_node=1,
                worker_logdir_root=str(tmp_path), encrypted=False,
                provider=_Unreached(init_blocks=1, min_blocks=0, max_blocks=1),
            )
        ],
        run_dir=str(tmp_path), usage_tracking=0, initialize_logging=False,
    )  # fmt: skip
    with runner(config, tmp_path) as run:
        assert [value for _, value in run.run([(abs, (-7,))])] == [7]
        assert _processes_that_mention(str(tmp_path)) != []
    assert _processes_that_mention(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"address": "127.0.0.1"}, r"'far': interchange\.py is not on the PATH"),
        ({"interchange_launch_cmd": ["/bin/sh", "/gone/interchange.py"]}, r"'far': /gone/interchange\.py is not on"),
        ({"address": "192.0.2.1"}, r"cannot listen at address '192\.0\.2\.1' \(.*\); give one of its own"),
        ({"loopback_address": "192.0.2.1"}, r"cannot listen at address '192\.0\.2\.1'"),
        ({"address": "head-node"}, r"cannot listen at address 'head-node' \(it is no IP address\)"),
        ({"working_dir": "file"}, r"Parsl cannot start it \(.*P1\.sqlite.*\)"),
    ],
)
def test_what_parsl_cannot_start_is_told_in_one_line(make_plate, tmp_path, monkeypatch, wrong, told):
    source = make_plate()
    on_path = wrong != {"address": "127.0.0.1"}
    run_dir = source / "run" if "working_dir" in wrong else tmp_path / "run"
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent if on_path else tmp_path))
    config = parsl.Config(
        executors=[parsl.HighThroughputExecutor(label="far", worker_logdir_root=str(tmp_path), encrypted=False, **wrong)],
        run_dir=str(run_dir), usage_tracking=0, initialize_logging=False,
    )  # fmt: skip
    with pytest.raises(OptionError, match=told) as caught:
        convert(source, tmp_path / "out", parsl_config=config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert _processes_that_mention(str(tmp_path)) == []


def _break_table(path: Path, table: str) -> None:
    import sqlite3

    with sqlite3.connect(path) as link:
        (root,) = link.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    link.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 + 8 : (root - 1) * 4096 + 60] = b"\xff" * 52
    path.write_bytes(content)


def _processes_that_mention(text: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if text in " ".join(process.cmdline()) and process.pid != os.getpid():
                found.append(process)
    return found
