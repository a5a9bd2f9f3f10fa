"""Types by value and not by rule, the same for every kind of source (DESIGN, "Types"): text that says numbers is numbers,
unless something is lost that a name needs."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.model.text_kind import text_kind
from cytotable_dagster.core.model.values import kept_as_number, marks_of
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.npz import test_npz

# Values as they are written, the type that they decide, and the values as they come out.
ANY_NAME = {
    "reals": (["93.25", "1e2", "nan"], "double", [93.25, 100.0, None]),
    "whole": (["1", "-2", ""], "int64", [1, -2, None]),
    "whole and real": (["1", "0.5", "2"], "double", [1.0, 0.5, 2.0]),
    "small reals": (["1e-06", "0.001", "1.5e-07"], "double", [1e-06, 0.001, 1.5e-07]),
    "barcodes": (["0012345", "0012346", "12"], "string", ["0012345", "0012346", "12"]),
    "plus signs": (["+1", "+2", "3"], "string", ["+1", "+2", "3"]),
    "wells": (["A01", "B12", "H03"], "string", ["A01", "B12", "H03"]),
    "dates": (["2021-08-23", "2021-08-24", "2021-08-25"], "string", ["2021-08-23", "2021-08-24", "2021-08-25"]),
    "large": (["9007199254740993", "1", "2"], "int64", [9007199254740993, 1, 2]),
}
OF_NAMES = {
    "a word": (["1", "2", "low"], "string", ["1", "2", "low"]),
    "more digits than an int64": (["12345678901234567890", "1", "2"], "string", ["12345678901234567890", "1", "2"]),
    "more digits than a double": (["0.12345678901234567890", "1", "2"], "string", ["0.12345678901234567890", "1", "2"]),
    "long beside reals": (["9007199254740993", "0.5", "2"], "string", ["9007199254740993", "0.5", "2"]),
    "exponents of names": (["12E4", "3E5", "1"], "string", ["12E4", "3E5", "1"]),
    "zeros before reals": (["00.5", "1", "2"], "string", ["00.5", "1", "2"]),
}
OF_MEASUREMENTS = {
    "zeros among reals": (["007", "0.5", "2"], "double", [7.0, 0.5, 2.0]),
    "signs among reals": (["+7", "0.5", "+2.5"], "double", [7.0, 0.5, 2.5]),
    "exponents": (["12E4", "3E5", "1"], "double", [120000.0, 300000.0, 1.0]),
    "infinite": (["inf", "1", "-inf"], "double", [float("inf"), 1.0, float("-inf")]),
}
NAMES = {"Metadata_Thing": ANY_NAME | OF_NAMES, "Thing": ANY_NAME | OF_MEASUREMENTS}
CASES = [(name, case) for name, cases in NAMES.items() for case in cases]


def _csv(folder, column, values, split):
    """Files of one value each, or one file."""
    parts = [[value] for value in values] if split else [values]
    for number, part in enumerate(parts, start=1):
        site = folder / "P1" / f"site{number}"
        site.mkdir(parents=True)
        lines = [f"{number},{place},{value}" for place, value in enumerate(part, start=1)]
        (site / "Cells.csv").write_text("\n".join([f"ImageNumber,ObjectNumber,{column}", *lines]) + "\n")
    return folder / "P1"


def _sqlite(folder, column, values, declared):
    tables = plate(JUMP, sites(len(values)))
    tables["Cells"].add_column(f"Cells_{column}", declared, values)
    return write_sqlite(folder / "P1.sqlite", tables)


def _in_carta(folder, column, values, many):
    repeated = values * 10 if many else values
    lines = [f"{place},C,3,1,A01,1,1,{value}" for place, value in enumerate(repeated, start=1)]
    (folder / "P1.csv").write_text("\n".join([f"OBJECT ID,Row,Column,FOV,WELL LABEL,Z,T,{column}", *lines]) + "\n")
    return folder / "P1.csv"


def _npz(folder, column, values, _):
    for number, value in enumerate(values):
        test_npz.site(folder / "P1" / f"{number}.npz", 1, Metadata_Site=number, **{column: value})
    return folder / "P1"


SOURCES = {
    "csv of sites": lambda *what: _csv(*what, True),
    "csv": lambda *what: _csv(*what, False),
    "in carta": lambda *what: _in_carta(*what, False),
    "in carta, many rows": lambda *what: _in_carta(*what, True),
    "sqlite TEXT": lambda *what: _sqlite(*what, "TEXT"),
    "sqlite untyped": lambda *what: _sqlite(*what, ""),
    "sqlite BLOB": lambda *what: _sqlite(*what, "BLOB"),
    "sqlite varchar": lambda *what: _sqlite(*what, "varchar(128)"),
    "npz": lambda *what: _npz(*what, None),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case}" for name, case in CASES])
def test_text_is_numbers_in_every_source_unless_that_loses_something(tmp_path, source, name, case):
    if source == "npz" and name == "Thing":
        pytest.skip("what a file says of its site is no measurement")
    values, type, expected = NAMES[name][case]
    convert(SOURCES[source](tmp_path, name, values), tmp_path / "out", targets=["cells"])
    table = pq.read_table(tmp_path / "out" / "Cells.parquet")
    (column,) = (own for own in table.column_names if own.endswith("Thing"))
    # A name is none of a measurement; nor is text.
    assert column.startswith("Metadata_") == (name != "Thing" or type == "string")
    assert str(table[column].type) == type
    # Sites are in the order of their numbers, which are those of their files.
    assert sorted(set(table[column].to_pylist()), key=str) == sorted(set(expected), key=str)


def test_one_whole_number_column_does_not_make_text_of_the_others(converted, storage):
    """As pandas exports a table of text with its index."""
    tables = plate(JUMP)
    for table in tables.values():
        table.columns = dict.fromkeys(table.columns, "TEXT")
        table.add_column("index", "BIGINT", range(len(table.rows)))
    made = converted(tables, storage)
    assert made["Cells"]["Cells_Intensity_Mean"].to_pylist() == [1.125, 1.25, 1.375, 2.125, 2.25]
    assert made["Cells"]["Cells_AreaShape_Area"].to_pylist() == [10010, 10020, 10030, 20010, 20020]
    assert made["Image"]["Metadata_Well"].to_pylist() == ["A01", "A02"]
    assert str(made["Image"]["Image_Metadata_Site"].type) == "int64"


def test_a_word_behind_the_first_rows_is_seen(converted):
    tables = plate(JUMP, sites(300))
    tables["Cells"].add_column("Cells_Late", "TEXT", [*map(str, range(299)), "x"])
    tables["Cells"].add_column("Cells_Numbers", "TEXT", map(str, range(300)))
    cells = converted(tables, targets=["cells"])["Cells"]
    assert cells["Metadata_Cells_Late"].to_pylist()[-1] == "x"
    assert cells["Cells_Numbers"].to_pylist() == list(range(300))


@pytest.mark.parametrize("kind", ["csv", "sqlite"])
def test_whole_numbers_on_one_plate_and_real_ones_on_another_are_one_column(tmp_path, kind):
    for name, values in (("A", ["1", "2"]), ("B", ["0.5", "3"])):
        if kind == "csv":
            folder = _csv(tmp_path / name, "Metadata_Dose", values, False)
            folder.rename(tmp_path / "plates" / name) if (tmp_path / "plates").mkdir(exist_ok=True) is None else None
        else:
            (tmp_path / "plates").mkdir(exist_ok=True)
            path = _sqlite(tmp_path, "Metadata_Dose", values, "TEXT")
            path.rename(tmp_path / "plates" / f"{name}.sqlite")
    sources = sorted((tmp_path / "plates").iterdir())
    convert(sources, tmp_path / "out", targets=["cells"])
    found = pq.read_table(tmp_path / "out" / "Cells.parquet")["Metadata_Cells_Metadata_Dose"]
    assert sorted(found.to_pylist()) == [0.5, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "10", "007", "+1", "1.5", "-0.5", ".5", "5.", "00.5", "1e5", "1e-05", "1E+20", "2.5e3", "12E4", "-0", "x",
     "1" * 18, "12345678901234567890", "0.1234567890123456", "0.123456789012345678", "123456789.123456789", "1e", "", "0x1F", "1_000", "٣"],
)  # fmt: skip
def test_text_is_judged_alike_one_by_one_and_by_the_column(text):
    kind = text_kind(pa.array([text], pa.string()))
    if kind.number:
        assert kept_as_number(text) is not kind.lossy
        assert marks_of(text) == kind.marks
    else:
        assert not kept_as_number(text)
