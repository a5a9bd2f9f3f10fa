"""Tables of a lake that are under way: what lies in one is there, whatever becomes of the process, and becomes the
result without being copied."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.lake import results
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.planning import cutting
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.core.lake.plates import LakePlate
from cytotable_dagster_tests.core.parquet.page_walk import check_file
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digest

NAMES = ("Image", "Cells", "Cytoplasm", "Nuclei")
TABLES = (*NAMES, SINGLE_CELLS)
CHUNKS = 4


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 2, 0, 4, 5, 2)))


def lake_plate(source: Path, name: str, *, in_order: bool = True) -> LakePlate:
    found = LakePlate(source.parent / name, "P1", source, chunks=CHUNKS, in_order=in_order)
    found.root.mkdir()
    found.prepare()
    return found


def make_all(made: LakePlate) -> None:
    outcomes = made.make({name: made.missing(name) for name in NAMES}, joined=True)
    assert not [outcome for outcome in outcomes.values() if isinstance(outcome, CytoTableError)]


def contents(made: LakePlate) -> dict[str, str]:
    for name in TABLES:
        check_file(made.folder.result(name))
    return {name: digest(made.folder.result(name)) for name in TABLES}


@pytest.fixture
def expected(source: Path) -> dict[str, str]:
    """The results of chunks that were files."""
    made = lake_plate(source, "files", in_order=False)
    made.convert(joined=True)
    return contents(made)


@pytest.fixture
def made(source: Path) -> LakePlate:
    """A plate whose tables are under way, with all of their chunks."""
    found = lake_plate(source, "under way")
    make_all(found)
    assert [name for name in TABLES if found.folder.under_way(name).exists()] == list(TABLES)
    assert not list(found.folder.path.glob("chunks/*/*.parquet"))
    return found


@pytest.mark.parametrize("values", [None, 30], ids=["a batch a chunk", "several batches"])
def test_tables_become_results_without_being_copied(
    source: Path, monkeypatch: pytest.MonkeyPatch, values: int | None
) -> None:
    if values is not None:
        monkeypatch.setattr(cutting, "_BATCH_VALUES", values)
    others, made = lake_plate(source, "files", in_order=False), lake_plate(source, "under way")
    assert (max(map(len, made.plan.batches)) > 2) == (values is not None)
    others.convert(joined=True)
    make_all(made)
    files = {name: made.folder.under_way(name).stat().st_ino for name in TABLES}
    versions = {name: made.versions(name) for name in NAMES}
    made.convert(joined=True)
    assert {name: made.folder.result(name).stat().st_ino for name in TABLES} == files
    assert {name: made.versions(name) for name in NAMES} == versions
    assert contents(made) == contents(others)
    pieces = {name: [chunk.piece for chunk in record_of(made.folder, name)] for name in TABLES}
    assert pieces == {name: [chunk.piece for chunk in record_of(others.folder, name)] for name in TABLES}
    assert not made.folder.path.joinpath("chunks").exists()


def record_of(folder: PlateFolder, name: str) -> tuple[results.ChunkPart, ...]:
    record = folder.made(name)
    assert record is not None
    return record.chunks


def _cut(made: LakePlate) -> None:
    path = made.folder.under_way("Cells")
    os.truncate(path, path.stat().st_size - 10)


def _begun(made: LakePlate) -> None:
    """As a process leaves it that is killed while it appends a chunk."""
    with made.folder.under_way("Cells").open("ab") as file:
        file.write(b"PAR1 and more")
    made.folder.footer("Cells", CHUNKS - 1).unlink()


def _footer_cut(made: LakePlate) -> None:
    path = made.folder.footer("Cells", CHUNKS - 1)
    os.truncate(path, path.stat().st_size - 3)


def _moved(made: LakePlate) -> None:
    """A footer that is another chunk's."""
    made.folder.footer("Cells", CHUNKS - 1).write_bytes(made.folder.footer("Cells", 0).read_bytes())


