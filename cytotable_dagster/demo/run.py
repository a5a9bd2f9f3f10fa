"""The demo: a plate made, put on an S3 server on loopback, and converted in the Dagster web UI."""

import json
import os
import shlex
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.shown import counted, human_bytes
from cytotable_dagster.defs.home import LOCATION
from cytotable_dagster.demo.another import known_as_running
from cytotable_dagster.demo.plate import BUCKET, write_plate
from cytotable_dagster.demo.s3_server import S3Server, s3_server, upload_tree
from cytotable_dagster.demo.servers import HOST, Server, dagster_servers, free_port, prepare_home

_PATTERN = f"s3://{BUCKET}/cpg-demo/source_1/workspace/backend/{{batch}}/{{plate}}/{{plate}}.sqlite"
_POLL_SECONDS = 1.0
_RUN_SECONDS = 600
# From the single cells to the plate's source, and beyond.
_DEPTH = 5
_START_SENSOR = """mutation { startSensor(sensorSelector: {sensorName: "%s",
  repositoryName: "__repository__", repositoryLocationName: "%s"}) { __typename } }"""

# What follows an upload by itself: its conversion, the way to its images, the datasets.
_SENSORS = ("new_plates_sensor", "images_sensor", "datasets_sensor")


class DemoError(CytoTableError, RuntimeError):
    """The demo's run failed."""


def run_demo(folder: Path, *, port: int = 3000, once: bool = False, say: Callable[[str], None] = print) -> None:
    """Make a plate, serve it, convert it through Dagster, and show where to look.

    Args:
        folder: where everything of the demo lies; may exist already.
        port: of the web server; 0 chooses a free one.
        once: stop when the plate is converted, instead of serving until Ctrl-C.

    Raises:
        DemoError: the run failed. ServersError: the port is taken, or a server did not start.
    """
    free_port(port)
    folder = folder.absolute()
    _on_interrupt(signal.default_int_handler)
    say("painting, segmenting and measuring a plate ...")
    plate = write_plate(folder / "s3")
    say(f"plate {plate.plate}: {plate.image_files} image files, {_counted(plate.counts)}")
    home = folder / "dagster_home"
    prepare_home(home)
    with _stopped_together(say) as running:
        store = running.enter_context(s3_server())
        upload_tree(store, plate.folder, BUCKET)
        uri = f"s3://{BUCKET}/{plate.sqlite_key}"
        say(f"uploaded to an S3 server of its own, {store.endpoint_url}:")
        say(f"  {uri}")
        add_plate(home, plate.plate, uri)
        say("starting Dagster's web server and daemon ...")
        servers = running.enter_context(dagster_servers(home, settings(folder, store), port))
        running.enter_context(known_as_running(folder, store=store.endpoint_url, web=servers.url))
        say(f"Dagster: {servers.url}")
        _run(servers, "convert_plate", {"dagster/partition": plate.plate}, say)
        _run(servers, "find_images", {"dagster/partition": plate.plate}, say)
        _run(servers, "build_datasets", {}, say)
        _show_tables(folder / "lake" / plate.plate, say)
        if not once:
            _show_pages(servers, plate.plate, say)
            for sensor in _SENSORS:
                _start_sensor(servers, sensor)
            show_what_next(folder, plate.plate, store.endpoint_url, say)
            _wait_for_interrupt()


def _counted(counts: Any) -> str:
    return ", ".join(f"{count:,} {name.lower()}" for name, count in counts.items() if name != "Image")


def settings(folder: Path, store: S3Server) -> dict[str, str]:
    """Environment of a Dagster that finds its plates in the store and keeps everything in `folder`."""
    return {
        "CYTOTABLE_SOURCE": _PATTERN,
        "CYTOTABLE_ENDPOINT_URL": store.endpoint_url,
        "CYTOTABLE_NO_SIGN_REQUEST": "1",
        "CYTOTABLE_CACHE": str(folder / "plate_cache"),
        "CYTOTABLE_LAKE": str(folder / "lake"),
        "CYTOTABLE_DATASET": str(folder / "dataset"),
    }


def add_plate(home: Path, name: str, uri: str) -> None:
    """Make a plate known to the instance of a home."""
    from dagster import DagsterInstance

    from cytotable_dagster.defs import plates

    with DagsterInstance.from_config(str(home)) as instance:
        plates.add(instance, name, uri)


