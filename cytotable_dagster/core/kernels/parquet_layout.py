"""What the footer's kernels and their callers agree on."""

import numpy as np

# How deep a footer's structures may lie in each other.
DEPTH = 16
# Positions in the task of a kernel.
AT, SHIFT, FIRST, COUNT, WRITTEN = range(5)
# What a field's value means for the copy.
AS_IS, OFFSET, OFFSET_OR_ZERO, ORDINAL, ENTER, ENTER_LIST = range(6)

# By structure (RowGroup, ColumnChunk, ColumnMetaData) and field number.
MEANING = np.zeros((3, 64), dtype=np.int64)
MEANING[0, 1] = ENTER_LIST
MEANING[0, 5] = OFFSET
MEANING[0, 7] = ORDINAL
MEANING[1, 2] = OFFSET_OR_ZERO
MEANING[1, 3] = ENTER
MEANING[2, 9:12] = OFFSET
