"""scanpy 1.11 with AnnData 0.11 reads what is converted to AnnData, value by value, and computes a PCA of it."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster_tests.clients.environments import ask, interpreter

KINDS = ("h5ad", "zarr")


@pytest.fixture(scope="module")
def made(tmp_path_factory, real_data):
    interpreter("scanpy")
    folder = tmp_path_factory.mktemp("anndata")
    for kind in (*KINDS, "parquet"):
        convert(real_data / "nf1_schwann" / "all_cellprofiler.sqlite", folder / f"cells.{kind}")
    return folder


@pytest.fixture(scope="module")
def answers(made):
    return ask("scanpy", cells={kind: made / f"cells.{kind}" for kind in KINDS})


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_read_by_an_older_anndata(made, answers, kind):
    found, table = answers[kind], pq.read_table(made / "cells.parquet")
    assert answers["versions"]["anndata"].startswith("0.11.")
    assert {*found["var"], *found["obs"]} == {*table.column_names}
    x = np.array(found["x"], "float32")
    expected = [table[name].to_numpy().astype("float32") for name in found["var"]]
    np.testing.assert_array_equal(x, np.column_stack(expected))
    for name, values in found["obs"].items():
        nothing = {"nan", "<NA>"}
        assert [None if value in nothing else value for value in values] == [
            None if value is None else str(value) for value in table[name].to_pylist()
        ], name
    assert found["facts"]["source_digest"] == read_facts(made / "cells.parquet")["source_digest"]
    assert len({*found["names"]}) == table.num_rows
    assert {"DAPI", "GFP", "RFP", None} <= {*found["channels"]}
    centres = [table[f"Nuclei_Location_Center_{axis}"].to_numpy() for axis in "XY"]
    np.testing.assert_allclose(np.array(found["spatial"], float), np.column_stack(centres), rtol=1e-6)


def test_both_kinds_are_the_same(answers):
    assert answers["h5ad"] == answers["zarr"]


def test_scanpy_computes_a_pca(answers):
    found = answers["h5ad"]
    assert found["pca"] == [len(found["names"]), 10]
    assert found["features"] > 500
    assert 0.3 < sum(found["explained"]) <= 1.001
