"""Clients open a dataset's folder as the one table it is."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import datasets
from cytotable_dagster_tests.clients.environments import ask
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite

CELLS = {"0012345": 7, "BR 2": 5}


@pytest.fixture
def single_cells(tmp_path: Path) -> Path:
    for number, (name, cells) in enumerate(CELLS.items()):
        tables = plate(JUMP, sites(cells, table=number))
        tables["Image"].rows = [{**row, "Metadata_Plate": name} for row in tables["Image"].rows]
        write_sqlite(tmp_path / f"{name}.sqlite", tables)
    datasets.add([tmp_path / f"{name}.sqlite" for name in CELLS], tmp_path / "dataset", join=True, unmatched="drop")
    return tmp_path / "dataset" / "single_cells"


def expected(single_cells: Path) -> dict[str, int]:
    return {name: pq.read_metadata(single_cells / f"{name}.parquet").num_rows for name in CELLS}


def test_pycytominer_normalizes_a_dataset_without_being_told_anything(single_cells):
    answer = ask("pycytominer", dataset=single_cells)
    assert answer["dataset"] == expected(single_cells)
    assert all(name.startswith(("Cells_", "Cytoplasm_", "Nuclei_")) for name in answer["features"])


def test_dask_reads_a_dataset(single_cells):
    assert ask("cosmicqc", dataset=single_cells)["dataset"] == expected(single_cells)
