"""The columns of a Parquet file as blocks of a matrix, a few rows at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.parquet.groups import RowGroups
from cytotable_dagster.core.support.telling import Tally

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

# Columns decoded at once.
_COLUMNS = 512


@dataclass(frozen=True)
class Matrix:
    """Columns of numbers; `dtype` is float32 or float64. While it is read, `unfit` counts by column the values that are
    finite and too large for the dtype."""

    groups: RowGroups
    columns: Sequence[str]
    dtype: str
    unfit: Counter[str] = field(default_factory=Counter)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.groups.num_rows, len(self.columns)

    def rows_in(self, size: int) -> int:
        """How many of its rows are about `size` bytes, at least one."""
        import numpy as np

        rows = size // (len(self.columns) * np.dtype(self.dtype).itemsize)
        return max(1, min(rows, self.shape[0]))

    def blocks(self, unit: int) -> "Iterator[tuple[int, np.ndarray]]":
        """The first row of each block, and its columns x rows; nulls and what does not fit are NaN.

        Args:
            unit: every block but the last has a multiple of so many rows.
        """
        import numpy as np

        rows, width = self.shape
        told = Tally("rows written", rows)
        start = 0
        left = np.empty((width, 0), self.dtype)
        for group in self.groups.opened():
            check_stopped()
            block = self._after(left, group)
            ended = start + block.shape[1] == rows
            whole = block.shape[1] if ended else block.shape[1] // unit * unit
            left = block[:, whole:].copy()
            if whole:
                yield start, block[:, :whole]
                start += whole
                told.add(whole)

    def _after(self, left: "np.ndarray", group: "pq.ParquetFile") -> "np.ndarray":
        """What is left of the rows before, and those of a row group."""
        import numpy as np

        width, before = left.shape
        block = np.empty((width, before + group.metadata.num_rows), self.dtype)
        block[:, :before] = left
        for first in range(0, width, _COLUMNS):
            names = list(self.columns[first : first + _COLUMNS])
            table = group.read(columns=names)
            for number, name in enumerate(names, first):
                block[number, before:] = self._fitted(name, table.column(name))
        return block

    def _fitted(self, name: str, values: "pa.ChunkedArray") -> Any:
        import numpy as np
        import pyarrow as pa

        if pa.types.is_decimal(values.type):  # of a query
            values = values.cast(pa.float64())
        numbers = values.to_numpy()
        if numbers.dtype.itemsize <= np.dtype(self.dtype).itemsize or numbers.dtype.kind != "f":
            return numbers
        with np.errstate(over="ignore"):
            fitted = numbers.astype(self.dtype)
        lost = np.isinf(fitted) & np.isfinite(numbers)
        if lost.any():
            self.unfit[name] += int(np.count_nonzero(lost))
            fitted[lost] = np.nan
        return fitted
