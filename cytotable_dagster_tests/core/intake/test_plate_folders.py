"""Plates that are folders of CSV files: found when they are whole, again when they grow, in few requests."""

import itertools
import time

import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.arrivals import Memory
from cytotable_dagster.core.intake.patterns import find_by_pattern
from cytotable_dagster.core.storage.store import Store

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

from cytotable_dagster_tests.core.arriving import Place, names

FOLDERS = "{batch}/{plate}/analysis/"


def put_site(place: Place, plate: str, well: str, batch: str = "B1") -> None:
    for table in ("Image", "Cells"):
        place.put(f"{batch}/{plate}/analysis/{plate}-{well}-1/{table}.csv", f"{table},{well}".encode())


def looks(place: Place, memory: Memory, count: int, pattern: str = FOLDERS) -> tuple[Memory, list[list[str]]]:
    found = []
    for _ in range(count):
        seen = place.look(memory, pattern)
        assert seen.error is None
        memory = seen.memory
        found.append(names(seen))
    return memory, found


def test_a_folder_counts_when_it_is_the_same_in_two_looks_and_again_when_it_grew(place: Place) -> None:
    put_site(place, "P1", "A01")
    memory, found = looks(place, Memory(), 1)
    put_site(place, "P1", "A02")
    memory, more = looks(place, memory, 3)
    assert [*found, *more] == [[], [], ["P1"], []]
    put_site(place, "P1", "A03")
    memory, found = looks(place, memory, 3)
    assert found == [[], ["P1"], []]
    place.put("B1/P1/analysis/P1-A01-1/Cells.csv", b"measured anew")
    memory, found = looks(place, memory, 3)
    assert found == [[], ["P1"], []]
    place.delete("B1/P1/analysis/P1-A02-1/Cells.csv")
    assert looks(place, memory, 3)[1] == [[], ["P1"], []]


def test_what_is_told_of_a_folder(place: Place) -> None:
    put_site(place, "P1", "A01")
    place.put("B1/P1/analysis/P1-A01-1/outlines.png", b"no table")
    (found,) = place.look(place.look(Memory(), FOLDERS).memory, FOLDERS).ready
    assert found.uri == f"{place.root}B1/P1/analysis/"
    assert dict(found.places) == {"batch": "B1", "plate": "P1"}
    assert found.size == len(b"Image,A01") + len(b"Cells,A01")
    assert abs(found.modified - time.time()) < 120


def test_files_that_are_no_tables_and_folders_without_files_are_no_reason(place: Place) -> None:
    put_site(place, "P1", "A01")
    place.put("B1/P2/images/1.tiff", b"x")
    place.put("B1/loose.csv", b"x")
    memory, found = looks(place, Memory(), 2)
    assert found == [[], ["P1"]]
    place.put("B1/P1/analysis/pipeline.log", b"x")
    memory, found = looks(place, memory, 2)
    assert found == [[], []]
    # What was empty is seen when it is not.
    put_site(place, "P2", "A01")
    assert looks(place, memory, 3)[1] == [[], ["P2"], []]


@pytest.mark.parametrize("marker", ["DONE", "*.done", "P1-A01-1/Experiment.csv"])
def test_a_plate_waits_for_its_marker(place: Place, marker: str) -> None:
    place.marker = marker
    put_site(place, "P1", "A01")
    place.put("B1/P1/analysis/P1-A01-1/DONE", b"")
    place.put("B1/P1/analysis/P1-A01-1/x.done", b"")
    memory, found = looks(place, Memory(), 4)
    assert found == [[]] * 4
    place.put(f"B1/P1/analysis/{marker.replace('*', 'all')}", b"")
    memory, found = looks(place, memory, 2)
    assert found == [["P1"], []]


def test_many_plates_without_their_marker_hold_up_none_that_has_it(place: Place) -> None:
    place.marker = "DONE"
    for number in range(30):
        put_site(place, f"P{number:02d}", "A01")
    memory, found = looks(place, Memory(), 2)
    # A few are looked into each time, the others by turns.
    assert (len(memory.waiting), len(memory.handled)) == (10, 20)
    for plate in ("P05", "P29"):
        place.put(f"B1/{plate}/analysis/DONE", b"")
    put_site(place, "Q1", "A01")
    place.put("B1/Q1/analysis/DONE", b"")
    memory, more = looks(place, memory, 3)
    assert found == [[], []]
    assert sorted(itertools.chain(*more)) == ["P05", "P29", "Q1"]


@pytest.mark.parametrize(
    "pattern", ["{plate}/", "{batch}/{plate}/", "{batch}/{plate}/{plate}_{batch}/", "a/{plate}_csv/"]
)
def test_patterns_of_other_shapes(place: Place, pattern: str) -> None:
    for plate in ("P1", "P2"):
        place.put(f"{pattern.format(plate=plate, batch='B1')}Cells.csv", b"x")
        place.put(f"{pattern.format(plate=plate, batch='B1')}MyExpt_Image.csv.gz", b"x")
    assert looks(place, Memory(), 3, pattern)[1] == [[], ["P1", "P2"], []]
    plate = find_by_pattern(place.root + pattern, "P2", Store.checked(place.cloud))
    assert plate.uri == place.root + pattern.format(plate="P2", batch="B1")


def test_looks_that_run_out_of_time_go_on_with_the_next(place: Place) -> None:
    for number in range(12):
        put_site(place, f"P{number:02d}", "A01", f"B{number % 3}")
    memory, found = Memory(), []
    for _ in range(40):
        ticking = itertools.count()
        seen = place.look(memory, FOLDERS, seconds=8, now=lambda ticking=ticking: float(next(ticking)))
        memory = seen.memory
        found += names(seen)
    assert sorted(found) == [f"P{number:02d}" for number in range(12)]


def test_all_folders_have_their_turn_and_no_look_asks_for_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cytotable_dagster.core.intake.arrivals._CALLS_IN_TURN", 6)
    for number in range(20):
        put_site(place, f"P{number:02d}", "A01")
    memory, found = looks(place, Memory(), 2)
    assert len(found[1]) == 20
    put_site(place, "P19", "A02")
    again, calls = [], []
    for _ in range(9):
        seen = place.look(memory, FOLDERS)
        memory = seen.memory
        again += names(seen)
        calls.append(place.calls)
    assert again == ["P19"]
    # The batches and their plates; a folder of this machine is one call, and so is each below it.
    assert max(calls) <= 2 + 6 + 3 + 3


@pytest.mark.parametrize(
    ("text", "marker"),
    [("s3://b/{plate}/{run}/", None), ("s3://b/{plate}.sqlite", "DONE"), ("s3://b/plates/", None)],
)
def test_a_pattern_that_cannot_be_looked_at_is_refused_in_one_line(text: str, marker: str | None) -> None:
    with pytest.raises(OptionError) as caught:
        Pattern(text, marker)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
