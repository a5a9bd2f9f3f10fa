"""An S3 server on loopback, moto's, in a process of its own, and a way to fill it.

It keeps everything in memory and temporary files and is gone with its process. Every range request makes moto
read the whole object: fine for a demo, no measure of S3.
"""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.demo.extras import missing

START_SECONDS = 60
STOP_SECONDS = 5
MULTIPART_THRESHOLD = 8 * 2**20
"""Bytes from which an upload is made in parts, as boto3 does by default. An ETag of parts is no MD5."""


class ServerStartError(CytoTableError, OSError):
    """The S3 server did not start."""


@dataclass(frozen=True)
class S3Server:
    """A running server. `pid` is its process, whose end is the server's."""

    endpoint_url: str
    pid: int
    process: subprocess.Popen[str] = field(repr=False)

    def stop(self) -> None:
        """End the process and wait until it is gone. Harmless when it is gone already."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def s3_server(port: int = 0) -> Iterator[S3Server]:
    """An S3 server on 127.0.0.1 for the time of the `with` block; it also ends when this process does.

    Args:
        port: 0 lets the system choose a free one.

    Raises:
        MissingExtraError: moto is not installed.
        ServerStartError: the port is taken, or the process died; the message has its reason.
    """
    server = start_s3_server(port)
    try:
        yield server
    finally:
        server.stop()


def start_s3_server(port: int = 0) -> S3Server:
    """The same without a `with` block: `stop()` it, or let this process end."""
    program = Path(__file__).with_name("s3_process.py")
    process = subprocess.Popen(
        [sys.executable, "-P", str(program), str(port), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
    )
    answer = _first_line(process)
    server = S3Server(f"http://127.0.0.1:{answer.get('port')}", process.pid, process)
    if "port" in answer:
        return server
    server.stop()
    if "missing" in answer:
        raise missing(answer["missing"])
    raise ServerStartError(f"the S3 server did not start on 127.0.0.1:{port}: {answer['error']}")


def _first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the process says first. It listens before it speaks: connections made afterwards are answered."""
    if process.stdout is None:
        return {"error": "its output is not connected"}
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(START_SECONDS):
            return {"error": f"no answer in {START_SECONDS} s"}
    line = process.stdout.readline()
    return json.loads(line) if line else {"error": f"the process ended with status {process.wait()}"}


def upload_tree(
    server: S3Server, folder: Path, bucket: str, *, multipart_threshold: int = MULTIPART_THRESHOLD
) -> list[str]:
    """Put all files below a folder into a bucket, which is made if need be, readable for everyone.

    Keys are the paths relative to the folder. Files of `multipart_threshold` bytes and more get an ETag of
    the form `<hash>-<parts>`, with parts of 8 MiB.

    Returns:
        The objects' addresses, `s3://bucket/key`, in order.
    """
    s3_client(server.endpoint_url).create_bucket(Bucket=bucket, ACL="public-read")
    return upload_files(server.endpoint_url, folder, bucket, multipart_threshold=multipart_threshold)


def upload_files(
    endpoint_url: str, folder: Path, bucket: str, *, multipart_threshold: int = MULTIPART_THRESHOLD
) -> list[str]:
    """The same into a bucket that is there."""
    from boto3.s3.transfer import TransferConfig

    client = s3_client(endpoint_url)
    config = TransferConfig(multipart_threshold=multipart_threshold)
    uris = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        key = path.relative_to(folder).as_posix()
        client.upload_file(str(path), bucket, key, ExtraArgs={"ACL": "public-read"}, Config=config)
        uris.append(f"s3://{bucket}/{key}")
    return uris


def s3_client(endpoint_url: str) -> Any:
    """A boto3 client for the server, with credentials made up here: none of the machine's are looked at."""
    import boto3
    from botocore.config import Config
    from botocore.session import Session

    nothing = {"profile": None, "config_file": os.devnull, "credentials_file": os.devnull}
    session = Session(session_vars={name: (None, None, value, None) for name, value in nothing.items()})
    return boto3.Session(
        aws_access_key_id="demo",
        aws_secret_access_key="demo",
        region_name="us-east-1",
        botocore_session=session,
    ).client(
        "s3",
        endpoint_url=endpoint_url,
        # A proxy of the environment cannot reach this machine's loopback.
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
