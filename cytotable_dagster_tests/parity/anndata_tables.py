"""Whether AnnData of ours holds what CytoTable's of the same plate holds."""

from collections.abc import Mapping, Sequence

import anndata
import numpy as np
import pandas as pd


def compare(
    ours: anndata.AnnData, theirs: anndata.AnnData, keys: Sequence[str], called: Mapping[str, str] | None = None
) -> int:
    """How many values are equal: all of theirs, for another is an AssertionError that names the column.

    Args:
        keys: ends of the names of columns that tell the rows apart, which are in another order.
        called: what columns of theirs are called in ours, where that is not the same.
    """
    names = called or {}
    mine, other = _table(ours, keys), _table(theirs, keys)
    assert mine.shape[0] == other.shape[0]
    missing = [name for name in other if names.get(name, name) not in mine]
    assert not missing, missing
    for name in other:
        own = mine[names.get(name, name)]
        if other[name].dtype.kind in "iuf":
            values = own.to_numpy("float64", na_value=np.nan)
            np.testing.assert_array_equal(values, other[name].to_numpy("float64"), err_msg=name)
        else:
            assert own.astype(str).tolist() == other[name].astype(str).tolist(), name
    return other.shape[0] * other.shape[1]


def _table(cells: anndata.AnnData, keys: Sequence[str]) -> pd.DataFrame:
    """All of it as one table, in the order of the keys."""
    table = pd.concat([cells.to_df(), cells.obs], axis=1)
    found = [next(name for name in table if name.endswith(key)) for key in keys]
    return table.sort_values(found).reset_index(drop=True)
