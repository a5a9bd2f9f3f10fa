"""One name of the code location, however Dagster is started; so that what one command turns on, another finds."""

import json
import os
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cytotable_dagster.defs.home import LOCATION
from cytotable_dagster.demo.servers import HOST, daemon, end_group, free_port, prepare_home
from cytotable_dagster_tests.conftest import ROOT
from cytotable_dagster_tests.defs.operation import wait_for

# What is started, and where: in the project's folder, or (False) in one that has nothing to do with it.
WAYS = {
    "dagster dev": (["dagster", "dev", "-h", HOST, "-p"], True),
    "dg dev": (["dg", "dev", "--host", HOST, "--port"], True),
    "dagster-webserver": (["dagster-webserver", "-h", HOST, "-p"], True),
    "dagster-webserver -m": (["dagster-webserver", "-m", LOCATION, "-h", HOST, "-p"], False),
    "dagster-webserver -w": (["dagster-webserver", "-w", str(ROOT / "workspace.yaml"), "-h", HOST, "-p"], False),
}
_LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"
_STATE = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
  sensorState { status ticks { status } } } } }"""


def test_files_for_dagster_and_for_dg_name_it_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert project["dagster"] == {"module_name": LOCATION, "code_location_name": LOCATION}
    assert project["dg"]["project"]["code_location_target_module"] == LOCATION
    assert project["dg"]["project"]["code_location_name"] == LOCATION
    assert f"module_name: {LOCATION}\n      location_name: {LOCATION}\n" in (ROOT / "workspace.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_server_calls_it_so(tmp_path: Path, way: str) -> None:
    command, in_project = WAYS[way]
    with served(tmp_path, command, in_project) as url:
        entries = graphql(url, _LOCATIONS)["workspaceOrError"]["locationEntries"]
    assert [entry["name"] for entry in entries] == [LOCATION]


@pytest.mark.slow
@pytest.mark.parametrize("in_project", [True, False])
def test_a_sensor_that_is_turned_on_from_the_shell_ticks_in_the_daemon(tmp_path: Path, in_project: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "plates").mkdir()
    home = tmp_path / "home"
    prepare_home(home)
    start = ["dagster", "sensor", "start", *([] if in_project else ["-m", LOCATION]), "new_plates_sensor"]
    done = subprocess.run(
        [program(start[0]), *start[1:]],
        cwd=ROOT if in_project else elsewhere,
        env=environment(home),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    command, _ = WAYS["dagster-webserver -m"]
    with daemon(home, {"CYTOTABLE_SOURCE": str(elsewhere / "plates")}), served(tmp_path, command, False) as url:
        sensor = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}

        def state() -> dict[str, Any]:
            found = graphql(url, _STATE, sensor={**sensor, "sensorName": "new_plates_sensor"})
            return dict(found["sensorOrError"]["sensorState"])

        assert state()["status"] == "RUNNING"
        wait_for(lambda: bool(state()["ticks"]), "the daemon does not tick it")


@contextmanager
def served(folder: Path, command: list[str], in_project: bool) -> Iterator[str]:
    """The address of what a command serves once it answers."""
    home = folder / "home"
    prepare_home(home)
    port = free_port()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [program(command[0]), *command[1:], str(port)],
            cwd=ROOT if in_project else folder,
            env=environment(home),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://{HOST}:{port}"

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            with suppress(OSError), urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return True
            return False

        wait_for(answers, f"no answer from {command}")
        yield url
    finally:
        end_group(process)


def program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "DAGSTER_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "yes", "PATH": path}


def graphql(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.load(answer)["data"])
