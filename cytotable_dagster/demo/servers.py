"""Dagster's web server and daemon on 127.0.0.1, started and stopped together, for the demo and for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError

HOST = "127.0.0.1"
LOCATION = "cytotable_dagster"
_START_SECONDS = 120
_STOP_SECONDS = 20

# No connection to anywhere but this machine, and no dialog before the first page.
_INSTANCE = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
concurrency:
  pools:
    default_limit: 1
"""
_WORKSPACE = f"""\
load_from:
  - python_module:
      module_name: cytotable_dagster.definitions
      location_name: {LOCATION}
"""


class ServersError(CytoTableError, OSError):
    """The web server or the daemon did not start, or ended."""


@dataclass(frozen=True)
class Servers:
    """What is running: `url` of the web server, and the log file of each process."""

    url: str
    logs: Mapping[str, Path]
    pids: Mapping[str, int]


def prepare_home(home: Path) -> None:
    """Make a DAGSTER_HOME whose instance exists; two processes that make it at the same time break it."""
    from dagster import DagsterInstance

    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(_INSTANCE)
    (home / "workspace.yaml").write_text(_WORKSPACE)
    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_dynamic_partitions("plates")


@contextmanager
def dagster_servers(home: Path, settings: Mapping[str, str], port: int = 0) -> Iterator[Servers]:
    """Web server and daemon on a prepared home, for the time of the `with` block.

    Args:
        settings: environment variables of the two, beside those of this process.
        port: 0 chooses a free one.

    Raises:
        ServersError: one did not start; the message has its last line.
    """
    port = _free_port(port)
    environment = {**os.environ, **settings, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    commands = {
        "webserver": (_script("dagster-webserver"), "-h", HOST, "-p", str(port), "-w", str(home / "workspace.yaml")),
        "daemon": (_script("dagster-daemon"), "run", "-w", str(home / "workspace.yaml")),
    }
    logs = {name: home / f"{name}.log" for name in commands}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(_process(command, environment, logs[name])) for name, command in commands.items()
        }
        url = f"http://{HOST}:{port}"
        _wait_until_it_answers(f"{url}/server_info", processes, logs)
        yield Servers(url, logs, {name: process.pid for name, process in processes.items()})


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process and all that it starts, ended together."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield process
    finally:
        _end_group(process)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
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


def _wait_until_it_answers(
    url: str, processes: "Mapping[str, subprocess.Popen[bytes]]", logs: Mapping[str, Path]
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for name, process in processes.items():
            if process.poll() is not None:
                lines = logs[name].read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise ServersError(f"Dagster's {name} ended at once: {lines[-1]} (see {logs[name]})")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise ServersError(f"Dagster's web server did not answer within {_START_SECONDS} s (see {logs['webserver']})")


def _script(name: str) -> str:
    """A console script of the environment that this process runs in."""
    return str(Path(sys.executable).with_name(name))


def _free_port(port: int) -> int:
    try:
        with socket.create_server((HOST, port)) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        raise ServersError(f"port {port} of {HOST} cannot be used ({error.strerror}); choose another") from error
