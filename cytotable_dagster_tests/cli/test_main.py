"""The command line: exit statuses, what is printed where, and that every option reaches convert()."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import cytotable_dagster
from cytotable_dagster import read_table
from cytotable_dagster.cli.main import main
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_csv
from cytotable_dagster_tests.core.sources.npz import test_npz


def _run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_plate_is_converted_and_the_result_printed(source, tmp_path, capsys):
    assert _run("convert", source, tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert names_in(tmp_path / "out") == ["Cells.parquet", "Cytoplasm.parquet", "Image.parquet", "Nuclei.parquet"]
    where, heads, *_ = printed.out.splitlines()
    assert where == f"in {tmp_path / 'out'}:"
    assert heads.split() == ["file", "rows", "columns", "size", "seconds"]
    tables = [
        line for line in printed.out.splitlines() if line.startswith(("file ", "table ", "Cytoplasm.", "Cytoplasm "))
    ]
    assert len(tables) == 4 and max(map(len, tables)) <= 80


def test_one_plate_of_one_is_called_so(source, tmp_path, capsys):
    (tmp_path / "plates").mkdir()
    source.rename(tmp_path / "plates" / "P1.sqlite")
    (tmp_path / "plates" / "P2.sqlite").touch()
    assert _run("convert", tmp_path / "plates", tmp_path / "out", "--on-error", "skip") == 1
    printed = capsys.readouterr()
    assert "1 plate converted in" in printed.out
    assert printed.err.splitlines()[-1] == "cytotable-dagster: 1 of 2 plates was skipped: P2"


def test_without_a_terminal_progress_is_plain_lines_to_the_end_of_each_table(source, tmp_path, capsys):
    assert _run("convert", source, tmp_path / "out", "--chunk-size", 2) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "tables looked through: 4 of 4"
    steps = [f"{name}: {done} of 2" for name in ("Cells", "Cytoplasm", "Image", "Nuclei") for done in (1, 2)]
    assert sorted(lines[1:]) == steps


def test_names_may_be_given_by_one_option_each(source, tmp_path, capsys):
    options = ["--targets", "cells", "--targets", "nuclei,image"]
    assert _run("convert", source, tmp_path / "out", *options) == 0
    assert names_in(tmp_path / "out") == ["Cells.parquet", "Image.parquet", "Nuclei.parquet"]


def test_every_option_reaches_the_conversion(source, tmp_path, capsys):
    options = ["--targets", "cells, NUCLEI", "--preset", JUMP, "--source-datatype", "sqlite", "--no-concat"]
    assert _run("convert", source, tmp_path / "out", *options, "--chunk-size", 2, "--cast", "float=float32") == 0
    assert names_in(tmp_path / "out") == [
        "Cells",
        "Cells/00000.parquet",
        "Cells/00001.parquet",
        "Nuclei",
        "Nuclei/00000.parquet",
        "Nuclei/00001.parquet",
    ]
    assert (
        str(pq.read_schema(tmp_path / "out" / "Cells" / "00000.parquet").field("Cells_Intensity_Mean").type) == "float"
    )


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        ([], 5, 19),
        (["--names", "cytotable"], 5, 18),
        (["--drop-null"], 4, 19),
        (["--unmatched", "drop"], 4, 19),
        (["--image-features"], 5, 20),
        (["--add-tablenumber"], 5, 20),
        (["--metadata", ""], 5, 14),
        (["--compartments", "cells"], 5, 11),
        (["--joins", "SELECT Cells_AreaShape_Area FROM 'cells.parquet' LIMIT 2"], 2, 1),
        (["--identifying-columns", "ImageNumber,TableNumber"], 5, None),
    ],
)
def test_options_of_the_joined_table_reach_the_conversion(source, tmp_path, options, rows, columns):
    assert _run("convert", source, tmp_path / "out.parquet", *options) == 0
    metadata = pq.read_metadata(tmp_path / "out.parquet")
    assert metadata.num_rows == rows
    assert columns is None or metadata.num_columns == columns


def test_anndata_is_chosen_by_name_or_option(source, tmp_path, capsys):
    assert _run("convert", source, tmp_path / "cells.h5ad") == 0
    assert "cells.h5ad" in capsys.readouterr().out
    assert _run("convert", source, tmp_path / "cells", "--dest-datatype", "anndata_zarr", "--targets", "cells") == 0
    assert (tmp_path / "cells.h5ad").read_bytes()[1:4] == b"HDF" and (tmp_path / "cells" / ".zgroup").exists()


def test_plates_are_put_into_a_warehouse(source, tmp_path, capsys):
    options = ("convert", source, tmp_path / "warehouse", "--dest-backend", "iceberg")
    assert _run(*options) == 0
    assert str(tmp_path / "warehouse") in capsys.readouterr().out
    assert _run(*options) != 0
    assert "is in the warehouse; replace it with" in capsys.readouterr().err
    assert _run(*options, "--overwrite") == 0
    assert len(read_table(tmp_path / "warehouse")) == 5


def test_join_and_no_join_override_the_destination(source, tmp_path):
    assert _run("convert", source, tmp_path / "out", "--join") == 0
    assert names_in(tmp_path / "out") == ["single_cells.parquet"]
    assert _run("convert", source, tmp_path / "x.parquet", "--no-join") == 0
    assert "Cells.parquet" in names_in(tmp_path / "x.parquet")
    assert _run("convert", source, tmp_path / "both", "--both") == 0
    assert {"Cells.parquet", "single_cells.parquet"} < {*names_in(tmp_path / "both")}


def test_a_parsl_config_is_loaded_by_name(source, tmp_path):
    assert (
        _run(
            "convert",
            source,
            tmp_path / "out",
            "--parsl-config",
            "cytotable_dagster.core.execution.runner:thread_config",
        )
        == 0
    )


def test_a_parsl_config_may_be_in_the_working_directory(source, tmp_path, capsys, monkeypatch):
    (tmp_path / "config_of_this_lab.py").write_text("def config():\n    return {}['ACCOUNT']\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path not in ("", str(tmp_path))])
    address = "config_of_this_lab:config"
    assert _run("convert", source, tmp_path / "out", "--parsl-config", address) == 1
    assert capsys.readouterr().err == f"cytotable-dagster: --parsl-config {address}: failed (KeyError: 'ACCOUNT')\n"


@pytest.mark.parametrize(
    "address",
    ["nowhere:config", "cytotable_dagster.core.execution.runner:nothing", "cytotable_dagster", ":x", "os:sep"],
)
def test_a_parsl_config_that_is_none_is_an_error_in_one_line(source, tmp_path, capsys, address):
    assert _run("convert", source, tmp_path / "out", "--parsl-config", address) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_failure_is_one_line_on_stderr_and_status_1(tmp_path, capsys):
    assert _run("convert", tmp_path / "missing.sqlite", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [f"cytotable-dagster: {tmp_path}/missing.sqlite: no such file or folder"]


def test_a_destination_that_exists_is_a_failure_unless_overwrite(source, tmp_path, capsys):
    assert _run("convert", source, tmp_path / "out.parquet") == 0
    assert _run("convert", source, tmp_path / "out.parquet") == 1
    assert "exists" in capsys.readouterr().err
    assert _run("convert", source, tmp_path / "out.parquet", "--overwrite") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["convert"],
        ["convert", "x.sqlite"],
        ["convert", "x", "y", "--cast", "float"],
        ["convert", "x", "y", "--what"],
        ["convert", "x", "y", "--chunk-size", "many"],
        ["transform"],
        ["inspect"],
        ["inspect", "x", "--source-datatype", "xls"],
        ["dataset"],
    ],
)
def test_a_command_that_is_not_understood_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: cytotable-dagster" in capsys.readouterr().err


def test_help_and_version_are_status_0(capsys):
    for arguments in (["--help"], ["convert", "--help"], ["inspect", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1] == cytotable_dagster.__version__


def test_inspect_shows_dialect_tables_rows_columns_size_and_chunks(source, capsys, tmp_path):
    before = names_in(tmp_path)
    assert _run("inspect", source, "--chunk-size", 2) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["plate"].split()[1] == "P1"
    assert f"{source.stat().st_size:,} bytes" in lines["source"]
    assert lines["preset"].split()[1] == JUMP
    assert lines["images"].split()[1] == "2"
    assert lines["chunks"].split()[1] == "2"
    assert lines["Cells"].split()[:4] == ["Cells", "Cells", "5", "5"]
    assert lines["Nuclei"].split()[:4] == ["Nuclei", "Nuclei", "7", "5"]
    assert names_in(tmp_path) == before


def test_inspect_tells_what_a_conversion_complains_of(source, capsys, tmp_path):
    assert _run("inspect", source) == 0
    complained = capsys.readouterr().out.split("refuses:\n")[1].splitlines()
    assert _run("convert", source, tmp_path / "out", "--report", tmp_path / "report.json") == 0
    assert [line.strip() for line in complained] == json.loads((tmp_path / "report.json").read_text())["problems"]


def test_inspect_gives_programs_the_same(source, capsys, tmp_path):
    assert _run("inspect", source, "--chunk-size", 2, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["plate"], found["bytes"], found["preset"]) == ("P1", source.stat().st_size, JUMP)
    assert [(chunk["images"], chunk["rows"]["Cells"]) for chunk in found["chunks"]] == [(1, 3), (1, 2)]
    assert {table["table"]: table["rows"] for table in found["tables"]}["Nuclei"] == 7
    assert found["base"] == "Cytoplasm" and set(found["joined"]) == {"Cells", "Nuclei"}
    assert len(found["problems"]) == 2


def test_inspect_names_tables_that_would_not_be_converted(tmp_path, capsys):
    tables = {**plate(EXPORT), "Experiment": plate(EXPORT)["Per_Image"]}
    assert _run("inspect", write_sqlite(tmp_path / "P.sqlite", tables)) == 0
    assert "not converted: Experiment" in capsys.readouterr().out


def test_inspect_fails_as_a_conversion_would(tmp_path, capsys):
    (tmp_path / "P1.sqlite").touch()
    assert _run("inspect", tmp_path / "P1.sqlite") == 1
    assert "0 bytes" in capsys.readouterr().err


def test_the_installed_command_fails_in_one_line_and_with_no_traceback(source, tmp_path):
    command = Path(sys.executable).with_name("cytotable-dagster")
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    content = bytearray(source.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    source.write_bytes(content)
    ran = subprocess.run([command, "convert", source, tmp_path / "bad"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert ran.stderr.startswith("cytotable-dagster: ")


def test_the_report_is_printed_and_written_where_asked(source, tmp_path, capsys):
    assert _run("convert", source, tmp_path / "out", "--report", tmp_path / "report.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    printed = capsys.readouterr().out
    assert report["problems"]
    assert all(line in printed for line in report["problems"])


@pytest.mark.parametrize("place", ["", "a_file/report.json", "/proc/nowhere/report.json"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_converted(source, tmp_path, capsys, place):
    (tmp_path / "a_file").write_text("")
    assert _run("convert", source, tmp_path / "out", "--report", tmp_path / place) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "folder is there" in line or "name another place" in line
    assert not (tmp_path / "out").exists()


def test_strict_fails_in_one_line_and_still_writes_the_report(source, tmp_path, capsys):
    assert _run("convert", source, tmp_path / "out", "--strict", "--report", tmp_path / "report.json") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["problems"][0] in line
    assert not (tmp_path / "out").exists()


def test_a_home_is_set_up_once_and_what_is_there_is_left(tmp_path, capsys, monkeypatch):
    import dagster as dg

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert _run("home") == 0
    with dg.DagsterInstance.get() as instance:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert limits == {"fetch": 2, "parsl": 2}
        instance.event_log_storage.set_concurrency_slots("parsl", 5)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert _run("home") == 0
    assert "was left" not in capsys.readouterr().out
    settings = (tmp_path / "dagster.yaml").read_text()
    assert settings.startswith("telemetry: {enabled: false}\n") and "run_monitoring:" in settings
    assert _run("home") == 0
    assert "was left" in capsys.readouterr().out
    assert (tmp_path / "dagster.yaml").read_text() == settings
    with dg.DagsterInstance.get() as instance:
        assert {pool.limit for pool in instance.event_log_storage.get_pool_limits()} == {2, 5}


def test_folders_of_files_are_converted_and_inspected(tmp_path, capsys):
    file = test_csv.site(tmp_path / "P1") / "Image.csv"
    file.write_bytes("ImageNumber,Metadata_Well\n1,Zürich\n".encode("latin-1"))
    options = ["--source-datatype", "csv", "--encoding", "latin-1"]
    assert _run("inspect", tmp_path / "P1", *options) == 0
    assert "cellprofiler_csv" in capsys.readouterr().out
    assert _run("convert", tmp_path / "P1", tmp_path / "out", *options) == 0
    assert pq.read_table(tmp_path / "out" / "Image.parquet")["Metadata_Well"].to_pylist() == ["Zürich"]
    assert _run("convert", tmp_path / "P1", tmp_path / "again", *options[:2]) == 1
    assert "pass --encoding" in capsys.readouterr().err
    test_npz.site(tmp_path / "P2" / "a.npz")
    assert _run("inspect", tmp_path / "P2") == 0
    assert _run("convert", tmp_path / "P2", tmp_path / "deep", "--source-datatype", "npz", "--strict") == 0
    assert names_in(tmp_path / "deep") == ["Cells.parquet"]


def test_a_preset_of_ones_own_is_taken_from_its_file(tmp_path, capsys):
    (tmp_path / "lab.toml").write_text('based_on = "cellprofiler_csv"\ncompartments = ["cells"]\n')
    test_csv.site(tmp_path / "P1")
    assert _run("convert", tmp_path / "P1", tmp_path / "out", "--preset", tmp_path / "lab.toml") == 0
    assert names_in(tmp_path / "out") == ["Cells.parquet", "Image.parquet"]
    assert "preset lab" in capsys.readouterr().out
    assert _run("convert", tmp_path / "P1", tmp_path / "no", "--preset", tmp_path / "none.toml") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_the_library_warns_of_is_one_line_in_the_words_of_the_command(source, tmp_path, capsys):
    assert main(["convert", str(source), str(tmp_path / "out.csv")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "becomes a folder" in line]
    assert line.startswith(f"cytotable-dagster: DEST '{tmp_path / 'out.csv'}'")
