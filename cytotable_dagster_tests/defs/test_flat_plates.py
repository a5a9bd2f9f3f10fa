"""Plates of NPZ files and of IN Carta's CSV files go the same way: their one table is Cells, and the single cells."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import datasets
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster_tests.core.model import test_preset_file
from cytotable_dagster_tests.core.sources.csv import test_in_carta
from cytotable_dagster_tests.core.sources.npz import test_npz
from cytotable_dagster_tests.defs.deployment import Deployment, failures


def test_plates_of_one_table_become_single_cells(deployment: Deployment, tmp_path) -> None:
    for number in range(5):
        test_npz.site(tmp_path / "Deep" / f"{number}.npz", cells=number, Metadata_Site=number)
    test_in_carta.write(tmp_path / "Carta" / "a.csv", *(f"{n},C,3,{n % 3},C - 3,1,1,{n}" for n in range(9)))
    for name, rows in (("Deep", 10), ("Carta", 9)):
        plates.add(deployment.instance, name, str(tmp_path / name))
        result = deployment.convert(name)
        assert result.success, failures(result)
        made = {path.stem: pq.read_table(path) for path in deployment.lake(name).path.glob("*.parquet")}
        assert {stem: table.num_rows for stem, table in made.items()} == {"Cells": rows, "single_cells": rows}
        assert made["Cells"].equals(made["single_cells"])
        assert all(check.passed for check in deployment.checks(result).values())
        assert deployment.outdated(name) == {}
    assert "0.npz: no cells" in str(deployment.metadata("plate_sqlite", "Deep"))


@pytest.mark.parametrize("known", [True, False])
def test_a_preset_of_ones_own_names_the_tables(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(test_preset_file.example().replace('"Cells"', '"cells"'))
    deployment.add("Own", test_preset_file.with_cellpose())
    if known:
        monkeypatch.setenv("CYTOTABLE_PRESET", str(lab))
    result = deployment.convert("Own", plate_files=PlateSource(preset=str(lab)))
    assert (("nuclei_cellpose3", "rows_reconciled") in deployment.checks(result)) == known
    assert result.success, failures(result)
    made = {path.stem: pq.read_table(path) for path in deployment.lake("Own").path.glob("*.parquet")}
    assert set(made) == {"Image", "Cells", "Cytoplasm", "Nuclei_Cellpose3", "single_cells"}
    datasets.add(deployment.folder / "plates" / "Own.sqlite", tmp_path / "set", preset=str(lab), join=True)
    assert made["single_cells"].equals(pq.read_table(tmp_path / "set" / "single_cells" / "Own.parquet"))
    assert made["single_cells"]["Nuclei_Cellpose3_AreaShape_Area"].null_count < made["single_cells"].num_rows
    assert deployment.metadata("nuclei_cellpose3", "Own")["dagster/row_count"] == made["Nuclei_Cellpose3"].num_rows
    assert all(check.passed for (_, name), check in deployment.checks(result).items() if name != "objects_matched")
    assert deployment.metadata("plate_sqlite", "Own")["preset"] == "lab"
