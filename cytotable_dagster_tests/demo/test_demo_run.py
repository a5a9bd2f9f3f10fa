"""The demo says at once what keeps it from running, and what it starts ends with it."""

import shlex
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cytotable_dagster.cli.main import main
from cytotable_dagster.demo.another import NoDemoError, add_another
from cytotable_dagster.demo.run import run_demo, show_what_next
from cytotable_dagster.demo.servers import HOST, ServersError, end_groups

# A process that starts another, and does not end when it is asked to.
_STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_taken_port_is_told_before_anything_is_made(tmp_path: Path):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServersError, match=f"port {port} of {HOST} cannot be used"):
            run_demo(tmp_path / "demo", port=port, once=True)
    assert not (tmp_path / "demo").exists()


def test_another_plate_needs_a_demo_that_runs(tmp_path: Path):
    with pytest.raises(NoDemoError, match="no demo runs here"):
        add_another(tmp_path)
    (tmp_path / "demo.json").write_text('{"store": "http://127.0.0.1:9", "web": "http://127.0.0.1:9"}')
    with pytest.raises(NoDemoError, match="no demo runs here"):
        add_another(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]


def test_groups_that_do_not_end_when_asked_are_ended_with_all_that_they_started():
    with subprocess.Popen(
        [sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = psutil.Process(int(leader.stdout.readline()))
        end_groups([leader.pid], 0.5)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        assert leader.wait(10) == -9


def test_the_commands_that_the_demo_names_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    said: list[str] = []
    show_what_next(tmp_path / "demo", "P1", "http://127.0.0.1:9", said.append)
    words = [shlex.split(line) for line in "\n".join(said).replace("\\\n", "").splitlines() if line.startswith("  ")]
    commands = [
        line[next(i for i, word in enumerate(line) if word.endswith("cytotable-dagster")) + 1 :] for line in words
    ]
    assert [command[0] for command in commands] == ["demo", "crops", "plate"]
    for command in commands:
        # Understood, and without what it needs.
        assert main(command) == 1, capsys.readouterr().err
