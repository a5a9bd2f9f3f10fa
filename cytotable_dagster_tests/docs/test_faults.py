"""The table of docs/faults.md is what comes of faults that are provoked here."""

from collections.abc import Iterator

import pytest

from cytotable_dagster_tests.docs.faults import BUCKET, FAULTS, PAGE, SLOW, CannotBeProvoked, row, table

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")


@pytest.fixture(scope="module")
def endpoint_url() -> Iterator[str]:
    from cytotable_dagster.demo.s3_server import s3_client, s3_server

    with s3_server() as server:
        s3_client(server.endpoint_url).create_bucket(Bucket=BUCKET)
        yield server.endpoint_url


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=pytest.mark.slow if what in SLOW else ()) for what in FAULTS]
)
def test_the_page_says_what_comes_of_a_fault(what: str, endpoint_url: str):
    try:
        line = row(what, endpoint_url)
    except CannotBeProvoked:
        pytest.skip("it needs a file system of its own, which this machine does not allow")
    assert table(PAGE.read_text())[what] == line, "python -m cytotable_dagster_tests.docs.faults writes the table"


def test_the_page_has_no_other_faults():
    assert list(table(PAGE.read_text())) == list(FAULTS)
