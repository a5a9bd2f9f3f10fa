"""What Python and the compiled reader of CSV fields agree on; see `csv_fields` and `csv_records`."""

# Classes of values, as in a profile of storage classes.
MISSING, INTEGER, REAL, TEXT = range(4)
CLASSES = 5
# Kinds of columns: those of values that are kept as such, one whose values are only counted, one that is passed over.
COUNTED, SKIPPED = 4, 5
# In a line of `cells`, how many values are missing, and where the values start.
NULLS, HEAD = range(2)
# Rows up to which Python is faster than what is made for many: a site often has one image.
FEW = 8
# The state of a text that ends within quotes; see `csv_records`.
QUOTED = 3
# The answer where records are not plain.
ODD = -1
