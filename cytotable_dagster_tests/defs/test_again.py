"""What is done again, and what is marked, when something is done again or has changed."""

import os
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from cytotable_dagster.core.intake.listing import look_at
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.leftovers import owned_file
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster_tests.core.lake.plates import write_otherwise
from cytotable_dagster_tests.core.plates import JUMP, plate, sites
from cytotable_dagster_tests.defs.deployment import CHUNKS, COMPARTMENTS, Deployment, failures
from cytotable_dagster_tests.digests import digest

RESULTS = ("image", "cells", "cytoplasm", "nuclei")


def written(deployment: Deployment, name: str) -> dict[str, int]:
    """When each Parquet file of a plate was written."""
    folder = deployment.lake(name).path
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*.parquet")
        if "_about" not in path.parts
    }


def rewritten(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, moment in after.items() if before.get(name) != moment}


def seconds(deployment: Deployment, name: str) -> dict[str, float]:
    """What the page tells of the time that each result took."""
    return {asset: deployment.metadata(asset, name)["seconds"] for asset in (*RESULTS, "single_cells")}


def convert(deployment: Deployment, name: str) -> None:
    result = deployment.convert(name)
    assert result.success, failures(result)


def test_a_second_run_writes_nothing_and_tells_the_seconds_of_the_first(deployment: Deployment) -> None:
    deployment.add("Twice")
    convert(deployment, "Twice")
    before, took = written(deployment, "Twice"), seconds(deployment, "Twice")
    convert(deployment, "Twice")
    assert rewritten(before, written(deployment, "Twice")) == set()
    assert seconds(deployment, "Twice") == took
    assert min(took.values()) > 0
    assert deployment.outdated("Twice") == {}


def test_one_chunk_again_with_equal_bytes_outdates_nothing(deployment: Deployment) -> None:
    deployment.add("Equal")
    convert(deployment, "Equal")
    before, event = written(deployment, "Equal"), deployment.last("cells_chunk", "Equal|02")
    assert deployment.materialize_chunks("Equal", 2, 2, "cells_chunk").success
    assert deployment.last("cells_chunk", "Equal|02") != event
    assert rewritten(before, written(deployment, "Equal")) == set()
    assert deployment.outdated("Equal") == {}


def test_one_chunk_with_other_bytes_outdates_what_is_made_of_it_and_one_run_mends_that(deployment: Deployment) -> None:
    deployment.add("Chunk")
    convert(deployment, "Chunk")
    content = digest(deployment.lake("Chunk").result("Cells"))
    write_otherwise(deployment.lake("Chunk"), "Cells", 2)
    convert(deployment, "Chunk")
    assert digest(deployment.lake("Chunk").result("Cells")) != content
    before = written(deployment, "Chunk")
    assert deployment.materialize_chunks("Chunk", 2, 2, "cells_chunk").success
    assert rewritten(before, written(deployment, "Chunk")) == {"chunks/Cells/00002.parquet"}
    assert deployment.outdated("Chunk") == {"cells Chunk": "STALE", "single_cells Chunk": "STALE"}
    convert(deployment, "Chunk")
    assert rewritten(before, written(deployment, "Chunk")) == {"Cells.parquet", "single_cells.parquet"}
    assert digest(deployment.lake("Chunk").result("Cells")) == content
    assert deployment.outdated("Chunk") == {}


def test_a_range_of_chunks_is_one_run_with_an_event_each(deployment: Deployment) -> None:
    deployment.add("Range")
    assert deployment.materialize("Range", "plate_sqlite").success
    result = deployment.materialize_chunks("Range", 0, CHUNKS - 1, "cells_chunk", "nuclei_chunk")
    assert result.success, failures(result)
    for asset in ("cells_chunk", "nuclei_chunk"):
        rows = [deployment.metadata(asset, f"Range|{chunk:02d}")["dagster/row_count"] for chunk in range(CHUNKS)]
        assert len(set(rows)) > 1
    events = [event for event in result.all_events if event.event_type_value == "ASSET_MATERIALIZATION"]
    assert len(events) == 2 * CHUNKS
    missing = {"image", "cells", "cytoplasm", "nuclei", "single_cells", "image_chunk", "cytoplasm_chunk"}
    marked = deployment.outdated("Range")
    assert {key.split()[0] for key in marked} == missing
    assert set(marked.values()) == {"MISSING"}


def test_files_that_a_killed_run_left_are_kept_and_recorded(deployment: Deployment) -> None:
    deployment.add("Killed")
    convert(deployment, "Killed")
    lake = deployment.lake("Killed")
    # As if it had been killed in the middle of a chunk: one whole and of no event, one cut short, junk beside.
    write_otherwise(lake, "Nuclei", 3)
    write_otherwise(lake, "Cells", 0)
    lake.chunk("Cells", 0).write_bytes(lake.chunk("Cells", 0).read_bytes()[:-50])
    with owned_file(lake.chunks("Cells"), "00001.parquet") as half:
        pass
    half.write_bytes(b"PAR1")
    before = written(deployment, "Killed")
    convert(deployment, "Killed")
    assert rewritten(before, written(deployment, "Killed")) == {"Nuclei.parquet", "single_cells.parquet"}
    assert not half.exists()
    assert deployment.outdated("Killed") == {}


