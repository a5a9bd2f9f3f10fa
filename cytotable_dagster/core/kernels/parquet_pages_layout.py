"""What the kernel of Parquet's pages and its callers agree on."""

import numpy as np

# Positions in a task: the address of Arrow's record batch, the rows that are written, the address of the numbers of
# the batch's rows that are meant (int64; -1 is a row without values; 0 where they are the batch's own), that of the
# same without -1 and how many these are, values of a page, where the first page goes; and what is told: where the last
# one ends, bytes of the columns' descriptions, and of their pages before they were compressed; and a number that the
# kernel keeps.
BATCH, ROWS, POSITIONS, WANTED, WANTED_ROWS, PAGE_ROWS, TO, END, WRITTEN, FULL, ORIGIN = range(11)
TASK = 11
# What it is told of a column: its physical type (of parquet.thrift; FOREIGN where another writer
# encodes it), where its name's bytes begin and end.
TYPE, FIRST, LAST = range(3)
COLUMN = 3
FOREIGN = -1
INT32, INT64, FLOAT, DOUBLE = 1, 2, 4, 5
# What is known of a column that is encoded: where its pages begin, bytes of them, and of what they were before they
# were compressed, their number, nulls, and the least and the greatest whole number, where some are.
AT, SIZE, UNPACKED, PAGES, NULLS, LEAST, GREATEST = range(7)
ENCODED = 7
# Room for a page's header, and for a column's description without its name.
HEADER_ROOM, DESCRIPTION_ROOM = 64, 256
# Positions that the compressor remembers, by a hash of five bytes.
HEADS = 4096


def packed_bound(size: int) -> int:
    """The most bytes that so many are compressed to."""
    return size + size // 255 + 16


# What is written of a page and of a column, a line for each field, by Thrift's compact protocol: its first byte (how
# far its number is from the last one's, and its type) and its value, which the kernel fills in where it varies. What
# stands ALONE is a structure's or a list's first byte, the 0 that ends a structure, an item of a list.
ALONE = -1
_I32, _I64, _LIST, _STRUCT = 5, 6, 9, 12
_NEXT, _SECOND_NEXT = 1 << 4, 2 << 4
_DATA_PAGE, _PLAIN, _RLE, _LZ4_RAW = 0, 0, 3, 7
FIELDS = np.array(
    [
        # PageHeader, of a DataPageHeader.
        *((_NEXT | _I32, _DATA_PAGE), (_NEXT | _I32, 0), (_NEXT | _I32, 0), (_SECOND_NEXT | _STRUCT, ALONE)),
        *((_NEXT | _I32, 0), (_NEXT | _I32, _PLAIN), (_NEXT | _I32, _RLE), (_NEXT | _I32, _RLE)),
        *((0, ALONE), (0, ALONE)),
        # ColumnChunk, of a ColumnMetaData, up to its name.
        *((_SECOND_NEXT | _I64, 0), (_NEXT | _STRUCT, ALONE), (_NEXT | _I32, 0)),
        *((_NEXT | _LIST, ALONE), (2 << 4 | _I32, _PLAIN), (_RLE << 1, ALONE)),
        *((_NEXT | _LIST, ALONE), (1 << 4 | 8, ALONE)),
        # From there to its statistics.
        *((_NEXT | _I32, _LZ4_RAW), (_NEXT | _I64, 0), (_NEXT | _I64, 0), (_NEXT | _I64, 0), (_SECOND_NEXT | _I64, 0)),
        # How many pages there are of a type and an encoding; the first follows upon statistics or upon what is before.
        *((0, ALONE), (1 << 4 | _STRUCT, ALONE), (_NEXT | _I32, _DATA_PAGE), (_NEXT | _I32, _PLAIN), (_NEXT | _I32, 0)),
        *((0, ALONE), (0, ALONE), (0, ALONE)),
    ],
    np.int64,
)
PAGE_UNPACKED, PAGE_PACKED, PAGE_VALUES, PAGE_END = 1, 2, 4, 10
CHUNK_TYPE, NAMED = 12, 18
CHUNK_VALUES, CHUNK_UNPACKED, CHUNK_SIZE, CHUNK_AT, SAID = 19, 20, 21, 22, 23
CHUNK_PAGES, CHUNK_END = 27, 31
AFTER_STATISTICS, AFTER_PLACE = _NEXT | _LIST, 4 << 4 | _LIST
