"""Dagster's web server and daemon on 127.0.0.1, started and stopped, for the demo and for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.defs.home import LOCATION, set_pools, write_settings

HOST = "127.0.0.1"
_START_SECONDS = 120
_STOP_SECONDS = 20


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
    with daemon(home, settings), web_server(home, settings, port) as server:
        yield server


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
    for what in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, what)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _STOP_SECONDS
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(0.1)
    process.wait()


def _group_lives(process: "subprocess.Popen[bytes]") -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


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
    except OSError as error:
        raise ServersError(f"port {port} of {HOST} cannot be used ({error.strerror}); choose another") from error
