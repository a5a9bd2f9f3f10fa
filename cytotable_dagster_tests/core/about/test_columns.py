"""The map of columns and the way back that it tells, against the source itself."""

import csv
import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, trace
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.about.columns import channel_of
from cytotable_dagster.core.about.statistics import column_statistics
from cytotable_dagster.core.errors import DestinationExistsError, OptionError, SourceNotFoundError, TargetError
from cytotable_dagster_tests.core.plates import DIALECTS, EXPORT, JUMP, plate


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("dest", ["out", "out/cells.parquet"])
def test_every_column_leads_back_to_the_values_it_was_made_of(make_plate, tmp_path, dialect, dest):
    source = make_plate(plate(dialect))
    result = convert(source, tmp_path / dest, column_map=True)
    rows = pq.read_table(result.columns).to_pylist()
    assert [(row["table"], row["column"]) for row in rows] == [
        (name, column) for name in result for column in pq.read_schema(result[name]).names
    ]
    with sqlite3.connect(source) as link:
        for row in rows:
            query = f'SELECT DISTINCT "{row["source_column"]}" FROM "{row["source_table"]}"'
            there = {str(value) for (value,) in link.execute(query)}
            made = set(pq.read_table(result[row["table"]], columns=[row["column"]])[0].drop_null().to_pylist())
            assert {str(value) for value in made} <= there | {str(float(v)) for v in there if _is_number(v)}
            assert row["source_file"] == str(source)
    with (tmp_path / "out" / "_about" / "columns.csv").open() as file:
        assert [row["column"] for row in csv.DictReader(file)] == [row["column"] for row in rows]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_ranges_are_those_of_the_values(tmp_path):
    rng = np.random.default_rng(1)
    real = rng.normal(size=1000)
    real[::7] = np.nan
    table = pa.table(
        {
            "whole": pa.array(np.arange(1000) * 3, mask=np.arange(1000) % 5 == 0),
            "real": pa.array(real, from_pandas=True),
            "nothing": pa.nulls(1000, pa.float64()),
            "text": pa.array(["a", None] * 500),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    found = column_statistics([lambda: pa.OSFile(str(tmp_path / "a.parquet"))])
    assert found.rows == 1000 and set(found.rows_seen) == {1000}
    whole = (np.arange(1000) * 3)[np.arange(1000) % 5 != 0]
    assert found.nulls.tolist() == [200, 143, 1000, 500]
    np.testing.assert_array_equal(found.minimum, [whole.min(), np.nanmin(real), np.nan, np.nan])
    np.testing.assert_array_equal(found.maximum, [whole.max(), np.nanmax(real), np.nan, np.nan])
    np.testing.assert_allclose(found.median, [np.median(whole), np.nanmedian(real), np.nan, np.nan])


def test_a_large_table_is_looked_into_all_over_and_says_so(tmp_path):
    count = 1 << 21
    table = pa.table({"real": np.arange(count) / 2, "whole": np.arange(count)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=count // 128)
    found = column_statistics([lambda: pa.OSFile(str(tmp_path / "a.parquet"))])
    real, whole = 0, 1
    assert (found.rows_seen[whole], found.minimum[whole], found.maximum[whole]) == (count, 0, count - 1)
    assert 500 < found.median_rows[whole] < count // 32
    assert found.rows_seen[real] == count // 32 < count
    assert found.median[real] == pytest.approx(count / 4, rel=0.02)


def test_a_table_without_rows_has_no_ranges(tmp_path):
    pq.write_table(pa.table({"real": pa.array([], pa.float64()), "text": pa.array([], pa.string())}), tmp_path / "a")
    found = column_statistics([lambda: pa.OSFile(str(tmp_path / "a"))])
    assert (found.rows, found.nulls.tolist(), found.rows_seen.tolist()) == (0, [0, 0], [0, 0])
    assert np.isnan(found.minimum).all() and np.isnan(found.median).all()


def test_channels_are_those_that_a_name_names():
    channels = frozenset(("DNA", "ER", "RNA", "Cells", "Long_ER"))
    assert channel_of("Cells_Correlation_Correlation_DNA_ER", channels) == "DNA,ER"
    assert channel_of("Cells_Texture_Contrast_RNA_3_00_256", channels) == "RNA"
    assert channel_of("Cells_Intensity_MeanIntensity_Long_ER", channels) == "Long_ER"
    assert channel_of("Cells_AreaShape_Area", channels) is None


def test_trace_answers_people_and_programs_and_says_what_is_wrong(make_plate, tmp_path, capsys):
    source = make_plate(plate(EXPORT))
    convert(source, tmp_path / "out" / "single_cells.parquet", column_map=True)
    file = str(tmp_path / "out" / "single_cells.parquet")
    found = trace(file, "Nuclei_AreaShape_Area")
    assert (found.plate, found.column.source_table) == ("P1", "Per_Nuclei")
    assert main(["trace", file, "Nuclei_AreaShape_Area"]) == 0
    assert "Per_Nuclei" in capsys.readouterr().out
    assert main(["trace", file, "Nuclei_AreaShape_Area", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["source_file"] == str(source) and told["digest"] == found.digest

    with pytest.raises(TargetError, match="did you mean Nuclei_AreaShape_Area"):
        trace(file, "Nuclei_AreaShape_Aera")
    with pytest.raises(SourceNotFoundError, match="no such file"):
        trace(tmp_path / "nothing.parquet", "a")
    (tmp_path / "other.parquet").write_bytes(b"no Parquet")
    with pytest.raises(OptionError, match="not a whole Parquet file"):
        trace(tmp_path / "other.parquet", "a")
    assert trace(tmp_path / "out", "Nuclei_AreaShape_Area") == found
    convert(source, tmp_path / "tables", column_map=True)
    with pytest.raises(OptionError, match=r"a folder of tables; name one of them, such as .*/tables/Cells\.parquet"):
        trace(tmp_path / "tables", "Metadata_ImageNumber")
    convert(source, tmp_path / "plain")
    with pytest.raises(SourceNotFoundError, match="column_map=True"):
        trace(tmp_path / "plain" / "Cells.parquet", "Metadata_ImageNumber")
    # What is made into the same folder later has no map.
    convert(make_plate(plate(JUMP), "source/P2.sqlite"), tmp_path / "out" / "other.parquet")
    with pytest.raises(SourceNotFoundError, match="of other tables"):
        trace(tmp_path / "out" / "other.parquet", "Metadata_ImageNumber")


def test_chunk_files_and_queries_are_mapped_too(make_plate, tmp_path):
    source = make_plate(plate(JUMP))
    convert(source, tmp_path / "chunks", concat=False, chunk_size=2, column_map=True)
    assert len(list((tmp_path / "chunks" / "Cells").iterdir())) > 1
    found = trace(tmp_path / "chunks" / "Cells", "Cells_AreaShape_Area")
    assert found.column.rows == 5
    sql = "SELECT *, 1 AS made FROM 'nuclei.parquet'"
    convert(source, tmp_path / "asked" / "q.parquet", joins=sql, column_map=True)
    area, made = (trace(tmp_path / "asked" / "q.parquet", c).column for c in ("Nuclei_AreaShape_Area", "made"))
    assert (area.source_table, made.source_table) == ("Nuclei", None)


def test_a_map_is_not_replaced_unasked_and_is_of_one_plate(make_plate, tmp_path):
    source = make_plate()
    make_plate(name="source/P2.sqlite")
    convert(source, tmp_path / "out", column_map=True)
    with pytest.raises(DestinationExistsError, match=r"_about/columns\.parquet"):
        convert(source, tmp_path / "out" / "joined.parquet", column_map=True)
    with pytest.raises(OptionError, match="one plate"):
        convert(tmp_path / "source", tmp_path / "both", column_map=True)
    assert not (tmp_path / "both").exists()


def test_a_map_goes_into_a_store_beside_the_tables(make_plate, in_store, tmp_path):
    result = convert(make_plate(), in_store.address("out"), column_map=True, dest_cloud=in_store.store.options)
    assert str(result.columns) == in_store.address("out/_about/columns.parquet")
    found = trace(str(result["Cells"]), "Cells_AreaShape_Area", **in_store.store.options)
    assert found.column.source_column == "Cells_AreaShape_Area"
