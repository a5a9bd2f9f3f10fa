"""Plates that lack something, are damaged, or contradict themselves."""

import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.lake.chunks import moment
from cytotable_dagster_tests.core.plates import JUMP, plate, sites
from cytotable_dagster_tests.defs.deployment import CHUNKS, COMPARTMENTS, Deployment, failures


def results(deployment: Deployment, name: str) -> list[str]:
    return sorted(path.name for path in deployment.lake(name).path.glob("*.parquet"))


@pytest.mark.parametrize("lacking", COMPARTMENTS)
def test_a_plate_without_a_table_has_all_the_others(deployment: Deployment, lacking: str) -> None:
    name = f"No{lacking}"
    tables = plate(JUMP)
    del tables[lacking]
    deployment.add(name, tables)
    result = deployment.convert(name)
    assert result.success, failures(result)
    others = [f"{other}.parquet" for other in COMPARTMENTS if other != lacking]
    assert results(deployment, name) == sorted([*others, "single_cells.parquet"])
    for asset, partition in ((lacking.lower(), name), (f"{lacking.lower()}_chunk", f"{name}|{CHUNKS - 1:02d}")):
        assert f"has no table {lacking}" in deployment.metadata(asset, partition)["note"]
    assert deployment.outdated(name) == {}
    assert all(check.passed for key, check in deployment.checks(result).items() if key[1] != "objects_matched")


def test_a_plate_of_images_only_has_no_single_cells_and_does_not_fail(deployment: Deployment) -> None:
    deployment.add("Images", {"Image": plate(JUMP)["Image"]})
    # As it had them before its tables of objects were taken out.
    deployment.lake("Images").path.mkdir(parents=True)
    (deployment.lake("Images").path / "single_cells.parquet").write_bytes(b"PAR1")
    result = deployment.convert("Images")
    assert result.success, failures(result)
    assert results(deployment, "Images") == ["Image.parquet"]
    assert "no single cells" in deployment.metadata("single_cells", "Images")["note"]
    assert deployment.outdated("Images") == {}
    assert all(check.passed for check in deployment.checks(result).values())


def test_chunks_of_a_table_that_is_not_there_say_so(deployment: Deployment) -> None:
    tables = plate(JUMP)
    del tables["Cytoplasm"]
    deployment.add("NoChunks", tables)
    assert deployment.materialize("NoChunks", "plate_sqlite").success
    assert deployment.materialize_chunks("NoChunks", 0, 1, "cytoplasm_chunk", "cells_chunk").success
    assert "has no table Cytoplasm" in deployment.metadata("cytoplasm_chunk", "NoChunks|01")["note"]
    assert deployment.metadata("cells_chunk", "NoChunks|00")["seconds"] > 0


def test_a_plate_with_no_more_images_than_chunks_has_empty_chunks(deployment: Deployment) -> None:
    deployment.add("Single", plate(JUMP, sites(2)))
    assert deployment.convert("Single").success
    rows = [deployment.metadata("cells_chunk", f"Single|{chunk:02d}")["dagster/row_count"] for chunk in range(CHUNKS)]
    assert sorted(rows) == [0, 0, 0, 2]
    assert pq.read_metadata(deployment.lake("Single").result("Cells")).num_rows == 2


def test_a_damaged_plate_fails_in_one_line_and_publishes_nothing(deployment: Deployment) -> None:
    path = deployment.add("Damaged", plate(JUMP, sites(*[40] * 10)))
    with path.open("r+b") as file:
        # The header and the schema are left; a page of the Cells table is not.
        content = file.read()
        at = content.rindex(b"Cells_Intensity_Mean")
        first_data_page = (at // 4096 + 3) * 4096
        file.seek(first_data_page)
        file.write(b"\xff" * 4096 * 8)
    result = deployment.convert("Damaged")
    assert not result.success
    (line,) = failures(result)
    assert "\n" not in line
    assert str(path) in line or "Damaged" in line
    assert any(table in line for table in COMPARTMENTS), line
    assert results(deployment, "Damaged") == []


def test_keys_that_repeat_fail_before_anything_is_published(deployment: Deployment) -> None:
    tables = plate(JUMP)
    tables["Nuclei"].rows.append(dict(tables["Nuclei"].rows[0]))
    deployment.add("Repeated", tables)
    result = deployment.convert("Repeated")
    (line,) = failures(result)
    assert "Nuclei: 1 rows repeat the key" in line
    assert results(deployment, "Repeated") == []


def test_a_plate_that_is_nowhere_says_where_it_was_looked_for(deployment: Deployment) -> None:
    deployment.instance.add_dynamic_partitions("plates", ["Nowhere"])
    (line,) = failures(deployment.convert("Nowhere"))
    assert str(deployment.folder / "plates" / "Nowhere.sqlite") in line


def test_what_is_no_sqlite_file_says_so(deployment: Deployment) -> None:
    deployment.add("Text").write_text("a,b\n1,2\n")
    (line,) = failures(deployment.convert("Text"))
    assert "not a SQLite file" in line


def test_chunks_before_their_plate_say_what_to_do_first(deployment: Deployment) -> None:
    deployment.add("Early")
    (line,) = failures(deployment.materialize_chunks("Early", 0, 0, "cells_chunk"))
    assert "materialize plate_sqlite first" in line


def test_a_chunk_that_fails_leaves_the_others_recorded(deployment: Deployment) -> None:
    deployment.add("Partly")
    obstacle = deployment.lake("Partly").chunk("Cells", 1)
    (obstacle / "in_the_way").mkdir(parents=True)
    result = deployment.convert("Partly")
    (line,) = failures(result)
    assert line.startswith(f"1 of {4 * CHUNKS} chunks failed, Cells 1: ")
    done = [chunk for chunk in range(CHUNKS) if deployment.last("cells_chunk", f"Partly|{chunk:02d}")]
    assert done == [0, 2, 3]
    assert results(deployment, "Partly") == []
    (obstacle / "in_the_way").rmdir()
    obstacle.rmdir()
    before = moment(deployment.lake("Partly").chunk("Cells", 0))
    assert deployment.convert("Partly").success
    record = deployment.lake("Partly").made("Cells")
    assert record is not None and record.chunks[0].made == before
    assert deployment.outdated("Partly") == {}