def _run(servers: Server, job: str, tags: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Launch a job, as a click in the UI does, and wait for its end."""
    from dagster_graphql import DagsterGraphQLClient

    client = DagsterGraphQLClient(HOST, port_number=int(servers.url.rsplit(":", 1)[1]))
    run = client.submit_job_execution(
        job, repository_location_name=LOCATION, repository_name="__repository__", tags=dict(tags)
    )
    say(f"{job}: {servers.url}/runs/{run}")
    last, deadline = "", time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        status = client.get_run_status(run).value
        if status != last:
            say(f"  {status.lower().replace('_', ' ')}")
            last = status
        if status == "SUCCESS":
            return
        if status in ("FAILURE", "CANCELED"):
            raise DemoError(f"run {run} ended as {status.lower()}; its log is at {servers.url}/runs/{run}")
        time.sleep(_POLL_SECONDS)
    raise DemoError(f"run {run} is not done after {_RUN_SECONDS} s; its log is at {servers.url}/runs/{run}")


def _show_tables(results: Path, say: Callable[[str], None]) -> None:
    import pyarrow.parquet as pq

    say("")
    say(f"in {_short(results)}:")
    for path in sorted(results.glob("*.parquet")):
        facts = pq.read_metadata(path)
        rows, columns = counted(facts.num_rows, "row"), counted(facts.num_columns, "column")
        say(f"  {path.name:22} {rows:>11} x {columns:>11}  {human_bytes(path.stat().st_size):>7}")


def _show_pages(servers: Server, plate: str, say: Callable[[str], None]) -> None:
    """Pages to begin with, for as long as the web server runs."""
    assets = f"{servers.url}/assets"
    for what, address in (
        ("the plate's single cells", f"single_cells?view=partitions&partition={plate}"),
        ("its images and cells", f"cell_images?view=partitions&partition={plate}"),
        ("the way from the source", f"single_cells?view=lineage&lineageScope=upstream&lineageDepth={_DEPTH}"),
    ):
        say(f"{what}:")
        say(f"  {assets}/{address}")


def _start_sensor(servers: Server, sensor: str) -> None:
    """Turn on a sensor, as its switch in the UI does."""
    request = urllib.request.Request(
        f"{servers.url}/graphql",
        json.dumps({"query": _START_SENSOR % (sensor, LOCATION)}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    if (found.get("data") or {}).get("startSensor", {}).get("__typename") != "Sensor":
        raise DemoError(f"{sensor} could not be turned on; do it at {servers.url}/automation")


def show_what_next(folder: Path, plate: str, store: str, say: Callable[[str], None]) -> None:
    """Say what may be done with a demo that runs: commands, as they are typed."""
    command = shlex.quote(_short(Path(sys.executable).with_name("cytotable-dagster")))
    say("")
    say("From another terminal, one more plate into the bucket, for the sensor to find:")
    say(f"  {command} demo --another --folder {shlex.quote(_short(folder))}")
    say("It is converted, its images are found, and it joins the datasets, by three sensors.")
    say("Cells of the first one as a picture:")
    say(f"  {command} crops {shlex.quote(_short(folder / 'lake' / plate))} --out cells.png \\")
    say(f"  --endpoint-url {store} --no-sign-request")
    say("A plate of your own, to be converted by a click on Materialize:")
    say(f"  DAGSTER_HOME={shlex.quote(str(folder / 'dagster_home'))} \\")
    say(f"  {command} plate add NAME --source PATH/OF/NAME.sqlite")
    say("")
    say("Ctrl-C stops everything.")


def _short(path: Path) -> str:
    """A path as seen from the working directory, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


@contextmanager
def _stopped_together(say: Callable[[str], None]) -> Iterator[ExitStack]:
    """A stack of servers, all stopped when the block ends; Ctrl-C is without effect meanwhile, as it would leave some
    behind."""
    with ExitStack() as running:
        running.callback(say, "everything is stopped")
        running.callback(_on_interrupt, signal.default_int_handler)
        try:
            yield running
        finally:
            _on_interrupt(signal.SIG_IGN)
            say("stopping the servers, which takes some seconds ...")


def _on_interrupt(handler: Any) -> None:
    # A service manager's way to end it is as good as Ctrl-C.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, handler)


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
