"""Runs a program to its end, watches the memory of its process tree, and leaves none of its processes behind."""

import itertools
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.01
# Looking for new descendants costs a pass over all processes of the machine.
SAMPLES_OF_A_TREE = 20
# Inherited by every descendant, wherever it was moved to: daemons of a session of their own are found by it.
_MARK = "CYTOTABLE_DAGSTER_RUN"


@dataclass(frozen=True)
class Finished:
    """A program that ended.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: of the processor, by it and the descendants that it waited for.
        peak_anonymous: most bytes that the process tree held at one time besides pages of files.
        peak_resident: the same with mapped pages of files, which the page cache holds anyway.
        output: what it printed, both streams.
    """

    returncode: int
    seconds: float
    cpu_seconds: float
    peak_anonymous: int
    peak_resident: int
    output: str


def run_to_end(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout: float) -> Finished:
    """Run a command in `folder`; `environment` is all it sees.

    Raises:
        TimeoutError: it did not end in time, and was stopped.
    """
    mark = uuid.uuid4().hex
    before, started = _cpu_of_children(), time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, _MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = _MemoryWatch(process.pid)
        watch.start()
        try:
            process.wait(timeout)
            seconds = time.perf_counter() - started
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{Path(command[0]).name} was stopped after {timeout:.0f} s") from None
        finally:
            watch.stop()
            _stop_all(mark)
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    cpu = _cpu_of_children() - before
    return Finished(process.returncode, seconds, cpu, watch.peak_anonymous, watch.peak_resident, text)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _MemoryWatch(threading.Thread):
    """Samples the memory of a process and its descendants until stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_anonymous = 0
        self.peak_resident = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        for sample in itertools.count():
            if sample % SAMPLES_OF_A_TREE == 0:
                tree = _tree(self._pid)
            if self._ended.wait(SAMPLE_SECONDS):
                return
            sizes = [_memory(process) for process in tree]
            self.peak_anonymous = max(self.peak_anonymous, sum(anonymous for anonymous, _ in sizes))
            self.peak_resident = max(self.peak_resident, sum(resident for _, resident in sizes))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> tuple[int, int]:
    """Anonymous and resident bytes of a process; nothing where it has just ended."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0, 0
    return memory.rss - getattr(memory, "shared", 0), memory.rss


def _stop_all(mark: str) -> None:
    """Stop every process that carries the mark; new ones may have been started meanwhile."""
    for _ in range(50):
        marked = list(_marked(mark))
        if not marked:
            return
        for process in marked:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(marked, timeout=5)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.pid != os.getpid() and process.environ().get(_MARK) == mark:
                yield process
        except psutil.Error:
            continue


def bare_environment(home: Path) -> dict[str, str]:
    """An environment without settings and credentials of whoever runs this; its home is `home`."""
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.defpath])
    return {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": path,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LANG": "C.UTF-8",
    }
