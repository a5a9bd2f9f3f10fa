"""Chunk files of a lake: each is made where it is not there, whole and of its plan, and an equal one changes nothing."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.errors import CytoTableError, DamagedSourceError, PlanError
from cytotable_dagster.core.lake.chunks import moment, version_of
from cytotable_dagster.core.support.leftovers import owned_file
from cytotable_dagster_tests.core.lake.plates import LakePlate
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digest

ALL = {"Cells": (0, 1)}


@pytest.fixture(params=["written as files", "appended and split up"])
def made(tmp_path: Path, request: pytest.FixtureRequest) -> LakePlate:
    """A plate whose chunks of cells are made, and wait in files."""
    in_files = request.param == "written as files"
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 2)))
    found = LakePlate(tmp_path, "P1", source, in_order=not in_files)
    found.prepare()
    assert found.missing("Cells") == (0, 1)
    found.make(ALL)
    assert found.missing("Cells") == ()
    assert found.folder.under_way("Cells").exists() != in_files
    before = found.versions("Cells")
    found.split_up("Cells")
    assert found.versions("Cells") == before
    assert sorted(path.name for path in found.folder.chunks("Cells").iterdir()) == ["00000.parquet", "00001.parquet"]
    return found


def states(made: LakePlate) -> dict[str, tuple[str, str]]:
    """Digest and version of each chunk file of the cells."""
    return {
        path.name: (digest(path), version_of(made.plan, moment(path)))
        for path in sorted(made.folder.chunks("Cells").glob("*.parquet"))
    }


def test_an_equal_chunk_made_again_keeps_its_bytes_and_its_version(made: LakePlate) -> None:
    before = states(made)
    again = made.make(ALL)
    assert states(made) == before
    # They come as they are done.
    assert sorted(facts.rows for facts in again.values() if not isinstance(facts, CytoTableError)) == [2, 3]


@pytest.mark.parametrize("damage", ["cut", "rows", "plan"])
def test_a_chunk_that_is_not_as_its_plan_wants_it_is_missing_and_made_again(made: LakePlate, damage: str) -> None:
    before, path = states(made), made.folder.chunk("Cells", 1)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "rows":
        path.write_bytes(made.folder.chunk("Cells", 0).read_bytes())
    else:
        pq.write_table(pq.read_table(path).replace_schema_metadata(), path)
    assert made.missing("Cells") == (1,)
    made.make({"Cells": (1,)})
    after = states(made)
    assert {name: content for name, (content, _) in after.items()} == {n: content for n, (content, _) in before.items()}
    assert after["00000.parquet"] == before["00000.parquet"]
    assert after["00001.parquet"][1] != before["00001.parquet"][1]


def test_a_new_source_has_all_chunks_made_anew(made: LakePlate) -> None:
    before = states(made)
    made.source.unlink()
    write_sqlite(made.source, plate(JUMP, sites(3, 4)))
    with pytest.raises(PlanError, match="has changed since plate P1 was looked through"):
        made.make(ALL)
    made.prepare()
    assert made.missing("Cells") == (0, 1)
    made.make(ALL)
    assert not {version for _, version in states(made).values()} & {version for _, version in before.values()}


def test_a_chunk_that_fails_stops_no_other(made: LakePlate) -> None:
    for path in made.folder.chunks("Cells").iterdir():
        path.unlink()
    facts = made.source.stat()
    with closing(sqlite3.connect(made.source)) as link:
        page = link.execute("SELECT rootpage FROM sqlite_master WHERE name = 'Nuclei'").fetchone()[0]
        size = link.execute("PRAGMA page_size").fetchone()[0]
    with made.source.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    # Damage that came without a write, as disks do it.
    os.utime(made.source, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    outcomes = made.make({"Nuclei": (0,), **ALL})
    assert isinstance(outcomes["Nuclei", 0], DamagedSourceError)
    assert not made.folder.chunk("Nuclei", 0).exists()
    assert made.missing("Cells") == ()


def test_what_a_killed_run_left_goes_and_what_it_finished_stays(made: LakePlate) -> None:
    before = states(made)
    made.folder.chunk("Cells", 1).unlink()
    with owned_file(made.folder.chunks("Cells"), "00001.parquet") as half:
        pass
    half.write_bytes(b"PAR1")
    assert made.missing("Cells") == (1,)
    made.make({"Cells": (1,)})
    assert not half.exists()
    assert states(made)["00000.parquet"] == before["00000.parquet"]
    assert [content for content, _ in states(made).values()] == [content for content, _ in before.values()]
