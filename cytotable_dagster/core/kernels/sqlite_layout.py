"""Where things are in the arrays that Python and the compiled reader share, and what the reader answers.

Section names refer to https://sqlite.org/fileformat2.html. The arrays:
    geometry   int64[8], the file and the table
    cursor     int64[8], where the walk is
    stack      int64[MAX_DEPTH, 5], one row a level from the root: page, kind, cells, lowest and highest rowid allowed
    pages      uint8[MAX_DEPTH * page size], the page of each level
    cells      int64[most cells of a page, 3], of the leaf at hand: rowid, payload length, where in `pages` it starts
    arena      uint8[...], the records of a block one after another, with room for a read past the end
    block      int64[BLOCK_ROWS, 8], a line a row
    plan       int64[columns, 5], what becomes of each column
    tile       int64[BLOCK_ROWS * numeric slots], numbers of a block, row by row; reals as their bits
    values     int64[numeric slots * rows], the numeric columns, one after another; reals as their bits
    valid      uint8[slots * stride], a bitmap a column, least significant bit first, at the start all ones
    events     int64[..., 5], the values that are not plain numbers: slot, output row, class, and either the number
               itself or where in `heap` its bytes start and how many they are
    heap       uint8[...], bytes of texts and blobs
    task       int64[9], what to do, and how far it got
"""

# Positions in `geometry`; SLACK is the room to leave at the arena's end.
FD, PAGE_SIZE, USABLE, PAGES, ROOT, MAX_LOCAL, MIN_LOCAL, SLACK = range(8)
# Positions in `cursor`; NEXT is the least rowid of the leaf that a walk through all rows is at, or goes to.
DEPTH, LEAF_CELLS, LEAF_CELL, LEAF_DEPTH, BAD_PAGE, NEED, NEXT = range(7)
# Columns of `stack`.
PAGE, KIND, CELLS, LOWEST, HIGHEST = range(5)

# As SQLite's own limit on the depth of a b-tree (BTCURSOR_MAX_DEPTH).
MAX_DEPTH = 20
INTERIOR, LEAF = 5, 13
MIN_ROWID, MAX_ROWID = -(2**63), 2**63 - 1
# The page that holds byte 2**30 is never used: section "The Lock-Byte Page".
LOCK_BYTE = 1 << 30

OK, NEED_ARENA, NEED_EVENTS, NEED_HEAP, BLOCK_FULL = range(5)
(
    UNREADABLE,
    BAD_POINTER,
    BAD_KIND,
    BAD_CELL_COUNT,
    BAD_CELL_POINTER,
    BAD_CELL,
    BAD_FREE_BLOCK,
    BAD_SPACE,
    BAD_ORDER,
    BAD_DEPTH,
    BAD_LENGTH,
    BAD_CHAIN,
    BAD_HEADER,
    BAD_SERIAL,
    TOO_MANY_VALUES,
    NO_SUCH_ROW,
) = range(16, 32)

DAMAGE = {
    UNREADABLE: "the file ends before it",
    BAD_POINTER: "it points to a page outside the file",
    BAD_KIND: "it is not a page of a table",
    BAD_CELL_COUNT: "its number of rows cannot be",
    BAD_CELL_POINTER: "a cell lies outside it",
    BAD_CELL: "a cell runs over its end",
    BAD_FREE_BLOCK: "its list of free space is broken",
    BAD_SPACE: "its cells and free space do not add up",
    BAD_ORDER: "its rows are out of order",
    BAD_DEPTH: "it is not as deep in the tree as its siblings",
    BAD_LENGTH: "a row is longer than the file",
    BAD_CHAIN: "the overflow chain of a row does not end where the row does",
    BAD_HEADER: "the header of a row contradicts its length",
    BAD_SERIAL: "a row has a value of a type that does not exist",
    TOO_MANY_VALUES: "a row has more values than the table has columns",
}

# Rows that are gathered, then decoded together: their records and numbers fit the processor's cache.
BLOCK_ROWS = 32
# Columns of `block`: rowid, output row, leaf page; header and values at hand, and where either and the record end.
ROWID, POSITION, LEAF_PAGE, HEADER, HEADER_END, BODY, BODY_END, RECORD_END = range(8)
# How much of a record to gather: all of it, its header, or as far as the last column wanted.
RECORD, HEADERS, PREFIX = range(3)
# Room before the first record in the arena: an overflow page is read 4 bytes early.
MARGIN = 16

# Columns of `plan`. Slots count the columns asked for, the numeric ones first; a real column holds whole reals as
# integers in the file; FAST is TARGET where plain numbers may be decoded without further ado, else ODD.
TARGET, SLOT, IS_REAL, IS_ROWID, FAST = range(5)
# Values of TARGET and FAST.
SKIP, TO_FLOAT, TO_INT, TO_ANY, ODD = range(5)
# Storage classes, in SQLite's order of https://sqlite.org/datatype3.html; ABSENT: the record ends before the
# column; WHOLE_REAL: a real that the file holds as an integer.
NULL, INTEGER, REAL, TEXT, BLOB, ABSENT, WHOLE_REAL = range(7)
# Positions in `task`: rows done, output rows, columns to decode, how much to gather, bytes of a bitmap, events and
# heap bytes so far, numeric slots, and whether all rows are wanted rather than those of given rowids.
DONE, ROWS, COLUMNS, EXTENT, STRIDE, EVENTS, HEAP, NUMBERS, SCANNING = range(9)
