"""Files put together by copying their row groups read as if one writer had written them."""

import random
import string
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.thrift import fields, list_items, varint, zigzag_decode
from cytotable_dagster.core.parquet.writing import footer, growing_file, read_facts, write_batches
from cytotable_dagster_tests.digests import digest

FACTS = {"version": "1", "plate": "P1"}

COLUMNS = {
    "i8": (pa.int8(), lambda chance: chance.randrange(-128, 128)),
    "i64": (pa.int64(), lambda chance: chance.randrange(-(2**63), 2**63)),
    "f32": (pa.float32(), lambda chance: float(chance.randrange(1000)) / 8),
    "f64": (pa.float64(), lambda chance: chance.gauss(0, 1)),
    "bool": (pa.bool_(), lambda chance: chance.random() < 0.5),
    "text": (pa.string(), lambda chance: chance.choice(["", "a", "é日", "long" * 50])),
    "words": (pa.string(), lambda chance: "".join(chance.choices(string.ascii_letters, k=12))),
    "binary": (pa.binary(), lambda chance: bytes(chance.randrange(256) for _ in range(chance.randrange(6)))),
    "large": (pa.large_string(), lambda chance: chance.choice(["x", "y"])),
    "day": (pa.date32(), lambda chance: chance.randrange(20_000)),
    "time": (pa.timestamp("us"), lambda chance: chance.randrange(10**15)),
    "list": (pa.list_(pa.int32()), lambda chance: [chance.randrange(9) for _ in range(chance.randrange(4))]),
    "struct": (pa.struct([("x", pa.int32()), ("y", pa.string())]), lambda chance: {"x": 1, "y": "z"}),
    "fixed": (pa.binary(4), lambda chance: chance.randbytes(4)),
    "decimal": (pa.decimal128(20, 3), lambda chance: chance.randrange(10**6)),
    "null": (pa.null(), lambda chance: None),
}


def _table(names: list[str], rows: int, seed: int) -> pa.Table:
    chance = random.Random(seed)
    arrays = []
    for name in names:
        type, value = COLUMNS[name]
        arrays.append(pa.array([None if chance.random() < 0.2 else value(chance) for _ in range(rows)], type))
    return pa.table(
        arrays, schema=pa.schema([(f"c {place} {name}", COLUMNS[name][0]) for place, name in enumerate(names)])
    )


def _written(folder, tables: list[pa.Table]) -> list:
    paths = []
    for place, table in enumerate(tables):
        paths.append(folder / f"{place:05d}.parquet")
        write_batches(paths[-1], table.schema, [table], FACTS)
    return paths


def concat(paths: list, whole: Path, facts: dict[str, str]) -> None:
    with whole.open("wb") as out:
        concatenation = Concatenation(out)
        for path in paths:
            concatenation.append(path)
        concatenation.finish(footer(facts))


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=6),
    st.lists(st.integers(0, 30), min_size=1, max_size=20),
    st.integers(0, 2**32),
)
def test_any_schema_and_any_parts_read_as_their_concatenation(tmp_path_factory, names, rows, seed):
    folder = tmp_path_factory.mktemp("parts")
    tables = [_table(names, count, seed + place) for place, count in enumerate(rows)]
    concat(_written(folder, tables), folder / "whole.parquet", FACTS)
    expected = pa.concat_tables(tables)
    found = pq.read_table(folder / "whole.parquet")
    found.validate(full=True)
    assert found.replace_schema_metadata() == expected
    assert pq.read_metadata(folder / "whole.parquet").num_row_groups == sum(map(bool, rows))


def test_pyarrow_duckdb_and_pandas_read_the_same(tmp_path):
    names = [name for name in COLUMNS if name != "null"]
    tables = [_table(names, rows, rows) for rows in (7, 0, 20, 1)]
    concat(_written(tmp_path, tables), tmp_path / "whole.parquet", FACTS)
    expected = pa.concat_tables(tables)
    assert pq.read_table(tmp_path / "whole.parquet").replace_schema_metadata() == expected
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "whole.parquet"), expected.to_pandas())
    with duckdb.connect() as duck:
        found = duck.sql(f"FROM '{tmp_path / 'whole.parquet'}'").to_arrow_table()
        assert found.to_pylist() == duck.sql("FROM expected").to_arrow_table().to_pylist()
        column = found.column_names[1]
        low, high = duck.sql(
            f'SELECT min("{column}"), max("{column}") FROM \'{tmp_path / "whole.parquet"}\''
        ).fetchone()
    values = [value for value in expected[column].to_pylist() if value is not None]
    assert (low, high) == (min(values), max(values))


def test_each_row_group_keeps_its_statistics_and_can_be_read_alone(tmp_path):
    tables = [_table(["i64", "text", "f64"], 50, seed) for seed in range(20)]
    concat(_written(tmp_path, tables), tmp_path / "whole.parquet", FACTS)
    with pq.ParquetFile(tmp_path / "whole.parquet") as file:
        assert file.num_row_groups == 20
        for place in (19, 0, 7):
            assert file.read_row_group(place).replace_schema_metadata() == tables[place]
            statistics = file.metadata.row_group(place).column(0).statistics
            values = [value for value in tables[place].column(0).to_pylist() if value is not None]
            assert (statistics.min, statistics.max, statistics.null_count) == (
                min(values),
                max(values),
                50 - len(values),
            )