@pytest.mark.parametrize("damage", [_cut, _begun, _footer_cut, _moved])
def test_what_of_a_table_is_not_whole_is_made_again_and_no_more(
    made: LakePlate, expected: dict[str, str], damage: Callable[[LakePlate], None]
) -> None:
    before = made.versions("Cells")
    damage(made)
    assert made.missing("Cells") == (CHUNKS - 1,)
    made.convert(joined=True)
    after = made.versions("Cells")
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    assert contents(made) == expected
    assert not list(made.folder.path.rglob("*.footer"))


def test_tables_go_on_where_a_killed_process_left_them(made: LakePlate, expected: dict[str, str]) -> None:
    before = {name: made.versions(name) for name in NAMES}
    for name in TABLES:
        for chunk in (2, 3):
            made.folder.footer(name, chunk).unlink()
    assert {made.missing(name) for name in NAMES} == {(2, 3)}
    files = {name: made.folder.under_way(name).stat().st_ino for name in TABLES}
    make_all(made)
    assert not list(made.folder.path.glob("chunks/*/*.parquet"))
    made.convert(joined=True)
    assert {name: made.versions(name)[:2] for name in NAMES} == {name: before[name][:2] for name in NAMES}
    assert {name: made.folder.result(name).stat().st_ino for name in TABLES} == files
    assert contents(made) == expected


def test_a_table_whose_footer_was_written_and_that_was_not_moved_becomes_the_result(
    made: LakePlate, expected: dict[str, str]
) -> None:
    finished = lake_plate(made.source, "finished")
    finished.convert(joined=True)
    made.folder.under_way("Cells").write_bytes(finished.folder.result("Cells").read_bytes())
    made.convert(joined=True)
    assert contents(made) == expected


def test_a_chunk_of_a_table_under_way_that_is_made_again_is_another_only_if_its_bytes_are(
    made: LakePlate, expected: dict[str, str]
) -> None:
    before = made.versions("Nuclei")
    made.make({"Nuclei": (1,)})
    assert made.versions("Nuclei") == before
    made.convert(joined=True)
    assert contents(made) == expected
    made.write_otherwise("Nuclei", 1)
    changed = made.versions("Nuclei")
    assert [old == new for old, new in zip(before, changed, strict=True)] == [True, False, True, True]


def test_the_joined_table_is_made_of_compartments_that_are_under_way(made: LakePlate, expected: dict[str, str]) -> None:
    made.folder.footer(SINGLE_CELLS, 1).unlink()
    with made.folder.locked():
        results.single_cells(made.plan, made.folder, made.runner)
    assert digest(made.folder.result(SINGLE_CELLS)) == expected[SINGLE_CELLS]
    made.convert(joined=True)
    assert contents(made) == expected


def test_another_source_leaves_nothing_of_a_table_under_way(made: LakePlate) -> None:
    made.source.unlink()
    write_sqlite(made.source, plate(JUMP, sites(3, 4, 1, 1)))
    made.prepare()
    assert made.missing("Cells") == tuple(range(CHUNKS))
    made.convert(joined=True)
    others = lake_plate(made.source, "others", in_order=False)
    others.convert(joined=True)
    assert contents(made) == contents(others)
    assert not made.folder.path.joinpath("chunks").exists()


def test_a_chunk_that_fails_is_told_and_those_behind_it_are_made(tmp_path: Path) -> None:
    source = tmp_path / "W.sqlite"
    write_wide_plate(source, images=8, objects_per_image=20, features=300)
    orders = [
        LakePlate(tmp_path / name, "W", source, chunks=8, in_order=name == "order") for name in ("order", "files")
    ]
    for made in orders:
        made.root.mkdir()
        made.prepare()
    # Damage that comes without a write, as disks do it.
    facts = source.stat()
    with source.open("r+b") as file:
        file.seek(facts.st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    os.utime(source, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    found = [
        {what: str(outcome) if isinstance(outcome, CytoTableError) else outcome.rows for what, outcome in made.items()}
        for made in (made.make(dict.fromkeys(NAMES, range(8)), joined=True) for made in orders)
    ]
    failed = [what for what, outcome in found[0].items() if isinstance(outcome, str)]
    assert 0 < len(failed) < 8
    assert found[0] == found[1]
    assert [orders[0].missing(name) for name in NAMES] == [orders[1].missing(name) for name in NAMES]
