"""One strict type per column, decided by the values (DESIGN, "Types"); by both readers alike."""

import math
import sqlite3
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import OptionError, SchemaError, StrictError
from cytotable_dagster.core.model.coercions import in_facts
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.parquet.writing import facts_in
from cytotable_dagster.core.sources.sqlite.affinity import affinity
from cytotable_dagster_tests.core.plates import CYTOMINER, DIALECTS, JUMP, Table, plate, sites

BIG = 2**53 + 1
# Of 5 rows: what no double is; of the texts the one of a fraction is near enough.
ROUNDED = {
    "integers": ("INTEGER", [0.5, BIG, -BIG, 2**53, -(2**63)], 2, BIG),
    "largest": ("NUMERIC", [0.5, 2**63 - 1, 2**62, 2**62 + 2**10, 2**62 + 2**9], 2, 2**63 - 1),
    "texts": ("", [0.5, f" {BIG} ", str(2**53), "0.10000000000000000555", f"{BIG}.0"], 1, f" {BIG} "),
    "long_texts": ("", [0.5, "1" * 40, "00012", str(-BIG), 10**17 + 1], 3, "1" * 40),
}


# name: declared type, values, the type they decide, the values as they come out
DECIDED = {
    "whole": ("BIGINT", [1, 2, 3], "int64", [1, 2, 3]),
    "whole_with_null": ("BIGINT", [1, None, -3], "int64", [1, None, -3]),
    "64_bit": ("INTEGER", [BIG, -(2**63), 2**63 - 1], "int64", [BIG, -(2**63), 2**63 - 1]),
    "integer_with_reals": ("INTEGER", [1, 2.5, 3], "double", [1.0, 2.5, 3.0]),
    "integer_with_nan": ("INTEGER", [1, "nan", 3], "int64", [1, None, 3]),
    "integer_with_inf": ("BIGINT", [1, "inf", 3], "double", [1.0, math.inf, 3.0]),
    "integer_all_null": ("BIGINT", [None, None, None], "int64", [None, None, None]),
    "real": ("FLOAT", [1.5, 2.5, 3.5], "double", [1.5, 2.5, 3.5]),
    "real_of_integers": ("FLOAT", [1, 2, 3], "double", [1.0, 2.0, 3.0]),
    "real_all_null": ("FLOAT", [None, None, None], "double", [None, None, None]),
    "nan_text": ("FLOAT", [0.5, "nan", "NaN"], "double", [0.5, None, None]),
    "nan_and_null": ("FLOAT", ["nan", None, "-nan"], "double", [None, None, None]),
    "inf_text": ("FLOAT", ["inf", "-inf", "-Infinity"], "double", [math.inf, -math.inf, -math.inf]),
    "missing_text": ("FLOAT", ["", "null", "NULL"], "double", [None, None, None]),
    "number_text": ("FLOAT", [0.5, "1e3", " 2.5 "], "double", [0.5, 1000.0, 2.5]),
    "extremes": ("DOUBLE PRECISION", [0.1, 1e308, 5e-324], "double", [0.1, 1e308, 5e-324]),
    "numeric_whole": ("NUMERIC", [1, 2, 3], "int64", [1, 2, 3]),
    "decimal": ("DECIMAL(10,5)", [1, 2.25, 3], "double", [1.0, 2.25, 3.0]),
    "boolean": ("BOOLEAN", [0, 1, None], "int64", [0, 1, None]),
    "varchar": ("varchar(128)", ["a", "é", "日本"], "string", ["a", "é", "日本"]),
    "text_of_numbers": ("TEXT", ["1", "02", "x"], "string", ["1", "02", "x"]),
    "text_that_looks_missing": ("TEXT", ["null", "nan", ""], "string", ["null", "nan", ""]),
    "datetime": (
        "DATETIME",
        ["2020-01-01", "2020-01-02 10:00", None],
        "string",
        ["2020-01-01", "2020-01-02 10:00", None],
    ),
    "blob": ("BLOB", [b"\0\1", b"", None], "binary", [b"\0\1", b"", None]),
    "undeclared_numbers": ("", [1, 2.5, None], "double", [1.0, 2.5, None]),
    "undeclared_text": ("", ["a", "b", "c"], "string", ["a", "b", "c"]),
}
# The same, and how many values did not fit, with the first of them.
COERCED = {
    "words": ("FLOAT", [1.5, "n/a", "broken"], "double", [1.5, None, None], 2, "'n/a'"),
    "word_in_integers": ("BIGINT", [7, "x", 9], "int64", [7, None, 9], 1, "'x'"),
    "blob_in_reals": ("FLOAT", [1.5, b"\0", 2.5], "double", [1.5, None, 2.5], 1, "b'\\x00'"),
}


