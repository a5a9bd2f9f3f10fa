"""convert() to AnnData: what is in it, value by value, beside the same conversion to Parquet."""

import json

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import DatatypeError, DestinationExistsError, OptionError, SchemaError
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster_tests.core.plates import JUMP, Table, plate, sites

KINDS = {"h5ad": anndata.read_h5ad, "zarr": anndata.read_zarr}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def _read(path) -> anndata.AnnData:
    return KINDS[path.suffix.removeprefix(".")](path)


def _in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _located(*cells: int) -> dict[str, Table]:
    """A plate with features of channels and of every kind: reals, whole numbers, with and without nulls."""
    tables = plate(JUMP, sites(*(cells or (3, 2))))
    nuclei, cells = tables["Nuclei"], tables["Cells"]
    count = len(nuclei.rows)
    nuclei.add_column("Nuclei_Location_Center_X", "FLOAT", [1.5 * row for row in range(count)])
    nuclei.add_column("Nuclei_Location_Center_Y", "FLOAT", [None if row == 2 else 2.0 * row for row in range(count)])
    cells.add_column("Cells_Intensity_MeanIntensity_DNA", "FLOAT", [row / 7 for row in range(len(cells.rows))])
    cells.add_column("Cells_Correlation_K_DNA_ER", "FLOAT", [None, *range(1, len(cells.rows))])
    cells.add_column("Cells_Intensity_MeanIntensity_ER", "FLOAT", [row / 9 for row in range(len(cells.rows))])
    return tables


def _same(found: anndata.AnnData, table: pd.DataFrame) -> None:
    """Every column of a table is in X or obs, and its values are."""
    assert {*found.var_names, *found.obs.columns} == {*table.columns}
    assert found.n_obs == len(table)
    np.testing.assert_array_equal(found.X, table[list(found.var_names)].to_numpy(found.X.dtype, na_value=np.nan))
    for name in found.obs:
        ours = found.obs[name].astype(object).where(found.obs[name].notna(), None)
        theirs = table[name].astype(object).where(table[name].notna(), None)
        assert ours.tolist() == theirs.tolist(), name


def test_every_value_is_that_of_the_joined_table(make_plate, tmp_path, kind):
    source = make_plate(_located())
    result = convert(source, tmp_path / f"cells.{kind}")
    parquet = convert(source, tmp_path / "cells.parquet", data_type_cast_map={"float": "float32"})
    found = _read(result.path)
    table = pq.read_table(parquet.path)
    _same(found, table.to_pandas())
    assert found.X.dtype == "float32"
    assert not [name for name in found.var_names if name.startswith(("Metadata_", "Image_"))]
    # Whole numbers stay such, also beside nulls.
    assert found.obs["Metadata_Nuclei_ObjectNumber"].dtype == "Int64"
    assert {**found.uns["cytotable_dagster"]} == read_facts(parquet.path)
    assert (result.outputs[0].rows, result.outputs[0].columns) == (table.num_rows, table.num_columns)
    assert _in(tmp_path) == sorted([f"cells.{kind}", "cells.parquet", "source"])


def test_features_tell_what_they_are_of_and_cells_where_they_are(make_plate, tmp_path, kind):
    found = _read(convert(make_plate(_located()), tmp_path / f"cells.{kind}").path)
    told = found.var.astype(object).where(found.var.notna(), None)
    assert told.loc["Cells_Correlation_K_DNA_ER"].to_dict() == {
        "compartment": "Cells",
        "family": "Correlation",
        "channel": "DNA,ER",
    }
    assert told.loc["Nuclei_AreaShape_Area"].tolist() == ["Nuclei", "AreaShape", None]
    assert found.obs_names.tolist() == ["P1:A01:1:1", "P1:A01:1:2", "P1:A01:1:3", "P1:A02:2:1", "P1:A02:2:2"]
    centres = found[:, ["Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"]].X
    np.testing.assert_array_equal(found.obsm["spatial"], centres)
    assert np.isnan(centres).any() and np.isfinite(centres).any()


