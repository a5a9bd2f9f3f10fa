"""convert(): what each parameter does, and what the result tells."""

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import xxhash

import cytotable_dagster
from cytotable_dagster import PRESETS, ConversionResult, convert
from cytotable_dagster.core.errors import CytoTableError, DestinationExistsError, OptionError, PresetError, TargetError
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP, Site, plate, sites
from cytotable_dagster_tests.digests import digest

FOUR = ["Cells.parquet", "Cytoplasm.parquet", "Image.parquet", "Nuclei.parquet"]


def test_a_folder_gets_one_file_for_each_compartment(make_plate, results):
    result = convert(make_plate(), results.at(), **results.options)
    assert results.names() == FOUR
    assert [output.path.name for output in result.outputs] == [
        "Image.parquet",
        "Cells.parquet",
        "Cytoplasm.parquet",
        "Nuclei.parquet",
    ]
    assert str(result.path) == results.at()
    assert [output.size for output in result.outputs] == [len(results.content(o.path)) for o in result.outputs]


def test_a_folder_that_exists_and_is_empty_is_used(make_plate, tmp_path):
    (tmp_path / "out").mkdir()
    convert(make_plate(), tmp_path / "out")
    assert names_in(tmp_path / "out") == FOUR


def test_a_name_that_ends_in_parquet_gets_the_joined_single_cells(make_plate, results):
    result = convert(make_plate(), results.at("new/test.parquet"), **results.options)
    assert results.names("new") == ["test.parquet"]
    assert results.table(result.path).num_rows == 5
    assert str(result.path) == results.at("new/test.parquet")


def test_join_overrides_what_the_destination_says(make_plate, results):
    source = make_plate()
    convert(source, results.at("joined"), join=True, **results.options)
    assert results.names("joined") == ["single_cells.parquet"]
    convert(source, results.at("split.parquet"), join=False, **results.options)
    assert results.names("split.parquet") == FOUR


def test_every_place_and_argument_may_be_text(make_plate, tmp_path):
    result = convert(str(make_plate()), str(tmp_path / "out"), preset=JUMP, source_datatype="sqlite")
    assert result.preset == JUMP


def test_relative_places_are_those_of_the_working_directory(make_plate, tmp_path, monkeypatch):
    make_plate()
    monkeypatch.chdir(tmp_path)
    before = names_in(tmp_path)
    result = convert("source/P1.sqlite", "./outputs/x.parquet")
    assert names_in(tmp_path) == sorted([*before, "outputs", "outputs/x.parquet"])
    assert result.path.is_absolute()


def test_a_folder_that_holds_one_plate_is_a_source(make_plate, tmp_path):
    source = make_plate()
    (source.parent / "notes.txt").write_text("not a plate")
    result = convert(source.parent, tmp_path / "out.parquet")
    assert result.source.uri == str(source)
    assert result.source.plate == "P1"


@pytest.mark.parametrize(
    ("targets", "files"),
    [
        (["cells", "NUCLEI"], ["Cells.parquet", "Nuclei.parquet"]),
        (("Image",), ["Image.parquet"]),
        ({"cytoplasm"}, ["Cytoplasm.parquet"]),
        (iter(["cells", "cells"]), ["Cells.parquet"]),
        (None, FOUR),
    ],
)
def test_targets_limit_the_tables_in_any_case(make_plate, tmp_path, targets, files):
    convert(make_plate(), tmp_path / "out", targets=targets)
    assert names_in(tmp_path / "out") == files


def test_targets_may_be_named_as_the_file_names_them(make_plate, tmp_path):
    convert(make_plate(plate(EXPORT)), tmp_path / "out", targets=["per_cells"])
    assert names_in(tmp_path / "out") == ["Cells.parquet"]


def test_a_target_that_is_not_there_is_refused_with_those_that_are(make_plate, tmp_path):
    with pytest.raises(TargetError, match=r"'speckles'.*Image, Cells, Cytoplasm, Nuclei"):
        convert(make_plate(), tmp_path / "out", targets=["cells", "speckles"])
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


