"""What Python and the compiled reader of CSV fields agree on; see `csv_fields`."""

# Kinds of columns and of values; as in a profile of storage classes, 1 to 3.
MISSING, INTEGER, REAL, TEXT, SKIPPED, UNKNOWN = range(6)
# Positions in a line of `cells`: the kind, how many are missing, and where the values start.
KIND, NULLS, HEAD = range(3)
# Answers that are no number of rows.
ODD, MISFIT = -1, -2
