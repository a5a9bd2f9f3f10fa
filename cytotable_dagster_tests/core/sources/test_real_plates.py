"""Plates that CellProfiler and cytominer-database wrote; skipped where `shared/data` is missing."""

import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import EXPORT, JUMP

# The file: its dialect as detected, rows of each compartment, rows of the joined table, of them without a nucleus.
REAL = {
    "nf1_schwann/all_cellprofiler.sqlite": (
        EXPORT,
        {"Image": 32, "Cells": 242, "Cytoplasm": 242, "Nuclei": 433},
        242,
        "Metadata_Nuclei_Number_Object_Number",
    ),
    "cytominer_database/data_b_sqlite/data_b.sqlite": (
        JUMP,
        {"Image": 4, "Cells": 40, "Cytoplasm": 40, "Nuclei": 40},
        40,
        "Metadata_Nuclei_ObjectNumber",
    ),
    "jump_br00126114/test_BR00126114.sqlite": (JUMP, {"Image": 2, "Nuclei": 20}, 20, "Metadata_ObjectNumber"),
}


@pytest.mark.parametrize(("name", "expected"), REAL.items(), ids=[name.split("/")[0] for name in REAL])
def test_a_real_plate_keeps_every_row_and_every_object_finds_its_nucleus(real_data, tmp_path, name, expected):
    dialect, rows, joined_rows, nucleus = expected
    result = convert(real_data / name, tmp_path / "out", chunk_size=50)
    assert result.preset == dialect
    assert result.readers == ()
    assert {output.path.stem: output.rows for output in result.outputs} == rows
    joined = pq.read_table(convert(real_data / name, tmp_path / "out.parquet", chunk_size=50))
    assert joined.num_rows == joined_rows
    assert joined[nucleus].null_count == 0


@pytest.mark.parametrize("name", REAL, ids=[name.split("/")[0] for name in REAL])
def test_the_numbers_of_a_real_plate_are_those_that_sqlite_reads(real_data, tmp_path, name):
    made = pq.read_table(convert(real_data / name, tmp_path / "out", targets=["nuclei"], names="cytotable"))
    table = "Per_Nuclei" if name.startswith("nf1") else "Nuclei"
    with sqlite3.connect(f"{(real_data / name).as_uri()}?mode=ro", uri=True) as link:
        source = link.execute(f"SELECT * FROM {table}").fetchall()
    link.close()
    for place, column in enumerate(made.columns):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values = [None if row[place] in (None, "nan", "NaN", "") else float(row[place]) for row in source]
            found = [None if value is None else float(value) for value in column.to_pylist()]
            assert sorted(found, key=str) == sorted(values, key=str), made.column_names[place]
