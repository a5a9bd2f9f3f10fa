"""A plate of CSV files goes the same way as one of SQLite."""

import pyarrow.parquet as pq

from cytotable_dagster import plates
from cytotable_dagster_tests.core.test_csv import site
from cytotable_dagster_tests.dagster.deployment import COMPARTMENTS, Deployment, failures


def test_a_plate_of_csv_files_becomes_single_cells(deployment: Deployment, tmp_path) -> None:
    for place, well in enumerate(("A01", "A02", "B07")):
        site(tmp_path / "Sheets" / "analysis" / f"Sheets-{well}-1", objects=3 + place, well=well)
    (tmp_path / "Sheets" / "analysis" / "Sheets-B07-1" / "Nuclei.csv").write_bytes(b"")
    plates.add(deployment.instance, "Sheets", str(tmp_path / "Sheets" / "analysis"))
    result = deployment.convert("Sheets")
    assert result.success, failures(result)
    made = {path.stem: pq.read_metadata(path).num_rows for path in deployment.lake("Sheets").path.glob("*.parquet")}
    assert made == {"Image": 3, "Cells": 12, "Cytoplasm": 12, "Nuclei": 7, "single_cells": 12}
    assert set(made) == {*COMPARTMENTS, "single_cells"}
    assert deployment.outdated("Sheets") == {}
    assert "Sheets-B07-1/Nuclei.csv" in str(deployment.metadata("plate_sqlite", "Sheets"))