def test_targets_that_name_no_table_are_refused(make_plate, tmp_path):
    with pytest.raises(TargetError, match="names no table"):
        convert(make_plate(), tmp_path / "out", targets=[])


def test_no_metadata_tables_leaves_the_image_table_out(make_plate, tmp_path):
    source = make_plate()
    convert(source, tmp_path / "out", metadata=[])
    assert names_in(tmp_path / "out") == ["Cells.parquet", "Cytoplasm.parquet", "Nuclei.parquet"]
    joined = pq.read_table(convert(source, tmp_path / "out.parquet", metadata=[]))
    assert joined.num_rows == 5
    assert not [name for name in joined.column_names if name.startswith("Image")]


def test_compartments_replace_those_of_the_preset(make_plate, tmp_path):
    tables = plate(JUMP)
    tables["Speckles"] = tables.pop("Nuclei")
    convert(make_plate(tables), tmp_path / "out", compartments=["cells", "speckles"])
    assert names_in(tmp_path / "out") == ["Cells.parquet", "Image.parquet", "Speckles.parquet"]
    columns = pq.read_schema(tmp_path / "out" / "Speckles.parquet").names
    assert "Speckles_Nuclei_AreaShape_Area" in columns


def test_compartments_of_a_dialect_that_is_detected_by_them(make_plate, tmp_path):
    tables = plate(JUMP)
    made = {"Image": tables["Image"], "Speckles": tables["Nuclei"]}
    result = convert(make_plate(made), tmp_path / "out", compartments=["speckles"], preset=JUMP)
    assert [output.path.stem for output in result.outputs] == ["Image", "Speckles"]


def test_identifying_columns_replace_those_of_the_preset(converted):
    cells = converted(identifying_columns=["ImageNumber", "Cells_AreaShape_Area"], targets=["cells"])["Cells"]
    assert cells.column_names == [
        "Metadata_ObjectNumber",
        "Metadata_Cells_TableNumber",
        "Metadata_ImageNumber",
        "Metadata_Cells_ObjectNumber",
        "Metadata_Cells_AreaShape_Area",
        "Cells_Intensity_Mean",
    ]


@pytest.mark.parametrize("join", [False, True])
def test_concat_false_leaves_folders_of_parquet_files_that_read_as_one_dataset(make_plate, tmp_path, join):
    source = make_plate(plate(JUMP, sites(3, 2, 4, 1)))
    result = convert(source, tmp_path / "out", concat=False, chunk_size=4, join=join)
    for output in result.outputs:
        assert output.path.is_dir()
        assert len(list(output.path.iterdir())) == 4
        assert all(path.suffix == ".parquet" and path.is_file() for path in output.path.iterdir())
        table = pyarrow.dataset.dataset(output.path).to_table()
        assert table.num_rows == output.rows == len(pd.read_parquet(output.path))
        assert output.size == sum(path.stat().st_size for path in output.path.iterdir())
        whole = pq.read_table(convert(source, tmp_path / "whole", join=join, overwrite=True).outputs[0].path)
        if output is result.outputs[0]:
            assert table.replace_schema_metadata() == whole.replace_schema_metadata()


def test_joins_is_a_query_over_the_compartments(make_plate, tmp_path):
    sql = """SELECT cells.*, image.Metadata_Well FROM 'cells.parquet' AS cells
             JOIN read_parquet('Image.parquet') AS image USING (Metadata_TableNumber, Metadata_ImageNumber)
             WHERE cells.Metadata_ObjectNumber < 3"""
    result = convert(make_plate(), tmp_path / "out.parquet", joins=sql)
    joined = pq.read_table(result)
    assert joined.num_rows == 4
    assert joined["Metadata_Well"].to_pylist().count("A01") == 2
    assert joined.column_names[:3] == ["Metadata_TableNumber", "Metadata_ImageNumber", "Metadata_ObjectNumber"]
    assert names_in(tmp_path) == ["out.parquet", "source", "source/P1.sqlite"]


