"""Plates among others that cannot be converted: they end everything, or are passed over and told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.errors import CytoTableError, OptionError, SourceFormatError, SourceNotFoundError
from cytotable_dagster.core.inspection import inspect_plates
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_csv
from cytotable_dagster_tests.core.sources.npz import test_npz
from cytotable_dagster_tests.digests import digests

DOORS = pytest.mark.parametrize("door", [convert, datasets.add])


def _sqlite(path: Path, **more: Any) -> Path:
    return write_sqlite(path.with_suffix(".sqlite"), plate(JUMP, sites(2, 1, **more)))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def _without_tables(path: Path) -> None:
    path.unlink()
    write_sqlite(path, {"Experiment": plate(JUMP)["Image"]})


BROKEN = pytest.mark.parametrize(
    ("kind", "broken"),
    [
        ("sqlite", lambda path: path.write_bytes(b"")),
        ("sqlite", lambda path: path.write_text("no database")),
        ("sqlite", _cut),
        ("sqlite", _without_tables),
        ("csv", lambda path: (path / "Cells.csv").write_text("ImageNumber,X\n1,1\n")),
        ("csv", lambda path: (path / "Cells.csv").write_bytes(b"\0" * 100)),
        ("npz", lambda path: (path / "1.npz").write_bytes(b"PK")),
    ],
    ids=["empty", "no database", "cut short", "no table", "no key", "no text", "no archive"],
)


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(kind: str, name: str) -> Path:
        folder = tmp_path / "plates"
        if kind == "sqlite":
            return _sqlite(folder / name)
        if kind == "csv":
            return test_csv.site(folder / name)
        return test_npz.site(folder / name / "1.npz", Metadata_Plate=name).parent

    return make


@DOORS
@BROKEN
def test_a_plate_that_cannot_be_read_stops_all_or_is_skipped(tmp_path, made, door, kind, broken):
    sources = [made(kind, name) for name in ("A", "B", "C")]
    broken(sources[1])
    with pytest.raises(CytoTableError, match="B") as caught:
        door(sources, tmp_path / "out")
    reason, hint, more = str(caught.value).partition('; on_error="skip" goes on with the other plates')
    assert (bool(hint), more) == (True, "")
    assert not (tmp_path / "out").exists()
    result = door(sources, tmp_path / "out", on_error="skip")
    assert [source.plate for source in result.sources] == ["A", "C"]
    assert result.report.skipped_plates == (("B", reason),)
    assert [report.plate for report in result.report.plates] == ["A", "C"]
    assert f"plate B was skipped: {reason}" in str(result)
    door([sources[0], sources[2]], tmp_path / "expected")
    assert digests(tmp_path / "out", "*.parquet") == digests(tmp_path / "expected", "*.parquet")


def test_a_dataset_that_has_the_others_takes_what_is_left(tmp_path, made):
    sources = [made("sqlite", name) for name in "AB"]
    whole = sources[1].read_bytes()
    sources[1].write_bytes(b"")
    datasets.add(sources[0], tmp_path / "set")
    result = datasets.add(sources, tmp_path / "set", on_error="skip")
    assert (result.sources, [name for name, _ in result.report.skipped_plates]) == ((), ["B"])
    sources[1].write_bytes(whole)
    mended = datasets.add(sources, tmp_path / "set", on_error="skip")
    assert ([source.plate for source in mended.sources], mended.report.skipped_plates) == (["B"], ())


@DOORS
def test_where_no_plate_is_left_the_first_reason_is_the_error(tmp_path, made, door):
    for name in "AB":
        made("sqlite", name).write_bytes(b"")
    with pytest.raises(SourceFormatError, match=r"no plate can be converted; A: .*empty.*and 1 more"):
        door(tmp_path / "plates", tmp_path / "out", on_error="skip")
    with pytest.raises(SourceFormatError, match="empty"):
        door(tmp_path / "plates" / "A.sqlite", tmp_path / "out", on_error="skip")
    assert not (tmp_path / "out").exists()


@DOORS
@pytest.mark.parametrize("pattern", [False, True])
def test_an_address_at_which_nothing_is_is_skipped_among_others(tmp_path, made, door, pattern):
    sources = [made("csv", "A"), tmp_path / "plates" / "B"]
    sources[1].mkdir()
    if pattern:
        sources = [tmp_path / "plates" / "*"]
    with pytest.raises(CytoTableError, match=r"plates/B: holds no"):
        door(sources, tmp_path / "out")
    result = door(sources, tmp_path / "out", on_error="skip")
    assert [source.plate for source in result.sources] == ["A"]
    assert [Path(name).name for name, _ in result.report.skipped_plates] == ["B"]
    assert result["Cells"].exists()


@DOORS
@pytest.mark.parametrize("join", [False, True])
def test_what_fails_only_while_it_is_converted_is_skipped_too(tmp_path, door, join):
    """Another file takes the place of a plate that was looked through."""
    tables = plate(JUMP, sites(2, 1))
    tables["Cells"].add_column("Cells_Of_B", "FLOAT", [1.0, 2.0, 3.0])
    write_sqlite(tmp_path / "plates" / "B.sqlite", tables)
    for name in "AC":
        _sqlite(tmp_path / "plates" / name)

    def change(step: str, done: int, total: int) -> None:
        if (step, done) == ("plates looked through", total):
            shutil.copy(tmp_path / "plates" / "A.sqlite", tmp_path / "plates" / "B.sqlite")

    result = door(tmp_path / "plates", tmp_path / "out", on_error="skip", join=join, progress=change)
    assert [source.plate for source in result.sources] == ["A", "C"]
    ((name, reason),) = result.report.skipped_plates
    assert name == "B"
    assert "has changed" in reason
    assert "B" not in {drift.plate for table in result.report.drift for drift in table.plates}
    files = [path for path in (tmp_path / "out").rglob("*.parquet") if "ells" in str(path.relative_to(tmp_path))]
    assert sum(pq.read_metadata(file).num_rows for file in files) == 6


@DOORS
def test_strict_skips_plates_that_contradict_themselves(tmp_path, door):
    tables = plate(JUMP, sites(2, 1))
    del tables["Image"].rows[0]
    write_sqlite(tmp_path / "plates" / "A.sqlite", tables)
    for name in "BC":
        _sqlite(tmp_path / "plates" / name)
    options: dict[str, Any] = {"compartments": ["cells"], "strict": True, "on_error": "skip"}
    result = door(tmp_path / "plates", tmp_path / "out", **options)
    assert [name for name, _ in result.report.skipped_plates] == ["A"]
    assert len(result.sources) == 2


def test_a_query_is_asked_of_the_plates_that_are_left(tmp_path, made):
    sources = [made("sqlite", name) for name in "ABC"]
    sources[1].write_bytes(b"")
    query = "SELECT Cells_AreaShape_Area FROM 'cells.parquet'"
    result = convert(sources, tmp_path / "out.parquet", joins=query, on_error="skip")
    assert pq.read_metadata(result).num_rows == 6


def test_nothing_is_said_of_other_plates_where_there_are_none_or_no_choice(tmp_path, made):
    made("sqlite", "A")
    made("sqlite", "B").write_bytes(b"")
    for door in (convert, datasets.add):
        with pytest.raises(SourceFormatError, match=r"fetch it again$"):
            door(tmp_path / "plates" / "B.sqlite", tmp_path / "out")
    (tmp_path / "plates" / "C").mkdir()
    with pytest.raises(SourceNotFoundError) as caught:
        inspect_plates(tmp_path / "plates" / "*")
    assert "on_error" not in str(caught.value)


def test_other_words_are_refused(tmp_path, made):
    with pytest.raises(OptionError, match="on_error 'ignore' is not known; there are: stop, skip"):
        convert(made("sqlite", "A"), tmp_path / "out", on_error="ignore")


@pytest.mark.parametrize("command", [["convert"], ["dataset", "add"]], ids=" ".join)
def test_the_shell_tells_what_was_skipped_and_ends_with_one(tmp_path, made, capsys, command):
    for name in "AB":
        made("sqlite", name)
    (tmp_path / "plates" / "B.sqlite").write_bytes(b"")
    arguments = [*command, str(tmp_path / "plates"), str(tmp_path / "out"), "--report", str(tmp_path / "report.json")]
    assert main(arguments) == 1
    assert "B.sqlite: the file is empty (0 bytes); fetch it again; --on-error skip goes on" in capsys.readouterr().err
    assert names_in(tmp_path) == ["plates", "plates/A.sqlite", "plates/B.sqlite"]
    assert main([*arguments, "--on-error", "skip"]) == 1
    printed = capsys.readouterr()
    assert "1 of 2 plates was skipped: B" in printed.err
    assert "plate B was skipped: " in printed.out
    assert json.loads((tmp_path / "report.json").read_text())["skipped_plates"][0][0] == "B"
    assert len(digests(tmp_path / "out", "*.parquet")) == 4
    (tmp_path / "plates" / "B.sqlite").unlink()
    assert main([*arguments, "--on-error", "skip", *(["--overwrite"] if command == ["convert"] else [])]) == 0