def _cells_with(columns: dict[str, tuple]) -> dict[str, Table]:
    tables = plate(JUMP, sites(3))
    for name, (declared, values, *_) in columns.items():
        tables["Cells"].add_column(f"Cells_{name}", declared, values)
    return tables


def test_values_decide_the_type_of_a_column(converted, storage):
    cells = converted(_cells_with(DECIDED), storage, targets=["cells"], names="cytotable")["Cells"]
    found = {name: (str(cells[f"Cells_{name}"].type), cells[f"Cells_{name}"].to_pylist()) for name in DECIDED}
    assert found == {name: (type, result) for name, (_, _, type, result) in DECIDED.items()}


def test_values_that_do_not_fit_become_null_and_are_counted_with_an_example(make_plate, tmp_path, storage):
    result = convert(make_plate(_cells_with(COERCED), **storage), tmp_path / "out", targets=["cells"])
    cells = pq.read_table(result)
    found = {name: (str(cells[f"Cells_{name}"].type), cells[f"Cells_{name}"].to_pylist()) for name in COERCED}
    assert found == {name: (type, kept) for name, (_, _, type, kept, _, _) in COERCED.items()}
    counted = {coercion.column: (coercion.count, coercion.example) for coercion in result.outputs[0].coercions}
    assert counted == {f"Cells_{name}": (count, example) for name, (*_, count, example) in COERCED.items()}
    assert "2 values of Cells_words" in str(result)
    assert "'n/a'" in str(result)


def test_a_table_of_nothing_but_text_becomes_numbers_where_all_values_are(converted, storage):
    tables = plate(JUMP)
    for table in tables.values():
        table.columns = dict.fromkeys(table.columns, "TEXT")
    made = converted(tables, storage)
    assert {str(made["Cells"][key].type) for key in made["Cells"].column_names[:3]} == {"int64"}
    assert made["Cells"]["Cells_Intensity_Mean"].to_pylist() == [1.125, 1.25, 1.375, 2.125, 2.25]
    assert made["Cells"]["Cells_AreaShape_Area"].type == pa.int64()
    assert made["Image"]["Metadata_Well"].to_pylist() == ["A01", "A02"]
    assert made["Image"]["Image_FileName_OrigDNA"].type == pa.string()


