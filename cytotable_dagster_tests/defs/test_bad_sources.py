"""A source that fails: the tick says why, the cursor is not lost, and the next tick goes on. With the S3 server."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from cytotable_dagster.core.errors import SourceAccessError, SourceNotFoundError
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster.defs.sensors import new_plates_sensor
from cytotable_dagster_tests.defs.instances import opened
from cytotable_dagster_tests.stores.between import Between, between

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

from cytotable_dagster.demo.s3_server import S3Server, s3_client, s3_server

NAMES = iter(f"bad-{number}" for number in range(1000))


@dataclass
class Ticks:
    """A sensor over a bucket, ticked by hand; a tick that fails leaves the cursor as it was, as the daemon does."""

    store: S3Server
    between: Between
    instance: dg.DagsterInstance
    bucket: str
    cursor: str | None = None
    refused: list[str] = field(default_factory=list)

    def put(self, *plates: str) -> None:
        for plate in plates:
            key = f"{plate}/{plate.rpartition('/')[2]}.sqlite"
            s3_client(self.store.endpoint_url).put_object(
                Bucket=self.bucket, Key=key, Body=b"SQLite format 3\0", ACL="public-read"
            )

    def tick(self, **settings: Any) -> tuple[list[str | None], str]:
        """Plates that are asked for, and the reason for skipping."""
        whole = {
            "location": f"s3://{self.bucket}/{{batch}}/{{plate}}/{{plate}}.sqlite",
            "endpoint_url": self.between.endpoint_url,
            "no_sign_request": True,
            **settings,
        }
        resources = {"plate_files": PlateSource(**whole)}
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources)
        done = new_plates_sensor()(context)
        assert isinstance(done, dg.SensorResult)
        self.cursor = done.cursor
        events = [event for event in done.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        self.refused += [str(event.description) for event in events if not event.passed]
        return [request.partition_key for request in done.run_requests or []], str(done.skip_reason or "")


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def ticks(store: S3Server) -> Iterator[Ticks]:
    with between(store.endpoint_url) as state, opened(dg.DagsterInstance.ephemeral()) as instance:
        bucket = next(NAMES)
        s3_client(store.endpoint_url).create_bucket(Bucket=bucket, ACL="public-read")
        yield Ticks(store, state, instance, bucket)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"no_sign_request": False}, SourceAccessError, "no credentials were found"),
        ({"location": "s3://no-such-bucket/{plate}.sqlite"}, SourceNotFoundError, "s3://no-such-bucket/"),
        ({"location": "s3://no-such-bucket/{plate}/"}, SourceNotFoundError, "s3://no-such-bucket/"),
    ],
)
def test_what_does_not_pass_fails_the_tick_in_one_line(
    ticks: Ticks, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    ticks.put("B1/P1")
    assert ticks.tick()[0] == []
    before = ticks.cursor
    with pytest.raises(error, match=said) as caught:
        ticks.tick(**settings)
    assert "\n" not in str(caught.value)
    assert ticks.cursor == before
    assert ticks.tick()[0] == ["P1"]


@pytest.mark.parametrize("operation", ["ListObjects", "HeadObject", "GetObject"])
def test_a_store_that_is_too_busy_for_a_while_is_asked_again(ticks: Ticks, operation: str) -> None:
    ticks.put("B1/P1")
    if operation != "ListObjects":
        assert ticks.tick()[0] == []
    ticks.between.refused[operation] = (503, "SlowDown")
    for _ in range(3):
        asked, reason = ticks.tick()
        assert asked == []
        assert "503" in reason or "SlowDown" in reason
        assert "the next tick goes on" in reason
    ticks.between.refused.clear()
    assert [plate for _ in range(3) for plate in ticks.tick()[0]] == ["P1"]


def test_a_file_that_may_be_listed_and_not_read_comes_when_it_may(ticks: Ticks) -> None:
    ticks.put("B1/P1")
    assert ticks.tick()[0] == []
    ticks.between.refused["GetObject"] = (403, "AccessDenied")
    for _ in range(2):
        asked, reason = ticks.tick()
        assert asked == []
        assert "B1/P1/P1.sqlite: the store answered AccessDenied to GetObject" in reason
    ticks.between.refused.clear()
    assert [ticks.tick()[0], ticks.tick()[0]] == [["P1"], []]


def test_ages_are_told_by_the_clock_of_the_store(ticks: Ticks) -> None:
    ticks.put("B1/P1")
    ticks.between.ahead = -86400
    assert ticks.tick()[0] == []
    ticks.put("B1/P2")
    ticks.between.ahead = 120
    # The first is the same as before, the second is two minutes old where it lies.
    assert ticks.tick()[0] == ["P1", "P2"]
    ticks.put("B1/P3")
    ticks.between.ahead = -86400
    assert [ticks.tick()[0], ticks.tick()[0]] == [[], ["P3"]]


def test_a_listing_that_shrinks_is_told_and_repeats_nothing(ticks: Ticks) -> None:
    ticks.put("B1/P1", "B2/P2")
    assert [ticks.tick()[0], ticks.tick()[0]] == [[], ["P1", "P2"]]
    s3_client(ticks.store.endpoint_url).delete_object(Bucket=ticks.bucket, Key="B2/P2/P2.sqlite")
    asked, reason = ticks.tick()
    assert asked == []
    assert f"1 batches that were there are gone, such as s3://{ticks.bucket}/B2/" in reason
    ticks.put("B2/P2", "B2/P3")
    assert [ticks.tick()[0], ticks.tick()[0]] == [[], ["P3"]]


def test_a_key_that_leads_out_of_the_cache_is_refused_and_others_go_on(ticks: Ticks) -> None:
    ticks.put("B1/P1", "../P2", "B1/P3")
    # Files of this very minute are taken when they are the same in two ticks.
    asked = ticks.tick()[0] + ticks.tick()[0]
    assert sorted(filter(None, asked)) == ["P1", "P3"]
    assert ["leads out" in reason for reason in ticks.refused] == [True]
