"""Row groups of our own encoding, against pyarrow's writer of the same tables."""

import io

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytotable_dagster.core.parquet.arrow_writer import arrow_writer
from cytotable_dagster.core.parquet.writing import encoded_batch, growing_file
from cytotable_dagster_tests.core.parquet.page_walk import check_content, check_file

FACTS = {"version": "0"}
# Bits that a conversion could change: both zeros, NaNs with payloads and signs, subnormal, infinite.
ODD: dict[type, np.ndarray] = {
    np.float64: np.array(
        [1 << 63, 0, 0x7FF0000000000001, 0xFFF8DEADBEEF0001, 1, 0x7FF0000000000000, 0x3FF0000000000000], np.uint64
    ).view(np.float64),
    np.float32: np.array([1 << 31, 0, 0x7F800001, 0xFFC0BEEF, 1, 0x7F800000, 0x3F800000], np.uint32).view(np.float32),
}
NUMBERS = {"i32": np.int32, "i64": np.int64, "f32": np.float32, "f64": np.float64}
OTHERS = {
    "words": lambda rng, rows: pa.array([f"word {n}" for n in rng.integers(0, 5, rows)]),
    "flags": lambda rng, rows: pa.array(rng.integers(0, 2, rows) == 1),
    "struct": lambda rng, rows: pa.array([{"a": int(n), "b": None} for n in rng.integers(0, 5, rows)]),
    "lists": lambda rng, rows: pa.array([[int(n)] * int(n) for n in rng.integers(0, 4, rows)], pa.list_(pa.int64())),
}


def _numbers(kind: type, rng: np.random.Generator, rows: int, missing: str, spread: str) -> pa.Array:
    if np.issubdtype(kind, np.integer):
        top = {"any": np.iinfo(kind).max, "few": 2, "runs": 2}[spread]
        values = rng.integers(-top, top, rows, kind, endpoint=True)
    else:
        values = rng.normal(size=rows).astype(kind)
        if spread == "few":
            values = ODD[kind][rng.integers(0, len(ODD[kind]), rows)]
    if spread == "runs":
        values = np.sort(np.floor(values))
    share = {"none": 0, "some": 0.3, "all": 1}[missing]
    mask = rng.random(rows) < share
    # A slice, so that neither values nor bitmap begin where their memory does.
    bitmap = None if missing == "none" else pa.py_buffer(np.packbits(np.append([True] * 3, ~mask), bitorder="little"))
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(kind), rows + 3, [bitmap, pa.py_buffer(np.append(np.zeros(3, kind), values))]
    ).slice(3)