def test_joins_may_name_tables_as_cellprofiler_does(make_plate, tmp_path):
    result = convert(make_plate(plate(EXPORT)), tmp_path / "out.parquet", joins="SELECT * FROM 'per_nuclei.parquet'")
    assert pq.read_metadata(result).num_rows == 7


def test_joins_may_return_nothing(make_plate, tmp_path):
    result = convert(make_plate(), tmp_path / "out.parquet", joins="SELECT * FROM 'cells.parquet' WHERE false")
    assert pq.read_metadata(result).num_rows == 0


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEKT 1", "SELEKT"),
        ("SELECT Nowhere FROM 'cells.parquet'", "Nowhere"),
        ("SELECT * FROM 'speckles.parquet'", "speckles"),
        ("SELECT 1 AS x, 2 AS x", "column x twice"),
        ("", "one SELECT"),
        ("SELECT 1; SELECT 2", "not SELECT, SELECT"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "not COPY"),
        ("ATTACH 'other.db'", "not ATTACH"),
        ("INSTALL httpfs", "not LOAD"),
        ("SET enable_external_access = true", "not SET"),
        ("CREATE TABLE x AS SELECT 1", "not CREATE"),
        ("SELECT * FROM read_csv('/etc/passwd')", "and nothing else"),
        ("SELECT * FROM read_text('/etc/passwd')", "and nothing else"),
        ("SELECT * FROM glob('/etc/*')", "and nothing else"),
        ("SELECT * FROM 'https://127.0.0.1:1/x.parquet'", "httpfs|refuses|nothing else"),
        ("SELECT * FROM sqlite_scan('x.db', 't')", "refuses"),
        ("SELECT * FROM files", "refuses"),
    ],
)
def test_joins_that_duckdb_refuses_are_an_error_in_one_line(make_plate, tmp_path, sql, said):
    with pytest.raises(OptionError, match=said) as caught:
        convert(make_plate(), tmp_path / "out.parquet", joins=sql)
    assert str(caught.value).startswith("joins: ")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


def test_a_query_reads_no_other_file_of_the_conversion(make_plate, tmp_path):
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    source = make_plate()
    for path in (tmp_path / "other.parquet", "out.parquet", ".", "../source/P1.sqlite"):
        with pytest.raises(OptionError, match="joins: "):
            convert(source, tmp_path / "out.parquet", joins=f"SELECT * FROM read_blob('{path}')")


@pytest.mark.parametrize(
    "name", ["../../../evil", "/evil", "a/b", "..", ".hidden", "_about", "a\\b", "x" * 300, "a\0b"]
)
def test_a_table_that_no_file_can_be_called_after_is_refused(make_plate, tmp_path, name):
    tables = plate(JUMP)
    if "\0" not in name:
        tables[name[:1].upper() + name[1:]] = tables["Nuclei"]
    source = make_plate(tables)
    preset = tmp_path / "lab.toml"
    preset.write_text(f"base = '{JUMP}'\ncompartments = {json.dumps([name])}\n")
    before = names_in(tmp_path)
    for options in ({"compartments": [name]}, {"preset": str(preset)}):
        with pytest.raises(CytoTableError, match="compartment") as caught:
            convert(source, tmp_path / "deep" / "out", **options)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600
    assert names_in(tmp_path) == before


def test_joins_and_join_false_contradict_each_other(make_plate, tmp_path):
    with pytest.raises(OptionError, match="join=False"):
        convert(make_plate(), tmp_path / "out", joins="SELECT 1", join=False)


def test_add_tablenumber_adds_the_checksum_of_the_file_to_every_table(make_plate, tmp_path):
    source = make_plate(plate(EXPORT))
    result = convert(source, tmp_path / "out", add_tablenumber=True)
    for output in result.outputs:
        table = pq.read_table(output.path)
        assert table.schema.field(0) == pa.field("Metadata_TableNumber", pa.int64())
        assert set(table["Metadata_TableNumber"].to_pylist()) == {zlib.crc32(source.read_bytes())}
    joined = pq.read_table(convert(source, tmp_path / "out.parquet", add_tablenumber=True))
    assert joined.column_names.count("Metadata_TableNumber") == 1
    assert set(joined["Metadata_TableNumber"].to_pylist()) == {zlib.crc32(source.read_bytes())}


