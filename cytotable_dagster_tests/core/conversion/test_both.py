"""Compartments and the joined table in one call: what two calls make."""

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import DestinationExistsError, TargetError
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite

TABLES = ["Image", "Cells", "Cytoplasm", "Nuclei", "single_cells"]


def _alone(source, folder, **options):
    """The same tables by two calls."""
    apart = convert(source, folder / "apart", **options)
    joined = convert(source, folder / "joined", join=True, **options)
    return {**{name: apart[name] for name in apart}, "single_cells": joined.path}


@pytest.mark.parametrize("options", [{}, {"chunk_size": 2}, {"drop_null": True, "names": "cytotable"}])
def test_both_are_what_two_calls_make(make_plate, results, tmp_path, options):
    source = make_plate(plate(JUMP, sites(3, 0, 4, 2)))
    told = []
    both = convert(
        source, results.at(), join="both", progress=lambda *step: told.append(step), **options, **results.options
    )
    assert list(both) == TABLES
    assert {step for step, _, _ in told} >= {*TABLES}
    alone = _alone(source, tmp_path / "alone", **options)
    for table, path in alone.items():
        assert results.table(both[table]).equals(pq.read_table(path)), table
    report = both.report
    assert [part.rows_written for part in report.compartments] == [both.files[name].rows for name in TABLES[:4]]
    assert report.joined_rows == both.files["single_cells"].rows


def test_a_value_that_does_not_fit_is_told_once(make_plate, tmp_path):
    tables = plate(JUMP)
    tables["Cells"].rows[0]["Cells_AreaShape_Area"] = "n/a"
    report = convert(make_plate(tables), tmp_path / "out", join="both").report
    assert [c.count for part in report.compartments for c in part.coercions] == [1]


def test_what_belongs_to_neither_and_what_tells_about_both_lies_beside_them(make_plate, tmp_path):
    tables = plate(EXPORT)
    tables["Per_Experiment"] = type(tables["Per_Image"])({"name": "TEXT"}, [{"name": "pipeline"}])
    wanted = ["image", "cells", "cytoplasm", "experiment"]
    source = make_plate(tables)
    result = convert(source, tmp_path / "out", join="both", targets=wanted, column_map=True, provenance=True)
    assert list(result) == ["Image", "Cells", "Cytoplasm", "experiment", "single_cells"]
    assert result.provenance is not None and result.provenance.rows == 2
    mapped = pq.read_table(result.columns)
    assert list(result) == mapped["table"].unique().to_pylist()
    origins = {row["table"]: row for row in mapped.to_pylist() if row["column"] == "Cells_AreaShape_Area"}
    assert [origins[table]["source_table"] for table in ("Cells", "single_cells")] == ["Per_Cells", "Per_Cells"]
    with pytest.raises(TargetError, match='join="both"'):
        convert(source, tmp_path / "joined", join=True, targets=wanted)


def test_a_query_of_ones_own_lies_beside_the_tables_it_asks(make_plate, tmp_path):
    query = "SELECT * FROM 'cells.parquet' WHERE Metadata_ObjectNumber = 1"
    result = convert(make_plate(), tmp_path / "out", join="both", joins=query)
    assert list(result) == TABLES
    assert [result.files[name].rows for name in ("Cells", "single_cells")] == [5, 2]


@pytest.mark.parametrize("concat", [True, False])
def test_several_plates_have_both_in_one_file_each_or_as_a_dataset(tmp_path, concat):
    sources = [
        write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(*n)))
        for name, n in {"A": (2, 1), "B": (3,)}.items()
    ]
    both = convert(sources, tmp_path / "both", join="both", concat=concat)
    assert sorted(both) == sorted(TABLES)
    for table, path in _alone(sources, tmp_path, concat=concat).items():
        alone = path / "single_cells" if path.name == "joined" else path
        assert pq.read_table(both[table]).equals(pq.read_table(alone)), table


def test_a_dataset_takes_both_and_is_whole_with_both(tmp_path):
    source = write_sqlite(tmp_path / "A.sqlite", plate(JUMP))
    assert sorted(datasets.add(source, tmp_path / "set", join="both")) == sorted(TABLES)
    assert datasets.add(source, tmp_path / "set", join="both").sources == ()
    (tmp_path / "set" / "Cells" / "A.parquet").unlink()
    assert len(datasets.add(source, tmp_path / "set", join="both").sources) == 1
    assert pq.read_metadata(tmp_path / "set" / "Cells" / "A.parquet").num_rows == 5


def test_none_of_both_is_replaced_unasked(make_plate, tmp_path):
    source = make_plate()
    convert(source, tmp_path / "out", join=True)
    with pytest.raises(DestinationExistsError, match=r"single_cells\.parquet"):
        convert(source, tmp_path / "out", join="both")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["single_cells.parquet"]