def _bits(column: pa.ChunkedArray) -> tuple[list[bool], bytes]:
    """Which values are there, and their bits."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    width = array.type.bit_width // 8
    values = np.frombuffer(array.buffers()[1], f"V{width}", len(array), array.offset * width)
    there = array.is_valid().to_numpy(zero_copy_only=False)
    return there.tolist(), values[there].tobytes()


def _by_pyarrow(table: pa.Table) -> pq.FileMetaData:
    sink = pa.BufferOutputStream()
    with arrow_writer(sink, table.schema) as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))
    return pq.read_metadata(pa.BufferReader(sink.getvalue()))


columns = st.tuples(
    st.sampled_from([*NUMBERS, *OTHERS]),
    st.sampled_from(["none", "some", "all"]),
    st.sampled_from(["any", "few", "runs"]),
)


@settings(deadline=None, max_examples=60)
@given(
    chosen=st.lists(columns, min_size=1, max_size=6),
    rows=st.sampled_from([1, 2, 7, 8, 9, 63, 1000]),
    seed=st.integers(0, 2**16),
)
def test_any_table_is_read_as_it_was_to_the_bit(chosen, rows, seed):
    rng = np.random.default_rng(seed)
    made = [
        _numbers(NUMBERS[kind], rng, rows, missing, spread) if kind in NUMBERS else OTHERS[kind](rng, rows)
        for kind, missing, spread in chosen
    ]
    table = pa.table(made, [f"column {place}" for place in range(len(made))])
    content = pa.py_buffer(encoded_batch(table.schema, table, FACTS, {}).to_bytes())
    found = pq.read_table(pa.BufferReader(content), page_checksum_verification=True).replace_schema_metadata()
    assert found.schema == table.schema
    if not {"struct", "lists"} & {kind for kind, *_ in chosen}:
        check_content(content.to_pybytes())
    for (kind, *_), own, theirs in zip(chosen, table.columns, found.columns, strict=True):
        assert _bits(own) == _bits(theirs) if kind in NUMBERS else own.equals(theirs)
    _same_facts(pq.read_metadata(pa.BufferReader(content)), _by_pyarrow(table))


@st.composite
def _repetitive(draw) -> bytes:
    """Bytes with copies of what was before, near and as far as LZ4 reaches, of lengths about where its counts grow."""
    content = draw(st.binary(max_size=40))
    for _ in range(draw(st.integers(0, 8))):
        way = draw(st.sampled_from(["new", "noise", "copy", "one"]))
        length = draw(st.sampled_from([1, 3, 4, 5, 12, 14, 15, 16, 18, 19, 20, 269, 270, 271, 274, 65_531]))
        if way == "noise":
            content += np.random.default_rng(draw(st.integers(0, 99))).bytes(length)
        elif way == "copy" and content:
            back = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 9, 65_534, 65_535, 65_536, 10**9]))
            chosen = content[-back:]
            content += (chosen * (length // len(chosen) + 1))[:length]
        elif way == "one":
            content += b"\0" * length
        else:
            content += draw(st.binary(max_size=20))
    return content + bytes(-len(content) % 8 or 8)


@settings(deadline=None, max_examples=150)
@given(contents=st.lists(_repetitive(), min_size=1, max_size=3), kind=st.sampled_from([*NUMBERS.values()]))
def test_whatever_repeats_is_read_as_it_was(contents, kind):
    """Columns one behind the other in one row group: what the compressor remembers of one is nothing to the next."""
    rows = min(map(len, contents)) // np.dtype(kind).itemsize
    table = pa.table({str(place): pa.array(np.frombuffer(own, kind, rows)) for place, own in enumerate(contents)})
    content = pa.py_buffer(encoded_batch(table.schema, table, FACTS, {}).to_bytes())
    found = pq.read_table(pa.BufferReader(content))
    for own, theirs in zip(table.columns, found.columns, strict=True):
        assert _bits(own) == _bits(theirs)
    check_content(content.to_pybytes())


@pytest.mark.parametrize("kind", ["i32", "i64", "f32", "f64"])
def test_what_repeats_as_far_back_as_lz4_tells_and_farther_is_read_as_it_was(kind):
    """Two bytes tell how far: 65,535 at most."""
    noise = np.frombuffer(np.random.default_rng(0).bytes(1 << 17), NUMBERS[kind])
    width = noise.dtype.itemsize
    for far in (65_528, 65_536, 65_544):
        values = np.tile(noise[: far // width], 3)
        table = pa.table({"again": pa.array(values), "and again": pa.array(values)})
        content = pa.py_buffer(encoded_batch(table.schema, table, FACTS, {}).to_bytes())
        found = pq.read_table(pa.BufferReader(content))
        assert [_bits(column) for column in found.columns] == [_bits(column) for column in table.columns]


def _same_facts(own: pq.FileMetaData, theirs: pq.FileMetaData) -> None:
    """What a footer tells of column chunks, but for where they lie and how many bytes they are."""
    assert own.schema.equals(theirs.schema)
    assert (own.num_rows, own.num_row_groups, own.created_by) == (
        theirs.num_rows,
        theirs.num_row_groups,
        theirs.created_by,
    )
    ours, others = own.row_group(0), theirs.row_group(0)
    for place in range(others.num_columns):
        a, b = ours.column(place), others.column(place)
        for name in ("path_in_schema", "physical_type", "num_values", "compression", "is_stats_set"):
            assert getattr(a, name) == getattr(b, name), name
        assert {*a.encodings} == {*b.encodings}
        if b.is_stats_set:
            assert a.statistics.to_dict() == b.statistics.to_dict()
    assert ours.total_byte_size == sum(ours.column(i).total_uncompressed_size for i in range(ours.num_columns))


def test_other_readers_take_columns_of_several_pages_with_and_without_nulls(tmp_path):
    rng, rows = np.random.default_rng(1), 300_001
    made = {
        f"{kind} {missing}": _numbers(NUMBERS[kind], rng, rows, missing, "any")
        for kind in NUMBERS
        for missing in ("none", "some", "all")
    }
    table = pa.table({**made, "words": pa.array(["a", None, "b"] * (rows // 3) + ["c"])})
    with growing_file(tmp_path / "table.parquet", table.schema, FACTS) as file:
        file.add(table)
        file.add(table.slice(0, 5))
        file.finish({})
    path = tmp_path / "table.parquet"
    whole = pa.concat_tables([table, table.slice(0, 5)])
    assert pq.read_table(path).replace_schema_metadata().equals(whole)
    assert pq.read_metadata(path).row_group(0).column(0).total_compressed_size > 1 << 20
    check_file(path)
    assert pl.read_parquet(path).equals(pl.from_arrow(whole))
    assert duckdb.sql(f"FROM '{path}'").to_arrow_table().cast(whole.schema).equals(whole)
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole.to_pandas())


def test_a_table_of_other_columns_is_refused():
    table = pa.table({"a": pa.array([1.0])})
    with pytest.raises(ValueError, match="columns"):
        encoded_batch(table.schema, table.rename_columns(["b"]), FACTS, {})


@pytest.mark.parametrize("order", [["words", "f64"], ["f64", "words"], ["f64"], ["words"]])
def test_a_row_group_begins_where_its_first_column_does(order):
    rng = np.random.default_rng(0)
    arrays = {"f64": _numbers(np.float64, rng, 100, "none", "any"), "words": OTHERS["words"](rng, 100)}
    table = pa.table({name: arrays[name] for name in order})
    content = encoded_batch(table.schema, table, FACTS, {}).to_bytes()
    first = pq.read_metadata(io.BytesIO(content)).row_group(0).column(0)
    assert (first.dictionary_page_offset or first.data_page_offset) == 4


def test_what_repeats_is_compressed_and_what_does_not_is_hardly_longer():
    rng = np.random.default_rng(0)
    sizes = {}
    for name, values in {
        "noise": rng.normal(size=5000),
        "whole": rng.integers(0, 9, 5000),
        "one": np.ones(5000),
    }.items():
        table = pa.table({name: pa.array(values.astype(np.float64))})
        content = encoded_batch(table.schema, table, FACTS, {}).to_bytes()
        column = pq.read_metadata(pa.BufferReader(content)).row_group(0).column(0)
        sizes[name] = column.total_compressed_size / column.total_uncompressed_size
    assert sizes["noise"] < 1.01
    assert sizes["whole"] < 0.5
    assert sizes["one"] < 0.02


def test_text_is_of_a_dictionary_alone_or_of_none():
    """fastparquet reads plain values behind those of a dictionary as nulls, hyparquet takes a compressed dictionary
    without values for damage."""
    rows = 40_000
    table = pa.table(
        {
            "none": pa.nulls(rows, pa.string()),
            "empty": pa.array([""] * rows),
            "different": pa.array([f"{n:09}" * 9 for n in range(rows)]),
        }
    )
    content = pa.py_buffer(encoded_batch(table.schema, table, FACTS, {}).to_bytes())
    assert pq.read_table(pa.BufferReader(content)).replace_schema_metadata().equals(table)
    group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    none, empty, different = map(group.column, range(3))
    assert not none.has_dictionary_page
    assert none.total_uncompressed_size < 100
    assert empty.has_dictionary_page
    assert different.has_dictionary_page
    # Pages of indices: the dictionary has the bytes.
    assert different.data_page_offset - different.dictionary_page_offset > 0.5 * different.total_compressed_size
