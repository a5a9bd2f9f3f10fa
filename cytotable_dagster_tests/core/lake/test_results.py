"""Results of a lake: made of their chunks, again only where one of these is another, and whole or not at all."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import xxhash

from cytotable_dagster import convert
from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.execution.runner import runner, thread_config
from cytotable_dagster.core.lake import chunks, plans, results
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.core.lake.plates import LakePlate
from cytotable_dagster_tests.core.parquet.page_walk import check_file
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digest


@pytest.fixture
def made(tmp_path: Path) -> LakePlate:
    """A plate that is converted."""
    found = LakePlate(tmp_path, "P1", write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 2, 0, 4))))
    found.convert(joined=True)
    return found


def versions(made: LakePlate) -> dict[str, str]:
    """What tells each result from others of its name, as Dagster is told."""
    plan = plans.kept_plan("P1", made.folder, made.options)
    return {name: results.result_version(plan, made.folder, name) for name in (*plan.compartments, SINGLE_CELLS)}


def test_results_have_the_rows_of_a_conversion_without_a_lake(made: LakePlate, tmp_path: Path) -> None:
    convert(made.source, tmp_path / "out", add_tablenumber=True)
    convert(made.source, tmp_path / "joined.parquet", add_tablenumber=True)
    for name in versions(made):
        own = pq.read_table(tmp_path / ("joined.parquet" if name == SINGLE_CELLS else f"out/{name}.parquet"))
        check_file(made.folder.result(name))
        assert pq.read_table(made.folder.result(name)).select(own.column_names) == own


def test_what_is_there_is_left_alone_and_tells_the_seconds_of_its_making(made: LakePlate) -> None:
    before, first = versions(made), {name: facts.seconds for name, facts in made.convert(joined=True).items()}
    again = made.convert(joined=True)
    assert versions(made) == before
    assert {name: facts.seconds for name, facts in again.items()} == first
    assert min(first.values()) > 0


def waiting(made: LakePlate) -> list[str]:
    """What lies beside the results, plan and records aside."""
    return sorted(path.name for path in made.folder.path.iterdir() if path.name[0] != "." and path.suffix != ".parquet")


def test_nothing_lies_beside_the_results_and_they_take_next_to_all_the_room(tmp_path: Path) -> None:
    source = tmp_path / "W.sqlite"
    write_wide_plate(source, images=8, objects_per_image=200, features=300)
    made = LakePlate(tmp_path, "W", source)
    made.convert(joined=True)
    assert waiting(made) == []
    all_bytes = sum(path.stat().st_size for path in made.folder.path.rglob("*") if path.is_file())
    results_bytes = sum(path.stat().st_size for path in made.folder.path.glob("*.parquet"))
    print(f"{all_bytes:,} bytes in the lake, {all_bytes / results_bytes:.3f} times those of the results")
    assert all_bytes <= 1.05 * results_bytes


def test_an_equal_chunk_made_again_leaves_the_results_alone(made: LakePlate) -> None:
    before = versions(made)
    made.make({"Nuclei": (0, 1), "Image": (1,)})
    made.convert(joined=True)
    assert versions(made) == before
    assert waiting(made) == []


def test_chunks_joined_as_they_were_read_make_the_table_that_joining_its_compartments_makes(made: LakePlate) -> None:
    plan, content = plans.kept_plan("P1", made.folder, made.options), digest(made.folder.result(SINGLE_CELLS))
    made.folder.remove(SINGLE_CELLS)
    results.single_cells(plan, made.folder, lambda scratch: runner(thread_config(1), scratch))
    assert digest(made.folder.result(SINGLE_CELLS)) == content
    for name in versions(made):
        made.folder.remove(name)
    every = dict.fromkeys(plan.compartments, (0, 1))
    made.make({**every, "Cells": (0,)}, joined=True)
    assert [path.name for path in sorted(made.folder.chunks(SINGLE_CELLS).glob("*.parquet"))] == ["00000.parquet"]
    made.make(every, joined=True)
    with made.folder.locked():
        results.single_cells(plan, made.folder, _nothing_to_join)
    assert digest(made.folder.result(SINGLE_CELLS)) == content


def _nothing_to_join(_: Path) -> None:
    raise AssertionError("a chunk is joined again")


def test_what_of_a_chunk_cannot_be_made_is_told_and_the_rest_is_made(made: LakePlate) -> None:
    for name in versions(made):
        made.folder.remove(name)
    (made.folder.chunk("Nuclei", 1) / "in the way").mkdir(parents=True)
    every = dict.fromkeys(("Image", "Cells", "Cytoplasm", "Nuclei"), (0, 1))
    failed = {what for what, found in made.make(every, joined=True).items() if isinstance(found, Exception)}
    assert failed == {("Nuclei", 1)}
    assert [made.missing(name) for name in every] == [(), (), (), (1,)]


def test_another_chunk_replaces_its_own_rows_in_its_compartment_and_in_the_joined_table(made: LakePlate) -> None:
    before, contents = versions(made), {name: digest(made.folder.result(name)) for name in versions(made)}
    encoded = {name: pieces(made, name) for name in ("Nuclei", SINGLE_CELLS)}
    made.write_otherwise("Nuclei", 0)
    made.convert(joined=True)
    after = versions(made)
    assert {name for name in after if after[name] != before[name]} == {"Nuclei", SINGLE_CELLS}
    assert digest(made.folder.result("Nuclei")) != contents["Nuclei"]
    check_file(made.folder.result("Nuclei"))
    assert pieces(made, "Nuclei")[0] != encoded["Nuclei"][0]
    assert pieces(made, "Nuclei")[1] == encoded["Nuclei"][1]
    assert pieces(made, SINGLE_CELLS) == encoded[SINGLE_CELLS], "the same values were joined"
    # Written by this release again, it is another once more, and all is as it was.
    made.make({"Nuclei": (0,)})
    assert waiting(made) == ["chunks"]
    made.convert(joined=True)
    assert {name: digest(made.folder.result(name)) for name in after} == contents
    assert waiting(made) == []


def pieces(made: LakePlate, name: str) -> list[str]:
    """Digests of the encoded rows of each chunk in a result."""
    record, content = made.folder.made(name), made.folder.result(name).read_bytes()
    assert record is not None
    found = [chunk.piece for chunk in record.chunks]
    encoded = [content[piece.at : piece.at + piece.size] for piece in found]
    # A joined chunk is told by what it is made of.
    sums = [0 if name == SINGLE_CELLS else xxhash.xxh3_64_intdigest(part) for part in encoded]
    assert [piece.xxh3 for piece in found] == sums
    return [digest(part) for part in encoded]


def test_a_damaged_result_is_made_again_and_no_other(made: LakePlate) -> None:
    before, path = versions(made), made.folder.result("Cells")
    content = path.read_bytes()
    path.write_bytes(content[:-50])
    made.convert(joined=True)
    assert digest(path) == digest(content)
    after = versions(made)
    assert {name for name in after if after[name] != before[name]} == {"Cells"}


def test_a_result_that_another_put_there_is_made_again(made: LakePlate) -> None:
    path = made.folder.result("Cells")
    content, moment = digest(path), path.stat().st_mtime_ns
    facts, table = pq.read_metadata(path).metadata, pq.read_table(path)
    # Of this plan by its footer, and with as many rows.
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table.slice(0, 1).take([0] * table.num_rows))
        writer.add_key_value_metadata(facts)
    os.utime(path, ns=(moment + 1, moment + 1))
    made.convert(joined=True)
    assert digest(path) == content


@pytest.mark.parametrize("fault", ["gone", "cut", "a chunk fewer", "text for a number"])
def test_a_result_whose_record_is_not_as_it_was_written_is_made_again(made: LakePlate, fault: str) -> None:
    content, record = digest(made.folder.result("Cells")), made.folder.record("Cells")
    found = json.loads(record.read_text())
    if fault == "gone":
        record.unlink()
    elif fault == "cut":
        record.write_text(record.read_text()[:-9])
    elif fault == "a chunk fewer":
        found["record"]["chunks"].pop()
        record.write_text(json.dumps(found))
    else:
        found["record"]["chunks"][0]["piece"]["at"] = "4"
        record.write_text(json.dumps(found))
    assert made.missing("Cells") == (0, 1)
    made.convert(joined=True)
    assert digest(made.folder.result("Cells")) == content


def test_single_cells_are_not_made_of_a_chunk_that_is_gone(made: LakePlate) -> None:
    plan, content = plans.kept_plan("P1", made.folder, made.options), digest(made.folder.result(SINGLE_CELLS))
    made.folder.result("Cytoplasm").unlink()
    with pytest.raises(SourceNotFoundError, match="Cytoplasm has to be made again"):
        results.single_cells(plan, made.folder, lambda scratch: runner(thread_config(1), scratch))
    assert digest(made.folder.result(SINGLE_CELLS)) == content


def test_fewer_chunks_give_the_same_rows_and_leave_none_of_the_others(made: LakePlate) -> None:
    before = {name: pq.read_table(made.folder.result(name)) for name in versions(made)}
    fewer = LakePlate(made.root, "P1", made.source, chunks=1)
    fewer.convert(joined=True)
    chunks.forget_old_compartments(plans.kept_plan("P1", fewer.folder, fewer.options), fewer.folder)
    for name in before:
        check_file(fewer.folder.result(name))
    assert {name: pq.read_table(fewer.folder.result(name)) for name in before} == before
    assert waiting(fewer) == []
