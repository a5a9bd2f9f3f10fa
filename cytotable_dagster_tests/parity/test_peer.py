"""The real CytoTable is called as it should be: the right version, either executor, nothing left running or behind."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from cytotable_dagster_tests.core.plates import EXPORT, plate, sites, write_sqlite
from cytotable_dagster_tests.parity.peer import peer_python, run_peer
from cytotable_dagster_tests.parity.processes import bare_environment, run_to_end

needs_peer = pytest.mark.skipif(
    peer_python() is None, reason="CytoTable's environment is not here: `make parity` makes it"
)

# A child in a session of its own, which its parent does not wait for.
DETACHED = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
"""


@pytest.mark.slow
@needs_peer
def test_worker_processes_convert_and_end(tmp_path: Path) -> None:
    source = write_sqlite(tmp_path / "P1.sqlite", plate(EXPORT, sites(3)))
    runs = Path.cwd() / "runinfo"
    existed = runs.exists()
    arguments = {
        "source_path": source,
        "dest_path": tmp_path / "out",
        "dest_datatype": "parquet",
        "preset": EXPORT,
        "join": False,
    }
    (answer,), finished = run_peer([arguments], executor="htex", workers=1)
    assert answer.error is None
    assert sorted(path.stem for path in answer.files) == ["per_cells", "per_cytoplasm", "per_image", "per_nuclei"]
    assert all(path.exists() for path in answer.files)
    assert finished.peak_resident > finished.peak_anonymous > 0
    assert runs.exists() == existed


def test_no_descendant_outlives_its_program(tmp_path: Path) -> None:
    before = _sleepers()
    finished = run_to_end(
        [sys.executable, "-c", DETACHED], folder=tmp_path, environment=bare_environment(tmp_path), timeout=60
    )
    assert finished.returncode == 0
    assert _sleepers() == before


def test_a_program_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    before = _sleepers()
    started = time.perf_counter()
    with pytest.raises(TimeoutError):
        run_to_end(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            folder=tmp_path,
            environment=bare_environment(tmp_path),
            timeout=1,
        )
    assert time.perf_counter() - started < 300
    assert _sleepers() == before


def test_memory_of_descendants_is_counted(tmp_path: Path) -> None:
    child = "import time; block = bytearray(b'x') * 200_000_000; time.sleep(1.5)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    finished = run_to_end(
        [sys.executable, "-c", program], folder=tmp_path, environment=bare_environment(tmp_path), timeout=120
    )
    assert finished.peak_anonymous > 200_000_000


def _sleepers() -> set[int]:
    found = set()
    for process in psutil.process_iter():
        try:
            if "import time; time.sleep(600)" in " ".join(process.cmdline()):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found