def test_row_groups_say_where_they_begin_as_pyarrow_and_duckdb_find_their_pages(tmp_path):
    path = tmp_path / "whole.parquet"
    # The second group begins beyond what two bytes of the footer can say.
    concat(_written(tmp_path, [_table(["i64", "words"], rows, rows) for rows in (4000, 0, 30, 1)]), path, FACTS)
    data = path.read_bytes()
    end = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    (groups,) = (at for field, _, at, _ in fields(end, 0) if field == 4)
    told = [
        {field: zigzag_decode(varint(end, at)[0]) for field, _, at, _ in fields(end, start) if field in (3, 5)}
        for start, _ in list_items(end, groups)
    ]
    metadata = pq.read_metadata(path)
    columns = [metadata.row_group(place).column(0) for place in range(3)]
    begins = [column.dictionary_page_offset or column.data_page_offset for column in columns]
    assert told == [{3: rows, 5: at} for rows, at in zip((4000, 30, 1), begins, strict=True)]
    with duckdb.connect() as duck:
        pages = duck.execute(
            "SELECT coalesce(dictionary_page_offset, data_page_offset) FROM parquet_metadata(?) WHERE column_id = 0 "
            "ORDER BY row_group_id",
            [str(path)],
        ).fetchall()
    assert [at for (at,) in pages] == begins
    assert begins[0] == 4
    assert begins[1] > 1 << 14


@pytest.mark.parametrize("columns", [1, 14, 15, 16, 2000])
def test_tables_of_any_width_are_put_together(tmp_path, columns):
    table = pa.table({f"column {number}": pa.array([number, None], pa.float64()) for number in range(columns)})
    concat(_written(tmp_path, [table, table]), tmp_path / "whole.parquet", FACTS)
    assert pq.read_table(tmp_path / "whole.parquet").replace_schema_metadata() == pa.concat_tables([table, table])


def test_files_of_several_row_groups_are_put_together(tmp_path):
    tables = [_table(["i64", "words"], 10, seed) for seed in range(6)]
    for place in range(2):
        with growing_file(tmp_path / f"{place}.parquet", tables[0].schema, FACTS) as file:
            for table in tables[3 * place : 3 * place + 3]:
                file.add(table)
            file.finish({})
    concat([tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "whole.parquet", FACTS)
    found = pq.read_table(tmp_path / "whole.parquet")
    assert found.replace_schema_metadata() == pa.concat_tables(tables)
    metadata = pq.read_metadata(tmp_path / "whole.parquet")
    assert [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)] == [10] * 6


def test_the_footer_has_the_facts_of_the_whole_and_none_of_a_part(tmp_path):
    table = pa.table({"x": pa.array(["a"], pa.large_string())})
    for place in range(2):
        write_batches(tmp_path / f"{place}.parquet", table.schema, [table], {**FACTS, "chunk": str(place)})
    concat([tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "whole.parquet", {**FACTS, "é": "日"})
    assert read_facts(tmp_path / "0.parquet") == {**FACTS, "chunk": "0", "rows": "1"}
    assert read_facts(tmp_path / "whole.parquet") == {**FACTS, "é": "日"}
    schema = pq.read_schema(tmp_path / "whole.parquet")
    assert b"cytotable_dagster:chunk" not in (schema.metadata or {})
    assert schema.remove_metadata() == table.schema


def test_files_of_more_than_one_copy_block_are_copied_whole(tmp_path):
    chance = random.Random(1)
    table = pa.table({"x": [chance.random() for _ in range(1_200_000)]})
    paths = _written(tmp_path, [table, table])
    assert paths[0].stat().st_size > 8 << 20
    concat(paths, tmp_path / "whole.parquet", FACTS)
    assert (
        pq.read_table(tmp_path / "whole.parquet")["x"].combine_chunks()
        == pa.chunked_array([*table["x"].chunks] * 2).combine_chunks()
    )


@pytest.mark.parametrize(
    "other",
    [pa.table({"y": [1]}), pa.table({"x": [1.0]}), pa.table({"x": [1], "y": [1]})],
    ids=["name", "type", "columns"],
)
def test_parts_of_another_schema_are_refused_naming_both(tmp_path, other):
    paths = _written(tmp_path, [pa.table({"x": [1]}), other])
    with pytest.raises(SchemaError, match=r"00001\.parquet.*00000\.parquet"):
        concat(paths, tmp_path / "whole.parquet", FACTS)


def test_a_part_that_is_cut_short_is_refused(tmp_path):
    (path,) = _written(tmp_path, [pa.table({"x": [1]})])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SchemaError, match="not a whole Parquet file"):
        concat([path], tmp_path / "whole.parquet", FACTS)


def test_the_same_parts_give_the_same_bytes(tmp_path):
    paths = _written(tmp_path, [_table(["i64", "text"], 30, seed) for seed in range(3)])
    for name in ("one", "two"):
        concat(paths, tmp_path / f"{name}.parquet", FACTS)
    assert digest(tmp_path / "one.parquet") == digest(tmp_path / "two.parquet")


def test_files_of_another_encoding_and_compression_become_one_with_ours(tmp_path):
    """Such as 0.2.0 wrote."""
    table = _table(["f64", "i64", "text"], 300, 1)
    split, plain = tmp_path / "00000.parquet", tmp_path / "00001.parquet"
    name = table.schema.names[0]
    pq.write_table(
        table, split, compression="snappy", use_dictionary=False, column_encoding={name: "BYTE_STREAM_SPLIT"}
    )
    write_batches(plain, table.schema, [table], FACTS)
    with (tmp_path / "out.parquet").open("wb") as out:
        whole = Concatenation(out)
        for path in (split, plain):
            whole.append(path)
        whole.finish(FACTS)
    assert pq.read_table(tmp_path / "out.parquet").equals(pa.concat_tables([table, table]).combine_chunks())