@pytest.mark.parametrize("dialect", [JUMP, CYTOMINER])
def test_add_tablenumber_makes_room_for_itself_and_keeps_the_sources_own(make_plate, tmp_path, dialect):
    source = make_plate(plate(dialect))
    for dest in ("out", "out.parquet"):
        result = convert(source, tmp_path / dest, add_tablenumber=True)
        for output in result.outputs:
            table = pq.read_table(output.path)
            assert set(table["Metadata_TableNumber"].to_pylist()) == {zlib.crc32(source.read_bytes())}
            assert set(table["Metadata_Image_TableNumber"].to_pylist()) == {1001, 1002}


def test_rows_are_sorted_even_where_it_is_not_asked_for(make_plate, tmp_path):
    source = make_plate(shuffled=3)
    tables = [pq.read_table(convert(source, tmp_path / f"{flag}.parquet", sort_output=flag)) for flag in (True, False)]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("dest", ["out", "out.parquet"])
def test_a_destination_that_exists_is_left_as_it_is_unless_overwrite(make_plate, results, dest):
    source = make_plate()
    first = convert(source, results.at(dest), **results.options)
    before = [digest(results.content(output.path)) for output in first.outputs]
    with pytest.raises(DestinationExistsError, match="overwrite=True") as caught:
        convert(source, results.at(dest), chunk_size=1, **results.options)
    assert isinstance(caught.value, FileExistsError)
    assert any(str(output.path) in str(caught.value) for output in first.outputs)
    assert [digest(results.content(output.path)) for output in first.outputs] == before
    again = convert(source, results.at(dest), overwrite=True, chunk_size=1, **results.options)
    assert [digest(results.content(output.path)) for output in again.outputs] != before


def test_what_lies_beside_the_results_is_left_alone(make_plate, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    convert(make_plate(), tmp_path / "out", overwrite=True)
    assert names_in(tmp_path / "out") == [*FOUR, "notes.txt"]


@pytest.mark.parametrize("concat", [True, False])
def test_overwrite_replaces_folders_by_files_and_files_by_folders(make_plate, results, concat):
    source = make_plate()
    convert(source, results.at(), join=True, concat=concat, **results.options)
    convert(source, results.at(), join=True, concat=not concat, overwrite=True, **results.options)
    folder, file = ["single_cells.parquet/00000.parquet"], ["single_cells.parquet"]
    assert [name for name in results.names() if name != "single_cells.parquet" or not concat] == (
        folder if concat else file
    )
    assert results.table(results.at(f"out/{(folder if concat else file)[0]}")).num_rows == 5


def test_overwrite_leaves_no_chunk_file_of_an_earlier_run(make_plate, results):
    source = make_plate()
    convert(source, results.at(), concat=False, chunk_size=1, **results.options)
    convert(source, results.at(), concat=False, overwrite=True, **results.options)
    files = [name for name in results.names() if name.endswith(".parquet")]
    assert files == [f"{name.removesuffix('.parquet')}/00000.parquet" for name in FOUR]


@pytest.mark.parametrize("dest", ["file", "file/out", "file/out.parquet"])
def test_a_file_where_a_folder_is_to_be_is_refused(make_plate, tmp_path, dest):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DestinationExistsError):
        convert(make_plate(), tmp_path / dest, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert names_in(tmp_path) == ["file", "source", "source/P1.sqlite"]


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"chunksize": 3}, TypeError, "chunksize; did you mean chunk_size"),
        ({"no_sign_requests": True}, TypeError, "no_sign_request"),
        ({"dest_datatype": "csv"}, OptionError, "'csv'"),
        ({"concat": "no"}, OptionError, "concat 'no'"),
        ({"join": "all"}, OptionError, "join 'all'"),
        ({"join": "both", "dest_path": "out.parquet"}, OptionError, "give a folder as dest_path"),
        ({"join": "both", "dest_path": "out.zarr"}, OptionError, "Parquet files only"),
        ({"overwrite": "no"}, OptionError, "overwrite 'no'"),
        ({"metadata": ["experiment"]}, PresetError, "Experiment"),
        ({"dest_path": "ftp://bucket/out"}, OptionError, "ftp://bucket/out"),
    ],
)
def test_an_option_that_means_nothing_is_refused_by_name_and_leaves_nothing(
    make_plate, tmp_path, monkeypatch, options, error, named
):
    monkeypatch.chdir(tmp_path)
    source = make_plate()
    with pytest.raises(error, match=re.escape(named)) as caught:
        convert(source, **{"dest_path": tmp_path / "out", **options})
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