def test_a_file_that_is_gone_or_cut_short_is_made_again_and_nothing_of_it(deployment: Deployment) -> None:
    deployment.add("Cut")
    convert(deployment, "Cut")
    before, content = written(deployment, "Cut"), digest(deployment.lake("Cut").result("Image"))
    deployment.lake("Cut").result("Cells").unlink()
    path = deployment.lake("Cut").result("Image")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    convert(deployment, "Cut")
    assert digest(path) == content
    assert rewritten(before, written(deployment, "Cut")) == {"Cells.parquet", "Image.parquet"}
    assert deployment.outdated("Cut") == {}


def test_a_changed_source_outdates_all_that_is_made_of_it(deployment: Deployment) -> None:
    deployment.add("Changed")
    convert(deployment, "Changed")
    deployment.write("Changed", plate(JUMP, sites(5, 5, 5)))
    assert deployment.materialize("Changed", "plate_sqlite").success
    direct = {f"{name} Changed" for name in (*RESULTS, "single_cells")}
    chunks = {f"{name}_chunk Changed|{chunk:02d}" for name in RESULTS for chunk in range(CHUNKS)}
    assert deployment.outdated("Changed") == dict.fromkeys(direct | chunks, "STALE")
    convert(deployment, "Changed")
    assert deployment.outdated("Changed") == {}
    assert pq.read_metadata(deployment.lake("Changed").result("single_cells")).num_rows == 15


def test_an_unchanged_source_outdates_nothing(deployment: Deployment) -> None:
    path = deployment.add("Touched")
    convert(deployment, "Touched")
    before = written(deployment, "Touched")
    os.utime(path)
    assert deployment.materialize("Touched", "plate_sqlite").success
    assert deployment.outdated("Touched") == {}
    convert(deployment, "Touched")
    assert rewritten(before, written(deployment, "Touched")) == set()


def test_another_version_of_the_source_outdates_the_plate(deployment: Deployment, tmp_path: Path) -> None:
    path = deployment.write("Reported")

    def add() -> str:
        return plates.add(deployment.instance, "Reported", str(path), found=look_at(str(path), Store()))

    assert add() == "added"
    convert(deployment, "Reported")
    assert add() == "unchanged"
    assert deployment.outdated("Reported") == {}
    deployment.write("Reported", plate(JUMP, sites(2)))
    assert add() == "changed"
    assert deployment.outdated("Reported") == {"plate_sqlite Reported": "STALE"}
    convert(deployment, "Reported")
    assert deployment.outdated("Reported") == {}


def test_a_table_that_a_new_source_lacks_takes_its_files_with_it(deployment: Deployment) -> None:
    deployment.add("Lost")
    convert(deployment, "Lost")
    tables = plate(JUMP)
    del tables["Cytoplasm"]
    deployment.write("Lost", tables)
    convert(deployment, "Lost")
    lake = deployment.lake("Lost")
    assert [name for name in COMPARTMENTS if lake.result(name).exists()] == ["Image", "Cells", "Nuclei"]
    assert deployment.outdated("Lost") == {}


def test_another_number_of_chunks_leaves_nothing_of_the_old_one_behind(deployment: Deployment) -> None:
    deployment.add("Fewer", plate(JUMP, sites(3, 2, 4, 1, 2, 2)))
    convert(deployment, "Fewer")
    lake = deployment.lake("Fewer")
    undisturbed = pq.read_table(lake.result("single_cells"))
    (lake.path / "chunks" / "Foci").mkdir(parents=True)
    for number in (2, 6):
        fewer = build_defs(chunks=number).resolve_job_def("convert_plate")
        asked = {"instance": deployment.instance, "partition_key": "Fewer", "raise_on_error": False}
        early = fewer.execute_in_process(**asked, asset_selection=[dg.AssetKey("cells")])
        before = {2: CHUNKS, 6: 2}[number]
        there = {name: digest(lake.result(name)) for name in COMPARTMENTS}
        assert f"is of {before} chunks, {number} are asked for; materialize plate_sqlite first" in failures(early)[0]
        # What is there stays until what follows it is whole.
        assert {name: digest(lake.result(name)) for name in COMPARTMENTS} == there
        result = fewer.execute_in_process(**asked)
        assert result.success, failures(result)
        said = [entry.user_message for entry in deployment.instance.all_logs(result.run_id)]
        assert any(f"plate Fewer had {before} chunks and is given {number}" in line for line in said)
        for compartment in COMPARTMENTS:
            record = lake.made(compartment)
            assert record is not None and len(record.chunks) == number
        assert not (lake.path / "chunks").exists()
        assert pq.read_table(lake.result("single_cells")) == undisturbed
