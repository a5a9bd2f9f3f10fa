"""NumPy arrays become Arrow arrays and back with equal values, in one memory."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytotable_dagster.core.support.arrays import from_numpy, from_texts, repeated, to_numpy, valid_mask


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 1000])
def test_values_and_gaps_go_there_and_come_back(dtype, rows):
    values = np.arange(rows).astype(dtype)
    valid = values % 3 != 0
    array = from_numpy(values, valid)
    array.validate(full=True)
    assert array.to_pylist() == [value if known else None for value, known in zip(values, valid, strict=True)]
    assert valid_mask(array).tolist() == valid.tolist()
    assert to_numpy(array)[valid].tolist() == values[valid].tolist()


def test_a_part_of_an_array_is_taken_from_its_place():
    array = pa.array([1, None, 3, 4, None, 6], pa.int64()).slice(2, 3)
    assert valid_mask(array).tolist() == [True, True, False]
    assert to_numpy(array)[:2].tolist() == [3, 4]
    assert to_numpy(from_numpy(np.arange(10)[::2])).tolist() == [0, 2, 4, 6, 8]


@given(st.lists(st.none() | st.text(max_size=9), max_size=20))
def test_texts_become_an_arrow_array(values):
    found = from_texts(values)
    found.validate(full=True)
    assert found.to_pylist() == values


@pytest.mark.parametrize(
    ("value", "type"),
    [(7, pa.int64()), (-(2**63), pa.int64()), (7, pa.int32()), (0.5, pa.float64()), ("é", pa.string()), ("", pa.string()),
     (None, pa.string()), (None, pa.float32())],
)  # fmt: skip
@pytest.mark.parametrize("count", [0, 1, 5])
def test_one_value_is_repeated(value, type, count):
    found = repeated(value, type, count)
    assert (found.to_pylist(), found.type) == ([value] * count, type)


def test_pandas_stays_out():
    code = (
        "import sys, numpy as np; from cytotable_dagster.core.support.arrays import *\n"
        "to_numpy(from_numpy(np.arange(9), np.arange(9) > 3)); valid_mask(from_numpy(np.arange(9)))\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
