"""Where plates arrive: a bucket of each store, and a folder; a test of one is a test of the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cytotable_dagster.demo.s3_server import S3Server
    from cytotable_dagster_tests.core.arriving import Place


@pytest.fixture(scope="module")
def server() -> "Iterator[S3Server]":
    pytest.importorskip(
        "moto.server", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]"
    )
    from cytotable_dagster.demo.s3_server import s3_server

    with s3_server() as running:
        yield running


@pytest.fixture(params=["s3", "gs", "az", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> "Place":
    from cytotable_dagster_tests.core.arriving import BUCKETS, bucket, container, folder

    if request.param == "folder":
        return folder(tmp_path / "plates")
    if request.param != "s3":
        return container(request.getfixturevalue("stores")(request.param), next(BUCKETS))
    return bucket(request.getfixturevalue("server"), next(BUCKETS))
