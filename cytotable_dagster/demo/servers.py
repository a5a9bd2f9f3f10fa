"""Dagster's web server and daemon on 127.0.0.1, started and stopped, for the demo and for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.defs.home import LOCATION, set_pools, write_settings

HOST = "127.0.0.1"
_START_SECONDS = 120
_STOP_SECONDS = 20
# Where somebody waits for the end of both.
_IMPATIENT_SECONDS = 4


class ServersError(CytoTableError, OSError):
    """The web server or the daemon did not start, or ended."""


@dataclass(frozen=True)
class Server:
    """A process of Dagster's: its id, its log file, and the address of a web server."""

    pid: int
    log: Path
    url: str = ""


def prepare_home(home: Path) -> None:
    """Make a DAGSTER_HOME whose instance exists; two processes that make it at the same time break it."""
    from dagster import DagsterInstance

    home.mkdir(parents=True, exist_ok=True)
    write_settings(home)
    with DagsterInstance.from_config(str(home)) as instance:
        set_pools(instance)


@contextmanager
def dagster_servers(home: Path, settings: Mapping[str, str], port: int = 0) -> Iterator[Server]:
    """Web server and daemon on a prepared home, for the time of the `with` block; gives the web server.

    Args:
        settings: environment variables of the two, beside those of this process.
        port: 0 chooses a free one.

    Raises:
        ServersError: one did not start; the message has its last line.
    """
    with daemon(home, settings) as other, web_server(home, settings, port) as server:
        try:
            yield server
        finally:
            end_groups([server.pid, other.pid], _IMPATIENT_SECONDS)


@contextmanager
def web_server(home: Path, settings: Mapping[str, str], port: int = 0) -> Iterator[Server]:
    """The web server alone."""
    port = free_port(port)
    url = f"http://{HOST}:{port}"
    with _server(home, settings, "dagster-webserver", "-h", HOST, "-p", str(port)) as (process, log):
        _wait_until_it_answers(f"{url}/server_info", process, log)
        yield Server(process.pid, log, url)


@contextmanager
def daemon(home: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """The daemon alone: it takes runs from the queue, and looks after sensors, schedules and backfills."""
    with _server(home, settings, "dagster-daemon", "run") as (process, log):
        yield Server(process.pid, log)


@contextmanager
def _server(
    home: Path, settings: Mapping[str, str], command: str, *options: str
) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    """A process and all that it starts, ended together."""
    environment = {**os.environ, **settings, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    # A console script of the environment that this process runs in.
    program = Path(sys.executable).with_name(command)
    log = home / f"{command}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [program, *options, "-m", LOCATION],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process, log
    finally:
        end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the leader of a process group and all that it started."""
    end_groups([process.pid], _STOP_SECONDS)
    process.wait()


def end_groups(leaders: Sequence[int], seconds: float) -> None:
    """Ask process groups to end, all at once, and after so many seconds make those end that have not."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        for leader in leaders:
            with suppress(ProcessLookupError):
                os.killpg(leader, what)
        deadline = time.monotonic() + seconds
        while any(map(_group_lives, leaders)) and time.monotonic() < deadline:
            time.sleep(0.1)


def _group_lives(leader: int) -> bool:
    """Whether any process of a group does something still; one that has ended and is not yet waited for does not."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ServersError(f"Dagster's web server ended at once: {lines[-1]} (see {log})")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise ServersError(f"Dagster's web server did not answer within {_START_SECONDS} s (see {log})")


def free_port(port: int = 0) -> int:
    """A port that can be listened at: this one, or for 0 any.

    Raises:
        ServersError: this one cannot.
    """
    try:
        with socket.create_server((HOST, port)) as server:
            return int(server.getsockname()[1])
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "ports are numbers from 0 to 65535"
        raise ServersError(f"port {port} of {HOST} cannot be used ({why}); choose another") from error