def test_a_preset_may_be_given_as_an_object(make_plate, tmp_path):
    preset = PRESETS[JUMP].with_options(compartments=["Cells"])
    result = convert(make_plate(), tmp_path / "out", preset=preset)
    assert [output.path.stem for output in result.outputs] == ["Image", "Cells"]


def test_progress_tells_every_step_to_its_end(make_plate, tmp_path):
    source = make_plate(plate(JUMP, sites(1, 1, 1)))
    for dest, names in (("out", {"Image", "Cells", "Cytoplasm", "Nuclei"}), ("out.parquet", {"single_cells"})):
        told: list[tuple[str, int, int]] = []
        convert(source, tmp_path / dest, chunk_size=1, progress=lambda *step, told=told: told.append(step))
        assert told[0] == ("tables looked through", 0, 4)
        assert {step for step, _, _ in told} == {"tables looked through", *names}
        for name in names:
            assert [step[1:] for step in told if step[0] == name][-1] == (3, 3)


def test_the_result_prints_a_short_table(make_plate, tmp_path):
    result = convert(make_plate(), tmp_path / "out")
    lines = str(result).splitlines()
    assert lines[0] == f"in {tmp_path / 'out'}:"
    assert lines[1].split() == ["file", "rows", "columns", "size", "seconds"]
    assert [line.split()[0] for line in lines[2:6]] == [output.path.name for output in result.outputs]
    assert lines[3].split()[1:3] == ["5", "5"]
    assert f"plate P1 from {result.source.uri}, preset {JUMP}" in lines[6]


def test_a_result_of_one_file_is_a_path_wherever_one_is_wanted(make_plate, tmp_path):
    result = convert(make_plate(), tmp_path / "out.parquet")
    assert os.fspath(result) == str(tmp_path / "out.parquet")
    assert Path(result) == result.path
    assert len(pd.read_parquet(result)) == 5
    assert pq.read_metadata(result).num_rows == 5
    with Path(result).open("rb") as file:
        assert file.read(4) == b"PAR1"


def test_a_result_of_several_files_is_no_path_but_each_of_them_is(make_plate, tmp_path):
    source = make_plate()
    result = convert(source, tmp_path / "out")
    for reader in (os.fspath, open, pd.read_parquet, pq.read_table):
        with pytest.raises(TypeError, match=r'result\["Cells"\]'):
            reader(result)
    with pytest.raises(TypeError):  # from Python 3.12 on in pathlib's own words
        Path(result)
    assert result.path == tmp_path / "out"
    assert result["Cells"] == result["cells"] == tmp_path / "out" / "Cells.parquet"
    assert list(result) == ["Image", "Cells", "Cytoplasm", "Nuclei"] and "cells" in result and "speckles" not in result
    assert len(pd.read_parquet(result["Cells"])) == 5
    with pytest.raises(TargetError, match="'speckles'; there are: Image, Cells, Cytoplasm, Nuclei"):
        result["speckles"]
    two = convert(source, tmp_path / "two", targets=["Nuclei", "Image"])
    with pytest.raises(TypeError, match=r'result\["Image"\]'):
        os.fspath(two)