def test_text_with_leading_zeros_in_a_column_that_names_a_thing_stays_text(converted, storage):
    tables = plate(JUMP)
    for table in tables.values():
        table.columns = dict.fromkeys(table.columns, "TEXT")
    tables["Image"].add_column("Metadata_Barcode", "TEXT", ["007", "008"])
    assert converted(tables, storage)["Image"]["Image_Metadata_Barcode"].to_pylist() == ["007", "008"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_keys_and_parents_are_int64_even_where_the_file_holds_reals(converted, storage, dialect):
    tables = plate(dialect)
    for table in tables.values():
        for column in table.columns:
            if "Number" in column or "Parent" in column:
                table.columns[column] = "FLOAT"
                for row in table.rows:
                    row[column] = float(row[column])
    for table in converted(tables, storage).values():
        for field in table.schema:
            if "Number" in field.name or "Parent" in field.name:
                assert field.type == pa.int64(), field.name


def test_a_table_number_that_is_a_hash_stays_text(converted, storage):
    first, second = "9e107d9d372bb6826bd81d3542a419d6", "0cc175b9c0f1b6a831c399e269772661"
    tables = plate(CYTOMINER, (*sites(2, table=first), *sites(1, table=second)))
    made = converted(tables, storage)
    for table in made.values():
        assert table["Metadata_TableNumber"].type == pa.string()
    assert made["Cells"]["Metadata_TableNumber"].to_pylist() == [second, first, first]


@pytest.mark.parametrize("chunk_size", [1, 2, 100])
def test_a_column_has_the_same_type_in_every_chunk(make_plate, tmp_path, storage, chunk_size):
    tables = plate(JUMP, sites(2, 2, 2))
    tables["Cells"].add_column("Cells_Mixed", "INTEGER", [1, 2, None, None, "nan", 0.5])
    tables["Cells"].add_column("Cells_Late", "BIGINT", [None] * 5 + [1])
    result = convert(
        make_plate(tables, **storage), tmp_path / "out", targets=["cells"], concat=False, chunk_size=chunk_size
    )
    schemas = {pq.read_schema(part).remove_metadata() for part in result.path.iterdir()}
    (schema,) = schemas
    assert (schema.field("Cells_Mixed").type, schema.field("Cells_Late").type) == (pa.float64(), pa.int64())


def test_data_type_cast_map_casts_measurements_and_leaves_keys(converted, storage):
    cells = converted(storage=storage, data_type_cast_map={"float": "float32", "integer": "int32"})["Cells"]
    assert cells["Cells_Intensity_Mean"].type == pa.float32()
    assert cells["Cells_AreaShape_Area"].type == pa.int32()
    assert cells["Metadata_ImageNumber"].type == pa.int64()


@pytest.mark.parametrize(
    ("wanted", "large", "kept"), [("float32", 1e39, 3e38), ("float16", 70000.0, 65504.0)], ids=["float32", "float16"]
)
@pytest.mark.parametrize("joined", [False, True], ids=["a file each", "joined"])
def test_a_number_too_large_for_the_type_asked_for_is_counted(make_plate, tmp_path, wanted, large, kept, joined):
    tables = plate(JUMP, sites(2, 2, 2))
    tables["Cells"].add_column("Large", "FLOAT", [kept, float("inf"), large, None, -large, 1.5])
    target = tmp_path / ("joined.parquet" if joined else "out")
    source = make_plate(tables)
    result = convert(source, target, data_type_cast_map={"float": wanted}, chunk_size=2)
    cells = pq.read_table(target if joined else target / "Cells.parquet")["Cells_Large"].cast(pa.float64()).to_pylist()
    assert [None if value is None else value > 1e9 for value in cells[1:]] == [True, None, None, None, False]
    assert cells[0] == pytest.approx(kept)
    (lost,) = (coercion for part in result.report.compartments for coercion in part.coercions)
    assert (lost.table, lost.source, lost.column, lost.count) == ("Cells", "Large", "Cells_Large", 2)
    assert float(lost.example) == large
    assert any("Cells_Large" in problem for problem in result.report.problems), "strict=True refuses it"


@pytest.mark.parametrize(
    ("wanted", "type"),
    [("double", pa.float64()), ("real", pa.float32()), ("FLOAT", pa.float32()), ("float16", pa.float16())],
)
def test_types_to_cast_to_may_be_named_as_duckdb_or_arrow_do(converted, wanted, type):
    cells = converted(data_type_cast_map={"float": wanted}, targets=["cells"])["Cells"]
    assert cells["Cells_Intensity_Mean"].type == type


@pytest.mark.parametrize(
    ("casts", "named"), [({"decimal": "float32"}, "decimal"), ({"float": "floaty"}, "floaty"), ({"float": 3}, "3")]
)
def test_a_cast_to_or_from_an_unknown_type_is_refused_by_name(make_plate, tmp_path, casts, named):
    with pytest.raises(OptionError, match=named):
        convert(make_plate(), tmp_path / "out", data_type_cast_map=casts)


def test_a_cast_that_does_not_fit_the_values_is_an_error_in_one_line(make_plate, tmp_path):
    source = make_plate(_cells_with({"X": ("BIGINT", [1, 2, 3_000_000_000])}))
    with pytest.raises(SchemaError, match="Cells_X") as caught:
        convert(source, tmp_path / "out", data_type_cast_map={"integer": "int32"})
    assert "\n" not in str(caught.value)


def test_affinities_are_sqlites_own():
    declared = "INT BIGINT TINYINT CHAR(3) varchar(128) CLOB longtext BLOB longblob REAL FLOAT DOUBLE NUMERIC DATETIME"
    words = [*declared.split(), "DOUBLE PRECISION", "POINT", "FLOATING POINT", "CHARINT", "mediumblob", "BOOLEAN", ""]
    probe = {"1": "x"}
    link = sqlite3.connect(":memory:")
    for word in words:
        link.execute(f"CREATE TABLE t (x {word})")
        link.execute("INSERT INTO t VALUES (?), (?), (?)", ("1.0", "1.5", 1))
        seen = [kind for (kind,) in link.execute("SELECT typeof(x) FROM t")]
        link.execute("DROP TABLE t")
        probe = {
            "TEXT": ["text", "text", "text"],
            "BLOB": ["text", "text", "integer"],
            "REAL": ["real", "real", "real"],
            "INTEGER": ["integer", "real", "integer"],
            "NUMERIC": ["integer", "real", "integer"],
        }
        assert probe[affinity(word)] == seen, word


@pytest.mark.parametrize(
    ("type", "values", "result", "count"),
    [
        (pa.int64(), [1.5, 2, 3.0], [None, 2, 3], 1),
        (pa.int64(), [1, "2", 3.0, None], [1, 2, 3, None], 0),
        (pa.int64(), ["9223372036854775807", 2**63, 1.5], [2**63 - 1, None, None], 2),
        (pa.int64(), ["1_000", "0x10", "\u0661"], [None, None, None], 3),
        (pa.float64(), ["1_000", "0x10", "infin"], [None, None, None], 3),
        (pa.float64(), [2**60, True, "-.5e1"], [float(2**60), 1.0, -5.0], 0),
        (pa.int64(), ["9" * 5000, "1e400", "1" + "0" * 18], [None, None, 10**18], 2),
        (pa.string(), [1, 1.5, b"ok", b"\xff"], ["1", "1.5", "ok", None], 1),
        (pa.binary(), [b"\xff", "a", 1], [b"\xff", b"a", b"1"], 0),
    ],
)
def test_odd_values_convert_or_are_counted(type, values, result, count):
    array, coercion = typed_array(values, "X", type)
    assert array.to_pylist() == result
    assert (coercion.count if coercion else 0) == count


@pytest.mark.parametrize("name", ROUNDED)
def test_whole_numbers_that_no_double_equals_are_counted_as_rounded(make_plate, tmp_path, storage, name):
    declared, values, count, example = ROUNDED[name]
    tables = plate(JUMP)
    tables["Cells"].add_column("Cells_X", declared, values)
    result = convert(make_plate(tables, **storage), tmp_path / "out", targets=["cells"])
    (found,) = result.outputs[0].coercions
    assert (found.count, found.rounded) == (count, count)
    assert found.example.strip("' ") == str(example).strip()
    assert pq.read_table(result)["Cells_X"].to_pylist() == [float(value) for value in values]
    told = "1 whole number of Cells_X has" if count == 1 else f"{count} whole numbers of Cells_X have"
    assert f"{told} too many digits for its type and w" in str(result.report)
    with pytest.raises(StrictError, match="rounded"):
        convert(result.source.path, tmp_path / "strict", targets=["cells"], strict=True)


def test_a_column_of_nulls_and_rounded_numbers_tells_both(make_plate, tmp_path, storage):
    tables = plate(JUMP)
    tables["Cells"].add_column("Cells_X", "INTEGER", [BIG, 0.5, "n/a", -BIG, "x"])
    result = convert(make_plate(tables, **storage), tmp_path / "out", targets=["cells"])
    (line,) = result.report.coercions
    assert line == (
        "Cells: 2 values of Cells_X are not of its type and became null and 2 whole numbers of Cells_X have too many "
        "digits for its type and were rounded in Cells_X, such as 'n/a'"
    )
    assert in_facts(facts_in(pq.read_metadata(result.path)))[0].rounded == 2


def test_text_of_any_length_is_read_in_one_pass():
    code = """if True:
        import pyarrow as pa
        from cytotable_dagster.core.model.values import number_type, typed_array
        size = 1_000_000
        digits, spaces = "9" * size, " " * size
        texts = [digits + "x", "." + digits + "x", digits + "e" + digits + "x", spaces + "x" + spaces + "x",
                 spaces, "+" + digits, digits + "." + digits + ".", "0" * size + "7", "-" + digits]
        for text in texts:
            number_type(text)
        for kind in (pa.int64(), pa.float64()):
            array, coercion = typed_array(texts, "X", kind)
            print(array.to_pylist(), coercion.count, coercion.rounded, len(coercion.example))
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout.splitlines() == [
        "[None, None, None, None, None, None, None, 7, None] 7 0 103",
        "[None, None, None, None, None, inf, None, 7.0, -inf] 7 2 103",
    ]
