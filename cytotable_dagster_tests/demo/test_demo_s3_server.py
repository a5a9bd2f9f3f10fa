"""The S3 server: what goes up comes down, for everyone, until the process ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from cytotable_dagster.demo.plate import DemoPlate
from cytotable_dagster.demo.s3_server import S3Server, ServerStartError, s3_server, upload_tree

pytest.importorskip("moto")

BUCKET = "cellpainting-demo"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(scope="module")
def uris(server: S3Server, plate: DemoPlate) -> list[str]:
    return upload_tree(server, plate.folder, BUCKET)


def unsigned(server: S3Server) -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version=UNSIGNED, proxies={})
    return boto3.client("s3", endpoint_url=server.endpoint_url, region_name="us-east-1", config=config)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not merely waiting to be buried."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_every_file_can_be_read_by_anyone(server: S3Server, uris: list[str], plate: DemoPlate) -> None:
    assert len(uris) == plate.image_files + 2
    assert f"s3://{BUCKET}/{plate.sqlite_key}" in uris
    client = unsigned(server)
    for uri in uris:
        key = uri.removeprefix(f"s3://{BUCKET}/")
        content = (plate.folder / key).read_bytes()
        answer = client.get_object(Bucket=BUCKET, Key=key)
        assert answer["Body"].read() == content
        assert answer["ETag"].strip('"') == md5(content, usedforsecurity=False).hexdigest()


def test_anyone_may_list(server: S3Server, uris: list[str]) -> None:
    pages = unsigned(server).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert [f"s3://{BUCKET}/{key}" for key in keys] == sorted(uris)


def test_ranges(server: S3Server, uris: list[str], plate: DemoPlate) -> None:
    answer = unsigned(server).get_object(Bucket=BUCKET, Key=plate.sqlite_key, Range="bytes=100-199")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes 100-199/{plate.sqlite.stat().st_size}"
    assert answer["Body"].read() == plate.sqlite.read_bytes()[100:200]


def test_etag_of_parts_is_no_digest(server: S3Server, tmp_path: Path) -> None:
    content = os.urandom(9 * 2**20)
    (tmp_path / "large.bin").write_bytes(content)
    upload_tree(server, tmp_path, "parts", multipart_threshold=2**20)
    answer = unsigned(server).get_object(Bucket="parts", Key="large.bin")
    assert answer["ETag"].strip('"').endswith("-2")
    assert answer["Body"].read() == content


def test_changed_file_has_another_etag(server: S3Server, tmp_path: Path) -> None:
    etags = []
    for content in (b"one", b"two"):
        (tmp_path / "file").write_bytes(content)
        upload_tree(server, tmp_path, "changing")
        etags.append(unsigned(server).head_object(Bucket="changing", Key="file")["ETag"])
    assert etags[0] != etags[1]


def test_readable_with_an_empty_environment(server: S3Server, uris: list[str], plate: DemoPlate) -> None:
    program = (
        "import sys, boto3\n"
        "from botocore import UNSIGNED\n"
        "from botocore.config import Config\n"
        "client = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1',\n"
        "                      config=Config(signature_version=UNSIGNED))\n"
        "print(len(client.get_object(Bucket=sys.argv[2], Key=sys.argv[3])['Body'].read()))\n"
    )
    arguments = [server.endpoint_url, BUCKET, plate.sqlite_key]
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], env={}, capture_output=True, text=True, check=True
    )
    assert int(run.stdout) == plate.sqlite.stat().st_size


def test_broken_settings_of_the_machine_do_not_matter(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    before = dict(os.environ)
    upload_tree(server, tmp_path, "hermetic")
    assert dict(os.environ) == before
    with build_opener(ProxyHandler({})).open(f"{server.endpoint_url}/hermetic/file") as answer:
        assert answer.read() == b"content"


def test_server_is_gone_after_the_block() -> None:
    with s3_server() as running:
        assert running.endpoint_url.startswith("http://127.0.0.1:")
        assert is_running(running.pid)
    assert not is_running(running.pid)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(running.endpoint_url.rpartition(":")[2])), timeout=1).close()
    running.stop()


def test_server_ends_with_a_parent_that_was_killed() -> None:
    program = (
        "import time\n"
        "from cytotable_dagster.demo.s3_server import start_s3_server\n"
        "print(start_s3_server().pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerStartError, match=f"127.0.0.1:{port}.*in use"), s3_server(port):
            pass


def test_port_that_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with s3_server(port) as running:
        assert running.endpoint_url == f"http://127.0.0.1:{port}"
