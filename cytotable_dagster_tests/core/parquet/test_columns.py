"""Columns that are encoded apart, of rows in another order, and put together: the bytes of the table encoded as one."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytotable_dagster.core.parquet import columns as encoding_of_columns
from cytotable_dagster.core.parquet.columns import encoded_columns, picked
from cytotable_dagster.core.parquet.layout import layout_of
from cytotable_dagster.core.parquet.writing import encoded_batch, encoded_content
from cytotable_dagster_tests.core.parquet.test_encoding import FACTS, NUMBERS, OTHERS, _numbers

KINDS = [*NUMBERS, *OTHERS]


@pytest.fixture(params=[1 << 17, 16], ids=["one page", "several pages"], autouse=True)
def rows_of_a_page(request, monkeypatch):
    monkeypatch.setattr(encoding_of_columns, "_PAGE_ROWS", request.param)


def _table(kinds: list[str], rows: int, seed: int, name: str) -> pa.Table:
    rng = np.random.default_rng(seed)
    made = [
        _numbers(NUMBERS[kind], rng, rows, rng.choice(["none", "some", "all"]), rng.choice(["any", "few", "runs"]))
        if kind in NUMBERS
        else OTHERS[kind](rng, rows)
        for kind in kinds
    ]
    return pa.table(made, [f"{name} {place}" for place in range(len(made))])


def _taken(table: pa.Table, positions: np.ndarray) -> pa.Table:
    return table.take(pa.array(positions, mask=positions < 0))


def _positions(rng: np.random.Generator, order: str, rows: int, count: int) -> np.ndarray:
    if not rows:
        return np.full(count, -1)
    some = rng.integers(0, rows, count)
    if order == "sorted with gaps":
        some = np.sort(some)
    if order != "all there":
        some[rng.random(count) < 0.2] = -1
    return some


@settings(deadline=None, max_examples=60)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    rows=st.sampled_from([0, 1, 9, 64, 300]),
    count=st.sampled_from([1, 8, 9, 64, 301]),
    order=st.sampled_from(["any", "sorted with gaps", "all there"]),
    seed=st.integers(0, 2**16),
)
def test_rows_in_any_order_are_encoded_as_if_they_lay_so(kinds, rows, count, order, seed):
    table = _table(kinds, rows, seed, "column")
    positions = _positions(np.random.default_rng(seed), order, rows, count)
    made = encoded_columns(layout_of(table.schema), table, positions)
    content = encoded_content(table.schema, [made], None, FACTS, {}).to_bytes()
    assert content == encoded_batch(table.schema, _taken(table, positions), FACTS, {}).to_bytes()


@settings(deadline=None, max_examples=60)
@given(
    kinds=st.lists(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), min_size=1, max_size=4),
    rows=st.sampled_from([1, 9, 100]),
    seed=st.integers(0, 2**16),
)
def test_columns_of_several_tables_are_one_row_group(kinds, rows, seed):
    tables = [_table(own, rows, seed + place, f"table {place}") for place, own in enumerate(kinds)]
    of = np.repeat(np.arange(len(tables)), [len(own) for own in kinds])
    np.random.default_rng(seed).shuffle(of)
    own = [iter(table.columns) for table in tables]
    names = [iter(table.column_names) for table in tables]
    whole = pa.table([next(own[side]) for side in of], [next(names[side]) for side in of])
    sides = [encoded_columns(layout_of(table.schema), table) for table in tables]
    content = encoded_content(whole.schema, sides, of, FACTS, {})
    assert content.to_bytes() == encoded_batch(whole.schema, whole, FACTS, {}).to_bytes()
    assert content.size == len(content.to_bytes())
    found = pq.read_table(pa.BufferReader(content.to_bytes())).replace_schema_metadata()
    assert found.to_pydict().keys() == whole.to_pydict().keys()


@settings(deadline=None, max_examples=30)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_some_of_a_tables_columns_are_not_encoded_again(kinds, seed, data):
    table = _table(kinds, 50, seed, "column")
    places = data.draw(st.lists(st.sampled_from(range(len(kinds))), min_size=1, max_size=len(kinds), unique=True))
    layout = layout_of(table.schema)
    whole = encoded_columns(layout, table)
    some = picked(whole, layout, np.array(places))
    assert some.memory is whole.memory
    chosen = table.select(places)
    content = encoded_content(chosen.schema, [some], None, FACTS, {}).to_bytes()
    assert content == encoded_batch(chosen.schema, chosen, FACTS, {}).to_bytes()
