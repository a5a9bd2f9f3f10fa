"""A plate on an S3 server, launched by GraphQL, converted by the daemon's run, read back by GraphQL."""

import select
import socket
import socketserver
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.intake.patterns import find_by_pattern
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.defs import plates
from cytotable_dagster.demo.servers import daemon
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.deployment import Deployment

pytest.importorskip("moto")
from cytotable_dagster.demo.s3_server import S3Server, s3_client, s3_server, upload_tree

LAUNCH = """mutation ($job: String!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "cytotable_dagster.definitions", repositoryName: "__repository__", jobName: $job},
    runConfigData: {}, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
FAILURE = """query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
  ... on ExecutionStepFailureEvent { stepKey failureMetadata { description } }
} } } }"""
SHOWN = """query ($asset: AssetKeyInput!, $keys: [String!]) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode { assetMaterializations(partitions: $keys, limit: 1) {
    metadataEntries { label ... on IntMetadataEntry { intValue } ... on UrlMetadataEntry { url }
      ... on TextMetadataEntry { text } ... on TableMetadataEntry { table { records } } }
  } } }
}"""
BUCKET = "plates"


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def launched(deployment: Deployment, store: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment with a daemon that finds the store by the environment."""
    folder = tmp_path_factory.mktemp("bucket")
    write_sqlite(folder / "batch" / "Stored.sqlite", plate(JUMP, sites(4, 3, 2, 1)))
    (folder / "batch" / "Empty.sqlite").touch()
    upload_tree(store, folder, BUCKET)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CYTOTABLE_ENDPOINT_URL", store.endpoint_url)
        with daemon(deployment.folder / "home", {}):
            yield deployment


def launch(deployment: Deployment, partition: str, seconds: float = 300) -> tuple[str, str]:
    """Run the job for one plate to its end: run id and status."""
    tags = [{"key": "dagster/partition", "value": partition}]
    answer = deployment.graphql(LAUNCH, job="convert_plate", tags=tags)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run = answer["run"]["runId"]
    deadline = time.monotonic() + seconds
    while True:
        status = deployment.graphql(STATUS, run=run)["runOrError"]["status"]
        if status in ("SUCCESS", "FAILURE", "CANCELED"):
            return run, status
        assert time.monotonic() < deadline, f"run {run} is still {status}"
        time.sleep(0.5)


def shown(deployment: Deployment, asset: str, partition: str) -> dict[str, Any]:
    answer = deployment.graphql(SHOWN, asset={"path": [asset]}, keys=[partition])
    (event,) = answer["assetNodeOrError"]["assetMaterializations"]
    values = ("intValue", "url", "text", "table")
    return {
        entry["label"]: next((entry[kind] for kind in values if entry.get(kind) is not None), None)
        for entry in event["metadataEntries"]
    }


def add(deployment: Deployment, store: S3Server, name: str) -> str:
    uri = f"s3://{BUCKET}/batch/{name}.sqlite"
    plates.add(deployment.instance, name, uri)
    return uri


def test_a_plate_on_s3_is_converted_by_one_launch(launched: Deployment, store: S3Server) -> None:
    uri = add(launched, store, "Stored")
    _, status = launch(launched, "Stored")
    assert status == "SUCCESS"
    etag = s3_client(store.endpoint_url).head_object(Bucket=BUCKET, Key="batch/Stored.sqlite")["ETag"].strip('"')
    metadata = shown(launched, "cells", "Stored")
    assert (metadata["source"], metadata["etag"]) == (uri, etag)
    assert metadata["dagster/row_count"] == pq.read_metadata(launched.lake("Stored").result("Cells")).num_rows == 10
    assert shown(launched, "nuclei_chunk", "Stored|01")["source"] == uri
    assert launched.outdated("Stored") == {}


def test_a_pattern_finds_the_plate_in_the_store(launched: Deployment, store: S3Server) -> None:
    known = Store.checked({"endpoint_url": store.endpoint_url, "no_sign_request": True})
    assert find_by_pattern(f"s3://{BUCKET}/{{batch}}/{{plate}}.sqlite", "Stored", known).uri == (
        f"s3://{BUCKET}/batch/Stored.sqlite"
    )
    with pytest.raises(SourceNotFoundError, match="Other"):
        find_by_pattern(f"s3://{BUCKET}/{{batch}}/{{plate}}.sqlite", "Other", known)


def test_a_plate_that_fails_says_why_in_the_web_ui(launched: Deployment, store: S3Server) -> None:
    add(launched, store, "Empty")
    run, status = launch(launched, "Empty")
    assert status == "FAILURE"
    events = launched.graphql(FAILURE, run=run)["logsForRun"]["events"]
    (failed,) = [event for event in events if event]
    assert failed["stepKey"] == "plate_sqlite"
    assert "is empty (0 bytes)" in failed["failureMetadata"]["description"]


class _Forwarder(socketserver.BaseRequestHandler):
    """Hands a connection on to the store."""

    port = 0

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as store:
            ends = {self.request: store, store: self.request}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)


def test_a_store_that_is_away_for_a_moment_is_asked_again(
    deployment: Deployment, store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sqlite(tmp_path / "bucket" / "Away.sqlite", plate(JUMP))
    upload_tree(store, tmp_path / "bucket", "away")
    plates.add(deployment.instance, "Away", "s3://away/Away.sqlite")
    monkeypatch.setattr(_Forwarder, "port", int(store.endpoint_url.rsplit(":", 1)[1]))
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Forwarder, bind_and_activate=False) as way:
        way.daemon_threads = True
        way.server_bind()
        monkeypatch.setenv("CYTOTABLE_ENDPOINT_URL", f"http://127.0.0.1:{way.server_address[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

        def tried_again() -> bool:
            runs = deployment.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "Away"}))
            kind = dg.DagsterEventType.STEP_UP_FOR_RETRY
            return any(deployment.instance.all_logs(run.run_id, of_type=kind) for run in runs)

        def come_back() -> None:
            deadline = time.monotonic() + 120
            while not tried_again() and time.monotonic() < deadline:
                time.sleep(0.2)
            way.server_activate()
            way.serve_forever()

        # Until then the port is taken, and nobody listens.
        thread = Thread(target=come_back)
        thread.start()
        result = deployment.convert("Away")
        way.shutdown()
        thread.join()
    assert result.success
    assert tried_again()
