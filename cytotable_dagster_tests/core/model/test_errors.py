"""What goes wrong says what, where and what to do, in one line, as the right error, and leaves nothing behind."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from cytotable_dagster import convert, errors
from cytotable_dagster.core.errors import (
    CytoTableError,
    DamagedSourceError,
    KeyColumnError,
    SourceFormatError,
    SourceNotFoundError,
    TargetError,
)
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import DIALECTS, JUMP, Table, plate, sites, table_name, write_sqlite
from cytotable_dagster_tests.digests import digest

PAGE = 4096


def _missing(folder: Path) -> Path:
    return folder / "P1.sqlite"


def _folder_without_plates(folder: Path) -> Path:
    (folder / "readme.txt").write_text("no plate")
    return folder


def _empty_file(folder: Path) -> Path:
    (folder / "P1.sqlite").touch()
    return folder / "P1.sqlite"


def _text_file(folder: Path) -> Path:
    (folder / "P1.sqlite").write_text("ImageNumber,ObjectNumber\n1,1\n")
    return folder / "P1.sqlite"


def _short_file(folder: Path) -> Path:
    (folder / "P1.sqlite").write_bytes(b"SQLite format 3\0")
    return folder / "P1.sqlite"


def _no_tables(folder: Path) -> Path:
    return write_sqlite(folder / "P1.sqlite", {}, pragmas=["user_version=1"])


def _other_tables(folder: Path) -> Path:
    return write_sqlite(folder / "P1.sqlite", {"Wells": plate(JUMP)["Cells"], "Plates": plate(JUMP)["Image"]})


def _cut_short(folder: Path) -> Path:
    path = write_sqlite(folder / "P1.sqlite", plate(JUMP, sites(200)))
    path.write_bytes(path.read_bytes()[: 3 * PAGE + 100])
    return path


def _first_page_overwritten(folder: Path) -> Path:
    path = write_sqlite(folder / "P1.sqlite", plate(JUMP, sites(200)))
    content = bytearray(path.read_bytes())
    content[100:PAGE] = random.Random(1).randbytes(PAGE - 100)
    path.write_bytes(content)
    return path


def _table_page_overwritten(folder: Path) -> Path:
    path = write_sqlite(folder / "P1.sqlite", plate(JUMP, sites(500)))
    with sqlite3.connect(path) as link:
        (root,) = link.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'Cytoplasm'").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE : root * PAGE] = b"\xff" * PAGE
    path.write_bytes(content)
    return path


WRONG: list[tuple[Callable[[Path], Path], type[CytoTableError], type[Exception], str]] = [
    (_missing, SourceNotFoundError, FileNotFoundError, "no such file"),
    (_folder_without_plates, SourceNotFoundError, FileNotFoundError, "holds no file"),
    (_empty_file, SourceFormatError, ValueError, "0 bytes"),
    (_text_file, SourceFormatError, ValueError, "not a SQLite file"),
    (_short_file, CytoTableError, ValueError, ""),
    (_no_tables, SourceFormatError, ValueError, "tables: none"),
    (_other_tables, SourceFormatError, ValueError, "Plates, Wells"),
    (_cut_short, CytoTableError, ValueError, ""),
    (_first_page_overwritten, DamagedSourceError, ValueError, ""),
    (_table_page_overwritten, DamagedSourceError, ValueError, "Cytoplasm"),
]


@pytest.mark.parametrize(("make", "error", "builtin", "said"), WRONG, ids=[make.__name__[1:] for make, *_ in WRONG])
@pytest.mark.parametrize("dest", ["out", "out.parquet", "deep/er/out"])
def test_a_source_that_is_wrong_is_refused_in_one_line_and_leaves_nothing(tmp_path, make, error, builtin, said, dest):
    (tmp_path / "source").mkdir()
    source = make(tmp_path / "source")
    before = names_in(tmp_path)
    with pytest.raises(error) as caught:
        convert(source, tmp_path / dest)
    assert isinstance(caught.value, builtin)
    assert said in str(caught.value).replace(str(tmp_path), "")
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("compartment", ["Image", "Nuclei"])
def test_a_table_without_a_key_column_is_refused_naming_both(make_plate, tmp_path, dialect, compartment):
    tables = plate(dialect)
    del tables[table_name(dialect, compartment)].columns["ImageNumber"]
    with pytest.raises(KeyColumnError, match="ImageNumber") as caught:
        convert(make_plate(tables), tmp_path / "out", preset=dialect)
    assert table_name(dialect, compartment) in str(caught.value)
    assert isinstance(caught.value, KeyError)
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


def test_a_preset_none_of_whose_tables_are_there_is_refused_with_those_that_are(make_plate, tmp_path):
    spots = {"Spots": Table({"ImageNumber": "INTEGER"}), "Notes": Table({"text": "TEXT"})}
    with pytest.raises(TargetError, match=r"Per_Cells.*Notes, Spots"):
        convert(make_plate(spots), tmp_path / "out", preset="cellprofiler_sqlite")
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


@pytest.mark.parametrize("dest", ["out", "out.parquet"])
@pytest.mark.parametrize("concat", [True, False])
def test_a_conversion_that_fails_half_way_leaves_nothing(make_plate, tmp_path, dest, concat):
    source = make_plate(plate(JUMP, sites(*[40] * 10)))
    with sqlite3.connect(source) as link:
        (root,) = link.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'Nuclei'").fetchone()
    link.close()
    content = bytearray(source.read_bytes())
    content[(root - 1) * PAGE + 8 : (root - 1) * PAGE + 60] = b"\xff" * 52
    source.write_bytes(content)
    with pytest.raises(DamagedSourceError, match="Nuclei"):
        convert(source, tmp_path / dest, chunk_size=50, concat=concat)
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


def test_what_was_there_survives_a_conversion_that_fails(make_plate, tmp_path):
    first = convert(make_plate(), tmp_path / "out")
    before = {output.path: digest(output.path) for output in first.outputs}
    tables = plate(JUMP)
    tables["Nuclei"].rows.append(dict(tables["Nuclei"].rows[0]))
    with pytest.raises(KeyColumnError):
        convert(make_plate(tables, name="other.sqlite"), tmp_path / "out", overwrite=True)
    assert {path: digest(path) for path in (tmp_path / "out").iterdir()} == before


def test_an_error_shows_its_message_whatever_builtin_it_is():
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, CytoTableError):
            assert str(kind("what, where and what to do")) == "what, where and what to do"
            assert kind is CytoTableError or len(kind.__mro__) > len(CytoTableError.__mro__) + 1


def test_an_error_in_a_worker_of_another_process_comes_back_as_itself():
    import pickle

    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, CytoTableError):
            copy = pickle.loads(pickle.dumps(kind("broken: here")))
            assert type(copy) is kind
            assert str(copy) == "broken: here"


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb\n", "a b\n", "a\u2028b", "a\x1b[2Jb", "a\tb", "a\0b", "a\udcffb"])
def test_whatever_is_in_a_name_the_message_is_one_line_that_prints(name):
    message = str(SourceNotFoundError(f"{name}: größer, 細胞"))
    assert message.isprintable()
    assert message.startswith("a")
    assert message.endswith(": größer, 細胞")
