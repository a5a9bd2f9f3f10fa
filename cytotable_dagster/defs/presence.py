"""Which process works at a run, and whether it lives: so that nobody waits for a run whose machine went down."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from dagster import DagsterInstance

# Hidden in the list of runs, for it is long.
TAG = ".dagster/cytotable_process"
BEAT_SECONDS = 60


@dataclass(frozen=True)
class Process:
    """A process, told from one that got its number later: by its start, in ticks of the machine's clock since it was
    started, and by that machine, since then, as the process sees it."""

    pid: int
    started: str
    machine: str
    host: str

    @classmethod
    def this(cls) -> "Process":
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Process":
        """A process of this machine."""
        return cls(pid, _started(pid) or "gone", _machine(), socket.gethostname())

    @classmethod
    def read(cls, text: str) -> "Process":
        """What `str` wrote.

        Raises:
            ValueError: it did not.
        """
        pid, started, machine, host = text.split(" ", 3)
        return cls(int(pid), started, machine, host)

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.machine} {self.host}"

    def is_of_this_machine(self) -> bool:
        return self.machine == _machine()

    def lives(self) -> bool:
        """Whether it does, seen from the machine that it is of."""
        return _started(self.pid) == self.started


@contextmanager
def at_work(instance: "DagsterInstance", run_id: str, beat: float = BEAT_SECONDS) -> Iterator[None]:
    """Record that this process works at a run, and again every `beat` seconds until the block ends, by which the time
    of the run's last change moves."""
    tags = {TAG: str(Process.this())}
    instance.add_run_tags(run_id, tags)
    ended = Event()

    def go_on() -> None:
        while not ended.wait(beat):
            # A database that is away for a moment does not end the work.
            with suppress(Exception):
                instance.add_run_tags(run_id, tags)

    thread = Thread(target=go_on, name="presence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _started(pid: int) -> str | None:
    """When a process was started, by a clock that nobody sets; None where it is gone, or dead and not yet taken off."""
    try:
        if psutil.LINUX:
            # After the name, which may hold anything.
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if state in ("Z", "X") else fields[18]
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except (OSError, psutil.NoSuchProcess):
        return None


def _machine() -> str:
    with suppress(OSError):
        # Each container numbers its processes for itself.
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    return f"{psutil.boot_time():.0f}"
