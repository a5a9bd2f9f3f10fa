"""The three stores, each a process on loopback, as one thing to the tests."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pytest

# Where `make azurite` puts it.
AZURITE = Path(os.environ.get("CYTOTABLE_TEST_AZURITE", Path(__file__).parents[2] / ".azurite"))
PROVIDERS = ("s3", "gs", "az")


class Server(Protocol):
    """A store that runs, asked without what is tested."""

    endpoint_url: str

    def options(self, endpoint_url: str) -> dict[str, str]:
        """What a client is told that may write, by way of another server; what it takes of the environment is set."""

    def create_bucket(self, name: str) -> None: ...

    def put(self, bucket: str, key: str, content: bytes) -> None: ...

    def delete(self, bucket: str, key: str) -> None: ...

    def environment(self, endpoint_url: str) -> dict[str, str]:
        """What the environment says to the same end, for Dagster and the shell."""

    def begun(self, bucket: str) -> list[str]:
        """What an upload left that was begun and neither completed nor given up."""


@contextmanager
def running(provider: str) -> Iterator[Server]:
    """A store of a kind, for the time of the block; skips the test where it is not installed."""
    with {"s3": _s3, "gs": _google, "az": _azure}[provider]() as server:
        yield server


class S3:
    def __init__(self, endpoint_url: str) -> None:
        from cytotable_dagster.demo.s3_server import s3_client

        self.endpoint_url = endpoint_url
        self._client = s3_client(endpoint_url)

    def options(self, endpoint_url: str) -> dict[str, str]:
        return {"endpoint_url": endpoint_url, "aws_access_key_id": "a", "aws_secret_access_key": "b"}

    def create_bucket(self, name: str) -> None:
        self._client.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)

    def environment(self, endpoint_url: str) -> dict[str, str]:
        named = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        return {**named, "CYTOTABLE_ENDPOINT_URL": endpoint_url}

    def begun(self, bucket: str) -> list[str]:
        return [entry["Key"] for entry in self._client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


@contextmanager
def _s3() -> Iterator[S3]:
    pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_server

    with s3_server() as server:
        yield S3(server.endpoint_url)


class Google:
    def __init__(self, endpoint_url: str) -> None:
        import requests

        self.endpoint_url = endpoint_url
        self._session = requests.Session()

    def options(self, endpoint_url: str) -> dict[str, str]:
        os.environ.update(self.environment(endpoint_url))
        return {}

    def environment(self, endpoint_url: str) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": endpoint_url}

    def create_bucket(self, name: str) -> None:
        self._post("/storage/v1/b?project=none", json={"name": name})

    def put(self, bucket: str, key: str, content: bytes) -> None:
        # In parts, as the emulator takes no empty object otherwise.
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={quote(key, safe='')}"
        limit = f"--{os.urandom(16).hex()}"
        said = f"{limit}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n{limit}\r\n"
        body = (
            f"{said}Content-Type: application/octet-stream\r\n\r\n".encode() + content + f"\r\n{limit}--\r\n".encode()
        )
        self._post(path, data=body, headers={"Content-Type": f"multipart/related; boundary={limit[2:]}"})

    def delete(self, bucket: str, key: str) -> None:
        self._session.delete(f"{self.endpoint_url}/storage/v1/b/{bucket}/o/{quote(key, safe='')}").raise_for_status()

    def begun(self, bucket: str) -> list[str]:
        from cytotable_dagster.core.storage.gs import PARTS

        found = self._session.get(f"{self.endpoint_url}/storage/v1/b/{bucket}/o").json()["items"]
        return [item["name"] for item in found if PARTS in item["name"]]

    def _post(self, path: str, **arguments: Any) -> None:
        self._session.post(self.endpoint_url + path, **arguments).raise_for_status()


@contextmanager
def _google() -> Iterator[Google]:
    for name in ("google.cloud.storage", "gcp_storage_emulator"):
        pytest.importorskip(name, reason="pip install cytotable-dagster[gcs] gcp-storage-emulator")
    program = Path(__file__).with_name("gcs_process.py")
    command = [sys.executable, "-P", str(program), str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Google(f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}")
        finally:
            process.terminate()


class Azure:
    def __init__(self, endpoint_url: str) -> None:
        from azure.storage.blob import BlobServiceClient

        self.endpoint_url = endpoint_url
        self._client = BlobServiceClient.from_connection_string(
            *self.options(endpoint_url).values()
        ).get_container_client

    def options(self, endpoint_url: str) -> dict[str, str]:
        # The account that Azurite has, and its key, which are the same everywhere.
        # https://learn.microsoft.com/azure/storage/common/storage-use-azurite
        key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
        place = f"AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={endpoint_url}/devstoreaccount1"
        return {"connection_string": f"DefaultEndpointsProtocol=http;{place}"}

    def create_bucket(self, name: str) -> None:
        self._client(name).create_container()

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client(bucket).upload_blob(key, content, overwrite=True)

    def delete(self, bucket: str, key: str) -> None:
        self._client(bucket).delete_blob(key)

    def environment(self, endpoint_url: str) -> dict[str, str]:
        return {"AZURE_STORAGE_CONNECTION_STRING": self.options(endpoint_url)["connection_string"]}

    def begun(self, bucket: str) -> list[str]:
        """None: blocks that nobody commits are the store's to remove."""
        return []


@contextmanager
def _azure() -> Iterator[Azure]:
    for name in ("azure.storage.blob", "azure.storage.filedatalake"):
        pytest.importorskip(name, reason="pip install cytotable-dagster[azure]")
    program = AZURITE / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists() or shutil.which("node") is None:
        pytest.skip("Azurite is not here: make azurite, which needs node and npm")
    quiet = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", "0", *quiet]
    none = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=none, stdout=subprocess.PIPE, stderr=none, text=True) as process:
        try:
            for line in process.stdout:
                if found := re.search(r"listens on (http://[0-9.:]+)", line):
                    yield Azure(found[1])
                    break
            else:
                raise RuntimeError(f"Azurite ended with status {process.wait()}")
        finally:
            process.terminate()
