"""The demo: a plate made, put on an S3 server on loopback, and converted in the Dagster web UI."""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.defs.home import LOCATION
from cytotable_dagster.demo.plate import BUCKET, write_plate
from cytotable_dagster.demo.s3_server import S3Server, s3_server, upload_tree
from cytotable_dagster.demo.servers import HOST, Server, dagster_servers, prepare_home

_PATTERN = f"s3://{BUCKET}/cpg-demo/source_1/workspace/backend/{{batch}}/{{plate}}/{{plate}}.sqlite"
_POLL_SECONDS = 1.0
_RUN_SECONDS = 600


class DemoError(CytoTableError, RuntimeError):
    """The demo's run failed."""


def run_demo(folder: Path, *, port: int = 3000, once: bool = False, say: Callable[[str], None] = print) -> None:
    """Make a plate, serve it, convert it through Dagster, and show where to look.

    Args:
        folder: where everything of the demo lies; may exist already.
        port: of the web server; 0 chooses a free one.
        once: stop when the plate is converted, instead of serving until Ctrl-C.

    Raises:
        DemoError: the run failed. ServersError: a server did not start.
    """
    folder = folder.absolute()
    # A service manager's way to end it is as good as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say("painting, segmenting and measuring a plate ...")
    plate = write_plate(folder / "s3")
    say(f"plate {plate.plate}: {plate.image_files} images, " + _counted(plate.counts))
    home = folder / "dagster_home"
    prepare_home(home)
    with s3_server() as store:
        upload_tree(store, plate.folder, BUCKET)
        uri = f"s3://{BUCKET}/{plate.sqlite_key}"
        say(f"uploaded to {uri} on an S3 server of its own, {store.endpoint_url}")
        add_plate(home, plate.plate, uri)
        with dagster_servers(home, settings(folder, store), port) as servers:
            say(f"Dagster: {servers.url}")
            _run(servers, "convert_plate", {"dagster/partition": plate.plate}, say)
            _run(servers, "find_images", {"dagster/partition": plate.plate}, say)
            _run(servers, "build_datasets", {}, say)
            _show(folder / "lake" / plate.plate, servers, plate.plate, say)
            if not once:
                say("Ctrl-C stops everything.")
                _wait_for_interrupt()


def _counted(counts: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


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


def _show(results: Path, servers: Server, plate: str, say: Callable[[str], None]) -> None:
    import pyarrow.parquet as pq

    for path in sorted(results.glob("*.parquet")):
        facts = pq.read_metadata(path)
        say(f"  {path}: {facts.num_rows:,} rows, {facts.num_columns:,} columns, {path.stat().st_size:,} bytes")
    say(f"its images and cells: {servers.url}/assets/cell_images?view=partitions&partition={plate}")
    say(f"the way from the source: {servers.url}/assets/single_cells?view=lineage&lineageScope=upstream")
    say(f"the plate's single cells: {servers.url}/assets/single_cells?view=partitions&partition={plate}")


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
