"""Paths as people write them: names of any kind, what is there before what it might stand for, `~` and variables."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.intake.discover import find_plates
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.written_paths import expanded
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite

NAMES = (
    "BR 0001",
    "BR+0002",
    "P(1)",
    "Zelle_ü",
    "u\u0308",
    "p[1]",
    "a*b",
    "q?",
    "it's",
    "$HOME",
    "a,b",
    "x=1",
    "{plate}",
    "-p",
)


@pytest.fixture(autouse=True)
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EXPORTS", str(tmp_path / "exports"))
    monkeypatch.delenv("NO_SUCH", raising=False)
    monkeypatch.chdir(tmp_path)


def test_plates_of_any_name_become_one_table(tmp_path):
    for number, name in enumerate(NAMES):
        write_sqlite(tmp_path / "in" / f"{name}.sqlite", plate(EXPORT, sites(1 + number)))
    assert [plate.name for plate in find_plates("in", None, Store())] == sorted(NAMES)
    convert("in", "out", targets=["Cells"])
    rows = pq.read_table("out/Cells.parquet")["Metadata_Plate"].value_counts().to_pylist()
    assert {row["values"]: row["counts"] for row in rows} == {name: 1 + number for number, name in enumerate(NAMES)}


@pytest.mark.parametrize("name", ["p[1]", "P(1)", "$HOME", "~", "a*b"])
def test_a_plate_is_found_by_its_own_name_before_anything_that_fits_it(tmp_path, name):
    for number, other in enumerate((name, "p1", "ab")):
        write_sqlite(tmp_path / other / f"{other}.sqlite", plate(JUMP, sites(2 + number)))
        write_sqlite(tmp_path / "home" / f"{other}.sqlite", plate(JUMP, sites(9)))
    for source in (f"{name}/{name}.sqlite", name, f"{name}/*.sqlite", tmp_path / name):
        convert(source, "out", overwrite=True)
        assert pq.read_metadata("out/Cells.parquet").num_rows == 2


def test_variables_and_the_home_folder_are_what_they_are_in_a_shell(tmp_path):
    write_sqlite(tmp_path / "exports" / "P1.sqlite", plate(JUMP))
    write_sqlite(tmp_path / "home" / "P1.sqlite", plate(JUMP))
    for source in ("$EXPORTS/P1.sqlite", "${EXPORTS}/P*.sqlite", "~/P1.sqlite", ["$EXPORTS/", "$EXPORTS/P1.sqlite"]):
        result = convert(source, "$HOME/out", overwrite=True)
        assert {Path(output.path).parent for output in result.outputs} == {tmp_path / "home" / "out"}
    assert convert("$EXPORTS/P1.sqlite", "~/cells.parquet").path == tmp_path / "home" / "cells.parquet"
    datasets.add("$EXPORTS/P1.sqlite", Path("$EXPORTS/set"))
    assert set(datasets.tables("${EXPORTS}/set")["Cells"].members) == {"P1"}
    result.report.write("$EXPORTS/report.json")
    assert (tmp_path / "exports" / "report.json").exists()
    assert destination_of("s3://bucket/$EXPORTS/x", Store()).address() == f"s3://bucket/{tmp_path}/exports/x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exports", "home"]


@pytest.mark.parametrize(
    "place", ["$NO_SUCH/out", "out/${NO_SUCH}.parquet", "~no-such-user/out", "s3://bucket/$NO_SUCH"]
)
def test_nothing_is_made_where_a_variable_is_not_set(tmp_path, place):
    write_sqlite(tmp_path / "exports" / "P1.sqlite", plate(JUMP))
    before = names_in(tmp_path)
    for call in (convert, datasets.add):
        with pytest.raises(OptionError, match=r"NO_SUCH is not set|there is no user"):
            call("exports/P1.sqlite", place)
        with pytest.raises(OptionError, match=r"NO_SUCH is not set|there is no user"):
            call(place, "out")
    assert names_in(tmp_path) == before


def test_what_is_there_is_what_is_meant(tmp_path):
    for name, read in (("$HOME", "$HOME"), ("~", "./~"), ("a${HOME}b", "a${HOME}b")):
        (tmp_path / name).mkdir()
        for rest in ("", "/", "/x/*.sqlite"):
            assert expanded(f"{name}{rest}", to_read=True) == f"{read}{rest}"
            assert (
                expanded(f"{name}{rest}")
                == name.replace("~", "$HOME").replace("${HOME}", "$HOME").replace("$HOME", f"{tmp_path}/home") + rest
            )
    assert expanded("$HOME/$EXPORTS", to_read=True) == f"{tmp_path}/home/{tmp_path}/exports"
    (tmp_path / "a$NO_SUCH").mkdir()
    assert expanded("a$NO_SUCH/out") == "a$NO_SUCH/out"
    for plain in ("cost$5/x", "a$", "a~b", "s3://bucket/a$", "C:/x"):
        assert expanded(plain) == plain
    assert expanded("~/x/") == f"{tmp_path}/home/x/"
