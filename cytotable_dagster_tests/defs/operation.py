"""A whole operation on this machine: an S3 server, Dagster's daemon and its web server, over a home of its own."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cytotable_dagster.demo.s3_server import S3Server, s3_client, s3_server
from cytotable_dagster.demo.servers import Server, daemon, prepare_home, web_server

BUCKET = "plates"
SECONDS = 240
ENDED = ("SUCCESS", "FAILURE", "CANCELED")

_REPOSITORY = {"repositoryLocationName": "cytotable_dagster.definitions", "repositoryName": "__repository__"}
_START_SENSOR = """mutation ($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename ... on PythonError { message } }
}"""
_TICKS = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
  sensorState { ticks(limit: 100) { status skipReason timestamp endTimestamp cursor error { message causes { message } } } }
} } }"""
_RUNS = """query { runsOrError(filter: {}) { ... on Runs { results {
  runId status jobName creationTime startTime endTime tags { key value }
  stats { ... on RunStatsSnapshot { launchTime } }
} } } }"""
_REFUSED = """query { assetNodeOrError(assetKey: {path: ["plate_source"]}) { ... on AssetNode { assetChecksOrError {
  ... on AssetChecks { checks { executionForLatestMaterialization { status evaluation { severity description } } } }
} } } }"""
_LOGS = """query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
  __typename ... on MessageEvent { message stepKey timestamp }
  ... on ExecutionStepFailureEvent { failureMetadata { description } }
} } } }"""
_TERMINATE = """mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"""
_LAUNCH = """mutation ($job: String!, $tags: [ExecutionTag!]) { launchRun(executionParams: {
  selector: {repositoryLocationName: "cytotable_dagster.definitions", repositoryName: "__repository__", jobName: $job},
  runConfigData: {}, executionMetadata: {tags: $tags}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@dataclass(frozen=True)
class Run:
    """A run of a plate; moments in seconds since 1970, None where it has not come so far."""

    id: str
    plate: str
    status: str
    tags: Mapping[str, str]
    created: float
    launched: float | None
    started: float | None
    ended: float | None


@dataclass
class Operation:
    folder: Path
    store: S3Server
    settings: Mapping[str, str]
    web: Server
    uploaded: dict[str, float] = field(default_factory=dict)
    daemon: Server | None = None
    _daemons: ExitStack = field(default_factory=ExitStack)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def lake(self, plate: str) -> Path:
        return self.folder / "lake" / plate

    def start_daemon(self) -> None:
        self.daemon = self._daemons.enter_context(daemon(self.home, self.settings))

    def ask_daemon_to_stop(self) -> None:
        """As a service manager does; runs that are under way go on."""
        assert self.daemon is not None
        os.kill(self.daemon.pid, signal.SIGTERM)
        wait_for(lambda: not _lives(self.daemon.pid), "the daemon does not stop")  # type: ignore[union-attr]

    def stop_daemon(self) -> None:
        self._daemons.close()

    def upload(self, key: str, content: bytes) -> None:
        s3_client(self.store.endpoint_url).put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")
        self.uploaded[key] = time.time()

    def turn_on(self, sensor: str) -> None:
        answer = self.graphql(_START_SENSOR, sensor={**_REPOSITORY, "sensorName": sensor})["startSensor"]
        assert answer["__typename"] == "Sensor", answer

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        answer = self.graphql(_TICKS, sensor={**_REPOSITORY, "sensorName": sensor})
        return answer["sensorOrError"]["sensorState"]["ticks"]

    def launch(self, plate: str) -> str:
        tags = [{"key": "dagster/partition", "value": plate}]
        answer = self.graphql(_LAUNCH, job="convert_plate", tags=tags)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def terminate(self, run: str) -> None:
        answer = self.graphql(_TERMINATE, run=run)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def runs(self, plate: str | None = None) -> list[Run]:
        """Runs, of one plate or all, the oldest first."""
        found = []
        for run in self.graphql(_RUNS)["runsOrError"]["results"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            moments = (run["creationTime"], run["stats"].get("launchTime"), run["startTime"], run["endTime"])
            found.append(Run(run["runId"], tags.get("dagster/partition", ""), run["status"], tags, *moments))
        return [run for run in reversed(found) if plate in (None, run.plate)]

    def refused(self) -> dict[str, Any]:
        """What the web UI shows of the files that are refused."""
        (check,) = self.graphql(_REFUSED)["assetNodeOrError"]["assetChecksOrError"]["checks"]
        return dict(check["executionForLatestMaterialization"])

    def logs(self, run: str) -> list[dict[str, Any]]:
        return list(self.graphql(_LOGS, run=run)["logsForRun"]["events"])

    def has_begun(self, run: str, step: str) -> bool:
        events = [event["__typename"] for event in self.logs(run) if event.get("stepKey") == step]
        return "ExecutionStepStartEvent" in events

    def worker_pid(self, run: str) -> int:
        """The process that executes a run."""
        said = [str(event.get("message")) for event in self.logs(run)]
        return next(int(line.split("pid: ")[1].split(")")[0]) for line in said if "(pid: " in line)

    def ended(self, plate: str, count: int) -> list[Run]:
        """The runs of a plate once so many have ended."""

        def enough() -> bool:
            return len([run for run in self.runs(plate) if run.status in ENDED]) >= count

        wait_for(enough, f"{plate} has no {count} runs that ended: {self.runs(plate)}")
        return self.runs(plate)

    def memory(self) -> dict[str, int]:
        """Megabytes of the web server and the daemon, each with its code server."""
        servers = {"web server": self.web.pid, "daemon": self.daemon.pid if self.daemon else 0}
        return {name: sum(_resident(process) for process in _family(pid)) for name, pid in servers.items() if pid}

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.web.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return dict(found["data"])


@contextmanager
def operation(folder: Path, **settings: str) -> Iterator[Operation]:
    """Everything running; all of it ends with the block."""
    prepare_home(folder / "home")
    with s3_server() as store, ExitStack() as stack:
        s3_client(store.endpoint_url).create_bucket(Bucket=BUCKET, ACL="public-read")
        whole = {
            "CYTOTABLE_SOURCE": f"s3://{BUCKET}/{{batch}}/{{plate}}/{{plate}}.sqlite",
            "CYTOTABLE_ENDPOINT_URL": store.endpoint_url,
            "CYTOTABLE_NO_SIGN_REQUEST": "1",
            "CYTOTABLE_CACHE": str(folder / "cache"),
            "CYTOTABLE_LAKE": str(folder / "lake"),
            "CYTOTABLE_CHUNKS_PER_PLATE": "4",
            **settings,
        }
        web = stack.enter_context(web_server(folder / "home", whole))
        running = Operation(folder, store, whole, web)
        stack.callback(running.stop_daemon)
        running.start_daemon()
        yield running


def wait_for(true: Callable[[], bool], otherwise: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.5)


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss / 1e6)
