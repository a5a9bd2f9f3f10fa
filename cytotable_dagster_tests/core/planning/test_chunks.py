"""Order, chunks and batches as plain arithmetic over keys: an image is never divided, whatever the file's order."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytotable_dagster.core.errors import KeyColumnError
from cytotable_dagster.core.model.types import Link, SourceTable
from cytotable_dagster.core.planning.chunks import (
    RowOrder,
    TableKeys,
    cut_batches,
    cut_by_number,
    cut_by_size,
    cut_evenly,
    match_linked,
    order_rows,
)

small = st.integers(-3, 6)
object_keys = st.lists(st.tuples(small, small, small), unique=True, max_size=40)
image_keys = st.lists(st.tuples(small, small), unique=True, max_size=20)
images_objects = st.lists(st.integers(0, 9), max_size=30)


def _keys(compartment: str, keys: list[tuple[int, ...]], *, text: bool = False) -> TableKeys:
    columns = [
        pa.array([key[place] for key in keys], pa.int64()) for place in range(2 if compartment == "Image" else 3)
    ]
    return TableKeys(
        table=SourceTable(compartment, compartment, ()),
        rows=np.arange(len(keys)),
        table_numbers=columns[0].cast(pa.string()) if text else columns[0],
        image_numbers=columns[1],
        object_numbers=None if compartment == "Image" else columns[2],
    )


def _orders(counts: list[int]) -> dict[str, RowOrder]:
    return {"Cells": RowOrder(np.arange(sum(counts)), np.array(counts, dtype=np.int64))}


@given(image_keys, object_keys, object_keys)
def test_rows_are_in_key_order_and_counted_by_image_over_the_images_of_all_tables(image, cells, nuclei):
    given_keys = {"Image": image, "Cells": cells, "Nuclei": nuclei}
    orders, images = order_rows([_keys(name, keys) for name, keys in given_keys.items()])
    every_image = sorted({key[:2] for keys in given_keys.values() for key in keys})
    assert images == len(every_image)
    for name, keys in given_keys.items():
        assert [keys[row] for row in orders[name].rows] == sorted(keys)
        counts = [sum(key[:2] == image for key in keys) for image in every_image]
        assert orders[name].counts.tolist() == counts


@given(object_keys)
def test_text_table_numbers_keep_images_together(keys):
    orders, _ = order_rows([_keys("Cells", keys, text=True)])
    seen = [keys[row] for row in orders["Cells"].rows]
    assert seen == sorted(keys, key=lambda key: (str(key[0]), *key[1:]))


def test_one_table_with_text_and_another_with_integer_table_numbers_share_images():
    orders, images = order_rows(
        [_keys("Image", [(10, 1), (9, 1)], text=True), _keys("Cells", [(9, 1, 1), (10, 1, 1), (10, 1, 2)])]
    )
    assert images == 2
    assert orders["Image"].counts.tolist() == [1, 1]
    assert sorted(orders["Cells"].counts.tolist()) == [1, 2]


def test_64_bit_keys_are_compared_exactly():
    big = 2**62
    keys = [(big + 1, big, big + 3), (big, big, big + 1), (big, big, big + 2)]
    orders, images = order_rows([_keys("Cells", keys)])
    assert images == 2
    assert orders["Cells"].rows.tolist() == [1, 2, 0]


def test_a_key_of_two_rows_is_refused_naming_one():
    with pytest.raises(KeyColumnError, match="TableNumber 7, ImageNumber 2, ObjectNumber 5") as caught:
        order_rows([_keys("Cells", [(7, 2, 5), (7, 2, 4), (7, 2, 5)])])
    assert "Cells: 1 rows" in str(caught.value)


def test_two_images_of_one_key_are_refused():
    with pytest.raises(KeyColumnError, match=r"Image: .*ImageNumber 2;"):
        order_rows([_keys("Image", [(7, 2), (7, 1), (7, 2)])])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_key_that_is_null_is_refused_with_how_many(place):
    keys = _keys("Cells", [(1, 1, 1), (1, 1, 2)])
    column = ("table_numbers", "image_numbers", "object_numbers")[place]
    broken = TableKeys(**{**vars(keys), column: pa.array([1, None])})
    with pytest.raises(KeyColumnError, match=r"1 of 2 rows have no (table|image|object) number"):
        order_rows([broken])


def test_keys_that_are_no_whole_numbers_are_refused_with_an_example():
    keys = TableKeys(**{**vars(_keys("Cells", [(1, 1, 1)])), "object_numbers": pa.array(["one"])})
    with pytest.raises(KeyColumnError, match="'one'"):
        order_rows([keys])


@given(images_objects, st.integers(1, 25))
def test_chunks_by_size_cover_all_images_and_are_no_larger_than_asked_but_for_one_image(counts, size):
    bounds = cut_by_size(_orders(counts), size).tolist()
    assert (bounds[0], bounds[-1]) == (0, len(counts))
    assert bounds == sorted(bounds)
    for first, last in itertools.pairwise(bounds):
        objects = [count for count in counts[first:last] if count]
        assert sum(objects) <= size or len(objects) == 1
        # Nor smaller: the next image was too many.
        assert last == len(counts) or sum(objects) + counts[last] > size


def test_images_that_fill_a_chunk_exactly_are_one():
    assert cut_by_size(_orders([3, 2, 5, 1, 4]), 5).tolist() == [0, 2, 3, 5]


@given(images_objects, st.integers(1, 40))
def test_chunks_by_number_are_exactly_as_many_as_asked_and_cover_all_images(counts, number):
    bounds = cut_by_number(_orders(counts), number).tolist()
    assert len(bounds) == number + 1
    assert (bounds[0], bounds[-1]) == (0, len(counts))
    assert bounds == sorted(bounds)


@given(images_objects, st.integers(1, 60))
def test_even_chunks_cover_all_images_and_are_no_larger_than_asked_but_for_one_image(counts, most):
    bounds = cut_evenly(_orders(counts), most).tolist()
    assert (bounds[0], bounds[-1]) == (0, len(counts))
    shares = [counts[first:last] for first, last in itertools.pairwise(bounds)]
    assert [count for share in shares for count in share] == counts
    for share in shares:
        assert sum(share) <= most or sum(count > 0 for count in share) == 1


def test_even_chunks_of_like_images_differ_by_an_image_at_the_most():
    bounds = np.diff(cut_evenly(_orders([150] * 22), 1052))
    assert (bounds.sum(), np.ptp(bounds) <= 1, bounds.max() * 150 <= 1052) == (22, True, True)


@given(st.lists(st.integers(5, 9), min_size=16, max_size=40))
def test_shares_of_like_images_are_about_equal(counts):
    bounds = cut_by_number(_orders(counts), 4).tolist()
    shares = [sum(counts[a:b]) for a, b in itertools.pairwise(bounds)]
    assert max(shares) - min(shares) <= 2 * max(counts)


@given(images_objects, st.integers(1, 40), st.integers(1, 10))
def test_batches_divide_chunks_at_images(counts, number, size):
    orders = _orders(counts)
    bounds = cut_by_number(orders, number)
    batches = cut_batches(orders, bounds, size)
    assert [(batch[0], batch[-1]) for batch in batches] == list(itertools.pairwise(bounds))
    assert all(list(batch) == sorted(batch) and len(batch) >= 2 for batch in batches)


def test_an_empty_plate_is_one_empty_chunk_or_as_many_as_asked():
    orders, images = order_rows([_keys("Image", []), _keys("Cells", [])])
    assert images == 0
    assert cut_by_size(orders, 10).tolist() == [0, 0]
    assert cut_by_number(orders, 3).tolist() == [0, 0, 0, 0]
    assert cut_batches(orders, cut_by_number(orders, 3), 5) == ((0, 0),) * 3


def test_a_row_without_a_parent_meets_none_whatever_lies_where_its_number_would():
    # A null's place in memory may hold any number, and so one that an object has.
    numbers = pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([7, 7, 9]))])
    assert numbers.to_pylist() == [7, None, 9]
    child = RowOrder(np.arange(3), np.array([3]), np.arange(3), {"Parent_Nuclei": numbers})
    parent = RowOrder(np.arange(2), np.array([2]), np.array([7, 9]))
    found = match_linked(child, parent, Link("Cells", "Parent_Nuclei", "Nuclei"))
    assert found is not None and found.tolist() == [0, -1, 1]
