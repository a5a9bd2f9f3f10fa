"""What 2,500 registered plates cost, idle: `python -m benchmarks.load [PLATES [ASSETS]]`.

A home with the plates and an event for each of their assets (or the first so many of six), Dagster's daemon and web
server on it, and the sensor on, over a bucket in which they all lie and nothing is new. The S3 server is moto's, in
this process.
"""

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import psutil

from benchmarks.machine import description
from cytotable_dagster.core.intake import seen_files
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.arrivals import Memory, look
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.assets.common import COMPARTMENTS, PLATE_SQLITE, SINGLE_CELLS, compartment_key
from cytotable_dagster.defs.home import LOCATION
from cytotable_dagster.demo.servers import daemon, prepare_home, web_server

IN_A_BATCH = 100
WATCHED = 30
SENSOR = "new_plates_sensor"
MADE = (SINGLE_CELLS, PLATE_SQLITE, *map(compartment_key, COMPARTMENTS))
_GRAPH = """query { assetNodes { assetKey { path } groupName opNames jobNames kinds isPartitioned isMaterializable
  dependencyKeys { path } dependedByKeys { path } } }"""
_STATE = """query { assetNodes { assetKey { path } staleStatus
  partitionStats { numMaterialized numPartitions numFailed numMaterializing }
  assetMaterializations(limit: 1) { timestamp runId } } }"""
_PARTITIONS = """query { assetNodeOrError(assetKey: {path: ["single_cells"]}) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys }
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions failedPartitions
    unmaterializedPartitions } } } } }"""
_CHUNKS = """query { assetNodeOrError(assetKey: {path: ["cells_chunk"]}) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys }
  assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
    primaryDimStartKey primaryDimEndKey } } } } } }"""
_SENSOR = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "sensorName": SENSOR}
_TURN_ON = """mutation ($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) { __typename } }"""
_TICKS = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
  sensorState { ticks(limit: 100) { status skipReason timestamp endTimestamp } } } } }"""


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # All plates have been handled before: none has to be seen twice.
    seen_files.SETTLED_AFTER = -1
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2500
    made = MADE[: int(sys.argv[2]) if len(sys.argv) > 2 else None]
    print(description())
    with TemporaryDirectory() as folder, _bucket(count) as cloud:
        home = Path(folder) / "home"
        pattern = Pattern("s3://large/backend/{batch}/{plate}/{plate}.sqlite")
        with listing(pattern, Store.checked(cloud)) as source:
            memory = look(source, pattern, Memory(), limit=10**6, seconds=600).memory
        settings = _settings(Path(folder), pattern, cloud)
        with TemporaryDirectory(dir="/dev/shm") as quick:
            # In memory, where an event takes a tenth of the time.
            prepare_home(Path(quick) / "home")
            with dg.DagsterInstance.from_config(f"{quick}/home") as instance:
                events = _register(instance, memory, pattern, made)
            shutil.copytree(f"{quick}/home", home)
        print(f"{len(memory.handled)} plates, {events} events", flush=True)
        subprocess.run(_set_cursor(home, memory), env=_environment(home, settings), check=True, capture_output=True)
        with web_server(home, settings) as web, daemon(home, settings) as scheduler:
            _measure(home, web.url, web.pid, scheduler.pid)


def _measure(home: Path, url: str, web: int, scheduler: int) -> None:
    print("seconds of the web server's answers, the first and the median of five more:")
    for name, query in {"graph": _GRAPH, "its state": _STATE, "plates": _PARTITIONS, "chunks": _CHUNKS}.items():
        first, *others = [_seconds(lambda query=query: _ask(url, query)) for _ in range(6)]  # type: ignore[misc]
        print(f"  {name:10} {first:6.2f} {statistics.median(others):6.2f}", flush=True)
    _watch("sensor off", scheduler)
    _ask(url, _TURN_ON, sensor=_SENSOR)
    _watch("sensor on ", scheduler)
    ticks = _ask(url, _TICKS, sensor=_SENSOR)["sensorOrError"]["sensorState"]["ticks"]
    took = [tick["endTimestamp"] - tick["timestamp"] for tick in ticks if tick["endTimestamp"]]
    print(f"{len(took)} ticks, seconds: median {statistics.median(took):.1f}, most {max(took):.1f}")
    print(ticks[0]["status"], ticks[0]["skipReason"])
    for name, pid in (("web server", web), ("daemon", scheduler)):
        print(f"{name}: {sum(process.memory_info().rss for process in _family(pid)) / 1e6:.0f} MB with its code server")
    print(f"home: {sum(file.stat().st_size for file in home.rglob('*') if file.is_file()) / 1e6:.0f} MB")


def _watch(what: str, pid: int) -> None:
    """The share of a core that a process and its children use; what has started is left to settle first."""
    time.sleep(15)
    before = _cpu(pid)
    time.sleep(WATCHED)
    print(
        f"daemon with its code server, {what}: {(_cpu(pid) - before) / WATCHED:.1%} of a core over {WATCHED} s",
        flush=True,
    )


def _register(instance: dg.DagsterInstance, memory: Memory, pattern: Pattern, made: Sequence[dg.AssetKey]) -> int:
    names = {uri.rsplit("/", 1)[-1].removesuffix(".sqlite"): pattern.root + uri for uri in memory.handled}
    instance.add_dynamic_partitions(plates.PLATES, list(names))
    for name, uri in names.items():
        instance.report_runless_asset_event(plates.observation(name, uri, "1", pattern.places(uri)))
        for key in made:
            event = dg.AssetMaterialization(key, partition=name, tags={"dagster/data_version": "1"})
            instance.report_runless_asset_event(event)
    return len(names) * (1 + len(made))


@contextmanager
def _bucket(count: int) -> Iterator[dict[str, Any]]:
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    inside = s3_backends["123456789012"]["aws"]
    inside.create_bucket("large", "us-east-1")
    for number in range(count):
        name = f"BR{number:06d}"
        key = f"backend/Batch{number // IN_A_BATCH:02d}/{name}/{name}.sqlite"
        inside.put_object("large", key, b"SQLite format 3\0")
    host, port = server.get_host_and_port()
    try:
        yield {"endpoint_url": f"http://{host}:{port}", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    finally:
        server.stop()


def _settings(folder: Path, pattern: Pattern, cloud: Mapping[str, Any]) -> dict[str, str]:
    return {
        "CYTOTABLE_SOURCE": pattern.text,
        "CYTOTABLE_ENDPOINT_URL": cloud["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "CYTOTABLE_LAKE": str(folder / "lake"),
        "CYTOTABLE_CACHE": str(folder / "cache"),
    }


def _environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **settings, "DAGSTER_HOME": str(home)}


def _set_cursor(home: Path, memory: Memory) -> list[str]:
    program = str(Path(sys.executable).with_name("dagster"))
    return [program, "sensor", "cursor", SENSOR, "--set", memory.dumped(), "-w", str(home / "workspace.yaml")]


def _ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        found = json.load(answer)
    if "errors" in found:
        raise RuntimeError(found["errors"][0]["message"])
    return dict(found["data"])


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _cpu(pid: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _family(pid))


if __name__ == "__main__":
    main()