def test_facts_of_the_outputs_are_those_of_the_files(make_plate, tmp_path):
    result = convert(make_plate(), tmp_path / "out", chunk_size=1)
    assert isinstance(result, ConversionResult)
    for output in result.outputs:
        metadata = pq.read_metadata(output.path)
        assert (output.rows, output.columns) == (metadata.num_rows, metadata.num_columns)
        assert output.size == output.path.stat().st_size


@pytest.mark.parametrize(
    ("dest", "options", "name"),
    [
        ("out", {}, "Cells"),
        ("out", {"concat": False}, "Cells"),
        ("out.parquet", {}, "single_cells"),
        ("out.parquet", {"joins": "FROM 'Cells.parquet'"}, "single_cells"),
    ],
)
def test_the_footer_tells_where_a_file_comes_from(make_plate, tmp_path, dest, options, name):
    source = make_plate()
    result = convert(source, tmp_path / dest, data_type_cast_map={"float": "float32"}, **options)
    path = next(o.path for o in result.outputs if o.path.stem in (name, "out"))
    if path.is_dir():
        path = next(path.iterdir())
    facts = read_facts(path)
    assert facts["source_uri"] == str(source)
    assert (
        facts["source_digest"] == f"xxh3-128:{xxhash.xxh3_128_hexdigest(source.read_bytes())}" == result.source.digest
    )
    assert facts["plate"] == "P1"
    assert facts["preset"] == JUMP
    assert facts["version"] == cytotable_dagster.__version__
    assert '["float64","float"]' in facts["options"]
    assert facts["rows"] == "5" == str(pq.read_metadata(path).num_rows)
    assert facts["compartment"] == name
    assert ("chunk" in facts) is not options.get("concat", True)


def test_a_query_is_kept_as_it_was_given(make_plate, tmp_path):
    source = make_plate()
    sql = "SELECT *\nFROM 'Cells.parquet'"
    results = [convert(source, tmp_path / f"{n}.parquet", joins=sql) for n in range(2)]
    assert read_facts(results[0].path)["joins"] == "SELECT * FROM 'Cells.parquet'"
    assert digest(results[0].path) == digest(results[1].path)


def test_a_destination_on_another_file_system_than_its_parent_is_written_to(make_plate, tmp_path):
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with TemporaryDirectory(dir=other) as folder:
        (tmp_path / "out").symlink_to(folder)
        convert(make_plate(), tmp_path / "out", targets=["cells", "image"])
        convert(make_plate(name="2.sqlite"), tmp_path / "out", join=True, concat=False)
        assert names_in(Path(folder)) == [
            "Cells.parquet",
            "Image.parquet",
            "single_cells.parquet",
            "single_cells.parquet/00000.parquet",
        ]


def test_results_are_read_alike_by_duckdb_pandas_and_arrow(make_plate, tmp_path):
    result = convert(make_plate(plate(JUMP, (Site(1, 1, 4), Site(2, 1, 3)))), tmp_path / "out.parquet", chunk_size=1)
    arrow = pq.read_table(result)
    with duckdb.connect() as duck:
        assert duck.sql(f"FROM '{os.fspath(result)}'").fetchall() == [tuple(row.values()) for row in arrow.to_pylist()]
    pd.testing.assert_frame_equal(pd.read_parquet(result), arrow.to_pandas())


def test_the_memory_pool_of_the_environment_is_used(make_plate, tmp_path):
    code = """
import sys
import pyarrow as pa
from cytotable_dagster import convert
convert(sys.argv[1], sys.argv[2])
print(pa.default_memory_pool().backend_name, pa.default_memory_pool().max_memory() > 0)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, make_plate(), tmp_path / "out"],
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "system True"), ran.stderr


def test_memory_mapping_can_be_turned_off(make_plate, tmp_path, monkeypatch):
    seen = []
    for value in ("1", "0"):
        monkeypatch.setenv("CYTOTABLE_ARROW_USE_MEMORY_MAPPING", value)
        seen.append(Path(convert(make_plate(name=f"{value}/P.sqlite"), tmp_path / f"{value}.parquet")).read_bytes())
    assert len(seen[0]) == len(seen[1])