def test_several_plates_are_one(make_plate, tmp_path, kind):
    make_plate(_located(), "plates/P1.sqlite")
    make_plate(_located(2, 4), "plates/P2.sqlite")
    found = _read(convert(tmp_path / "plates", tmp_path / f"all.{kind}").path)
    parquet = convert(tmp_path / "plates", tmp_path / "all.parquet", data_type_cast_map={"float": "float32"})
    _same(found, pq.read_table(parquet.path).to_pandas())
    assert found.obs_names.is_unique
    assert len(json.loads(found.uns["cytotable_dagster"]["plates"])) == 2


def test_one_table_is_enough(make_plate, tmp_path):
    found = _read(convert(make_plate(_located()), tmp_path / "cells.h5ad", targets=["cells"]).path)
    assert {*found.var["compartment"]} == {"Cells"}
    assert found.var["channel"]["Cells_Correlation_K_DNA_ER"] == "DNA,ER"
    assert found.obs_names[0] == "P1:1:1"
    with pytest.raises(OptionError, match=r"AnnData is of one table: .* targets=\['cells'\]"):
        convert(make_plate(name="two/P1.sqlite"), tmp_path / "two.h5ad", targets=["cells", "nuclei"])


def test_what_float32_does_not_hold_is_counted(make_plate, tmp_path):
    tables = plate(JUMP)
    tables["Cells"].add_column("Cells_Big", "FLOAT", [1e300, -1e300, 3e38, None, float("inf")])
    source = make_plate(tables)
    narrow = convert(source, tmp_path / "narrow.h5ad")
    values = _read(narrow.path)[:, "Cells_Big"].X[:, 0]
    np.testing.assert_array_equal(values, np.array([np.nan, np.nan, 3e38, np.nan, np.inf], "float32"))
    assert [line for line in narrow.report.coercions if "Cells_Big" in line and line.startswith("Cells: 2 values")]
    wide = convert(source, tmp_path / "wide.h5ad", data_type_cast_map={"float": "float64"})
    found = _read(wide.path)
    assert found.X.dtype == "float64" and not wide.report.coercions
    assert found[:, "Cells_Big"].X[:2, 0].tolist() == [1e300, -1e300]


def test_what_cannot_be_is_one_line(make_plate, tmp_path):
    source, dest = make_plate(), tmp_path / "cells.h5ad"
    for options, error, said in (
        ({"dest_datatype": "anndata_zarr"}, DatatypeError, "its name says anndata_h5ad"),
        ({"dest_datatype": "anndata"}, DatatypeError, "dest_datatype 'anndata' is not known"),
        ({"dest_backend": "hive"}, DatatypeError, "dest_backend 'hive' is not known"),
        ({"concat": False}, OptionError, "leave out concat=False"),
        ({"join": False}, OptionError, "AnnData is of one table"),
        ({"column_map": True}, OptionError, "are of Parquet tables"),
        ({"provenance": True}, OptionError, "are of Parquet tables"),
        ({"joins": "SELECT Metadata_ImageNumber FROM 'cells.parquet'"}, SchemaError, "there are no features"),
    ):
        with pytest.raises(error, match=said) as caught:
            convert(source, dest, **options)
        assert len(str(caught.value).splitlines()) == 1
        assert _in(tmp_path) == ["source"]


def test_what_is_there_is_replaced_only_by_its_like(make_plate, tmp_path, kind):
    source, dest = make_plate(_located()), tmp_path / f"cells.{kind}"
    convert(source, dest)
    before = _read(dest)
    with pytest.raises(DestinationExistsError, match="overwrite=True"):
        convert(source, dest)
    convert(make_plate(_located(4), "other/P1.sqlite"), dest, overwrite=True)
    assert (before.n_obs, _read(dest).n_obs) == (5, 4)
    other = tmp_path / f"other.{kind}"
    folder = tmp_path / f"folder.{kind}"
    other.mkdir() if kind == "zarr" else other.write_bytes(b"PAR1")
    (folder / "thesis").mkdir(parents=True)
    for place in (other, folder):
        with pytest.raises(DestinationExistsError, match="so is not replaced"):
            convert(source, place, overwrite=True)
        assert place.exists()
    assert _in(tmp_path) == sorted([f"cells.{kind}", f"folder.{kind}", f"other.{kind}", "other", "source"])
