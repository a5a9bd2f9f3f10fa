"""Plates that arrive in a store or a folder: found once, when they are whole, in few requests."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cytotable_dagster.core.errors import DownloadError, OptionError, SourceAccessError, SourceNotFoundError
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.arrivals import Memory
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.storage.store import Store

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

from cytotable_dagster.demo.s3_server import S3Server
from cytotable_dagster_tests.core.arriving import Place, bucket, folder, names

LONG_AGO = 1_600_000_000


def test_a_file_counts_when_it_is_the_same_in_two_looks(place: Place) -> None:
    place.put("B1/P1/P1.sqlite", b"half")
    first = place.look(Memory())
    assert names(first) == []
    place.put("B1/P1/P1.sqlite", b"half and more")
    second = place.look(first.memory)
    assert names(second) == []
    third = place.look(second.memory)
    (found,) = third.ready
    assert (found.uri, found.size, dict(found.places)) == (
        f"{place.root}B1/P1/P1.sqlite",
        13,
        {"batch": "B1", "plate": "P1"},
    )
    assert names(place.look(third.memory)) == []


def test_only_files_that_fit_the_pattern_are_plates(place: Place) -> None:
    for name in ("B1/P1/P1.sqlite", "B1/P1/P1.csv", "B1/P1/P2.sqlite", "B1/P1/deep/P1.sqlite", "P9.sqlite", "B2/x/y"):
        place.put(name, b"x")
    assert names(place.look(place.look(Memory()).memory)) == ["P1"]


@pytest.mark.parametrize("pattern", ["{plate}.sqlite", "{plate}/data.sqlite", "deep/{source}/{batch}/{plate}.sqlite"])
def test_patterns_of_other_shapes(place: Place, pattern: str) -> None:
    for plate in ("P1", "P1-x", "P2"):
        place.put(pattern.format(plate=plate, source="source_4", batch="B1"), b"x")
        place.put(f"{pattern.format(plate=plate, source='s', batch='b').rpartition('/')[0]}/{plate}/more.sqlite", b"x")
    assert set(names(place.look(place.look(Memory(), pattern).memory, pattern))) >= {"P1", "P1-x", "P2"}


def test_a_changed_file_comes_again_and_an_unchanged_one_does_not(place: Place) -> None:
    for plate in ("P1", "P2"):
        place.put(f"B1/{plate}/{plate}.sqlite", b"first")
    memory = place.settled()
    place.put("B1/P1/P1.sqlite", b"other")
    second = place.look(memory)
    assert names(place.look(second.memory)) == ["P1"]


def test_what_shrinks_is_kept_in_mind(place: Place) -> None:
    for batch in ("B1", "B2"):
        place.put(f"{batch}/P{batch}/P{batch}.sqlite", b"x")
    memory = place.settled()
    place.delete("B2/PB2/PB2.sqlite")
    if place.root.startswith("/"):
        (Path(place.root) / "B2" / "PB2").rmdir()
        (Path(place.root) / "B2").rmdir()
    seen = place.look(memory)
    assert [prefix.removeprefix(place.root) for prefix in seen.gone] == ["B2/"]
    place.put("B2/PB2/PB2.sqlite", b"x")
    again = place.look(seen.memory)
    if place.root.startswith("s3://"):  # An object that comes back unchanged has the ETag that it had.
        assert names(place.look(again.memory)) == []


def test_no_more_than_the_limit_comes_at_once_and_none_is_lost(place: Place) -> None:
    plates = [f"P{number:02d}" for number in range(23)]
    for number, plate in enumerate(plates):
        place.put(f"B{number % 3}/{plate}/{plate}.sqlite", b"x")
    memory, found = place.look(Memory()).memory, []
    for _ in range(3):
        seen = place.look(memory, limit=10)
        memory = seen.memory
        found.append(names(seen))
    assert [len(some) for some in found] == [10, 10, 3]
    assert sorted(itertools.chain(*found)) == plates


def test_a_look_that_runs_out_of_time_goes_on_with_the_next(place: Place) -> None:
    for number in range(12):
        place.put(f"B{number:02d}/P{number}/P{number}.sqlite", b"x")
    memory, looks = Memory(), []
    for _ in range(30):
        ticking = iter(range(10**6))
        seen = place.look(memory, seconds=8, now=lambda ticking=ticking: float(next(ticking)))
        memory = seen.memory
        looks.append(seen)
        if len(memory.handled) == 12:
            break
    assert not looks[0].whole
    assert sorted(itertools.chain(*map(names, looks))) == sorted(f"P{number}" for number in range(12))


def test_old_files_need_no_second_look(tmp_path: Path) -> None:
    place = folder(tmp_path / "plates")
    place.put("B1/P1/P1.sqlite", b"x")
    os.utime(tmp_path / "plates/B1/P1/P1.sqlite", (LONG_AGO, LONG_AGO))
    assert names(place.look(Memory())) == ["P1"]


def test_a_clock_that_is_behind_makes_nothing_ready_early_nor_never(tmp_path: Path) -> None:
    place = folder(tmp_path / "plates")
    place.put("B1/P1/P1.sqlite", b"x")
    ahead = time.time() + 86400
    os.utime(tmp_path / "plates/B1/P1/P1.sqlite", (ahead, ahead))
    first = place.look(Memory())
    assert names(first) == []
    assert names(place.look(first.memory)) == ["P1"]


@pytest.mark.parametrize("pattern", ["{batch}/{plate}.sqlite", "{batch}/{plate}/"])
def test_a_look_through_everything_finds_what_changed_anywhere(tmp_path: Path, pattern: str) -> None:
    place, ending = folder(tmp_path / "plates"), "/Cells.csv" if pattern.endswith("/") else ".sqlite"
    files = [f"B{number:02d}/P{number:02d}{ending}" for number in range(80)]
    for file in files:
        place.put(file, b"x")
    memory = place.settled(pattern)
    assert len(memory.handled) == 80
    # Long after, when no batch has changed lately, a look in turn comes to some of them only.
    changed = files[::3]
    for file in changed:
        place.put(file, b"other")
        os.utime(tmp_path / "plates" / file, (LONG_AGO, LONG_AGO))
    plates = [file[4:7] for file in changed]
    later = time.time() + 86_400
    assert len(names(place.look(memory, pattern, now=lambda: later))) < len(plates)
    assert names(place.look(memory, pattern, every=True, now=lambda: later)) == plates


def test_another_pattern_begins_anew(place: Place) -> None:
    place.put("B1/P1/P1.sqlite", b"x")
    memory = place.settled()
    seen = place.look(place.look(memory, "{batch}/{plate}/P1.sqlite").memory, "{batch}/{plate}/P1.sqlite")
    assert names(seen) == ["P1"]


@pytest.mark.parametrize("text", [None, "", "nonsense", "{}", "c-oB0"])
def test_a_memory_that_cannot_be_read_is_an_empty_one(text: str | None) -> None:
    assert Memory.loaded(text) == Memory()


@pytest.mark.parametrize("text", ["s3://bucket/plates/", "{plate}.sqlite"])
def test_a_pattern_that_cannot_be_listed_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="plate"):
        Pattern(text)


def test_a_plates_thousands_of_other_files_are_passed_over() -> None:
    plates = [f"p/B1/{plate}/" for plate in ("P1", "P2")]
    files = [*(f"{number:05d}.csv" for number in range(2100)), *(f"x{number:05d}.csv" for number in range(2100))]
    keys = [f"{plate}{file}" for plate in plates for file in (*files, f"{plate[-3:-1]}.sqlite")]
    with _large_bucket(keys) as place:
        memory = place.look(Memory()).memory
        # The batches; a page and what is around the plate's file, for each of the two plates, and the end.
        assert place.calls <= 6
        assert names(place.look(memory)) == ["P1", "P2"]


def test_a_large_bucket_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plates = [f"p/Batch{batch:02d}/BR{batch:02d}{plate:03d}/" for batch in range(6) for plate in range(40)]
    files = [f"{number:02d}.csv" for number in range(49)]
    keys = [f"{plate}{file}" for plate in plates for file in (*files, f"{plate[-8:-1]}.sqlite")]
    with _large_bucket(keys) as place:
        monkeypatch.setattr("cytotable_dagster.core.intake.seen_files.SETTLED_AFTER", -1)
        first = place.look(Memory(), limit=10**6)
        # The batches, and two pages for each.
        assert place.calls == 1 + 6 * 2
        assert len(first.ready) == len(plates) == 240
        place.put("p/Batch07/New/New.sqlite", b"new")
        place.put("p/New/P1/P1.sqlite", b"new")
        memory, found = first.memory, []
        for _ in range(3):
            seen = place.look(memory)
            # The batches, the new one, ten pages of those that changed lately, ten of the others.
            assert place.calls <= 1 + 1 + 10 + 10
            memory = seen.memory
            found.append(names(seen))
        assert "P1" in found[0]
        assert sorted(itertools.chain(*found)) == ["New", "P1"]
        assert len(memory.dumped()) < 10 * 240


@contextmanager
def _large_bucket(keys: list[str]) -> Iterator[Place]:
    """A server in this process, filled without requests."""
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    inside = s3_backends["123456789012"]["aws"]
    try:
        inside.create_bucket("large", "us-east-1")
        for key in keys:
            inside.put_object("large", key, b"SQLite format 3\0")
        host, port = running.get_host_and_port()
        cloud = {"endpoint_url": f"http://{host}:{port}", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        yield Place(
            "s3://large/p/",
            lambda key, content: inside.put_object("large", key, content),
            lambda key: inside.delete_object("large", key),
            cloud,
        )
    finally:
        running.stop()
        inside.reset()


class _Busy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def busy() -> Iterator[str]:
    store = ThreadingHTTPServer(("127.0.0.1", 0), _Busy)
    Thread(target=store.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{store.server_port}"
    store.shutdown()
    store.server_close()


def test_a_store_that_fails_loses_nothing_and_the_next_look_goes_on(server: S3Server, busy: str) -> None:
    place = bucket(server, "busy")
    place.put("B1/P1/P1.sqlite", b"x")
    first = place.look(Memory())
    well, place.cloud = place.cloud, {**place.cloud, "endpoint_url": busy}
    failed = place.look(first.memory)
    assert isinstance(failed.error, DownloadError)
    assert "s3://busy/" in str(failed.error)
    assert "\n" not in str(failed.error)
    assert failed.memory == first.memory
    place.cloud = well
    assert names(place.look(failed.memory)) == ["P1"]


def test_what_is_not_there_or_refused_is_said(server: S3Server, tmp_path: Path) -> None:
    place = bucket(server, "refused")
    nowhere = Place("s3://no-such-bucket/", place.put, place.delete, place.cloud)
    assert isinstance(nowhere.look(Memory()).error, SourceNotFoundError)
    unsigned = Place(place.root, place.put, place.delete, {"endpoint_url": server.endpoint_url})
    assert isinstance(unsigned.look(Memory()).error, SourceAccessError)
    folder = Place(f"{tmp_path}/nothing/", place.put, place.delete)
    assert isinstance(folder.look(Memory()).error, SourceNotFoundError)


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    with listing(Pattern(f"{tmp_path}/{{plate}}.sqlite"), Store()) as source:
        with pytest.raises(SourceNotFoundError, match="gone"):
            source.begins(f"{tmp_path}/P1.sqlite", 4)
        with pytest.raises(SourceAccessError, match="cannot be read"):
            source.begins(str(tmp_path), 4)


def test_no_more_than_the_limit_comes_of_one_page_and_the_rest_of_it_comes_next(tmp_path: Path) -> None:
    place = folder(tmp_path / "plates")
    for number in range(7):
        place.put(f"B/P{number}.sqlite", b"x")
        # Old ones need no second look, so that all of the page could come at once.
        os.utime(tmp_path / f"plates/B/P{number}.sqlite", (LONG_AGO, LONG_AGO))
    memory, found = Memory(), []
    for _ in range(4):
        seen = place.look(memory, "{batch}/{plate}.sqlite", limit=3)
        memory = seen.memory
        found.append(names(seen))
    assert found == [["P0", "P1", "P2"], ["P3", "P4", "P5"], ["P6"], []]


def test_batches_that_changed_lately_are_looked_through_each_time_and_others_by_turns(tmp_path: Path) -> None:
    place = folder(tmp_path / "plates")
    for number in range(40):
        place.put(f"B{number:02d}/P{number:02d}.sqlite", b"x")
    memory = place.settled("{batch}/{plate}.sqlite")
    # The one that changed last would be the last to have its turn.
    place.put("B39/New.sqlite", b"x")
    os.utime(tmp_path / "plates/B39/New.sqlite", (LONG_AGO, LONG_AGO))
    later = time.time() + 7200
    assert names(place.look(memory, "{batch}/{plate}.sqlite", now=lambda: later)) == []
    assert names(place.look(memory, "{batch}/{plate}.sqlite")) == ["New"]
