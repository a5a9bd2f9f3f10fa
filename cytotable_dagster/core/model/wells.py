"""Wells of a plate: what they are called, and where they are."""

import re
from collections.abc import Iterable

# `A01`, `A1`, `AF48`; IN Carta writes `A - 1`.
_WELL = re.compile(r"([A-Za-z]{1,2})[\s_-]*0*(\d+)")
# Rows and columns of the usual plates, of 6 to 1,536 wells.
_PLATES = ((2, 3), (4, 6), (8, 12), (16, 24), (32, 48))


def place_on_plate(well: object) -> tuple[int, int] | None:
    """Row and column of a well, from 0: `A01` is (0, 0), `AA1` (26, 0); None for what is no such name."""
    match = _WELL.fullmatch(str(well or "").strip())
    if match is None or match[2] == "0":
        return None
    row = 0
    for letter in match[1].upper():
        row = row * 26 + ord(letter) - 64
    return row - 1, int(match[2]) - 1


def row_letters(row: int) -> str:
    """What a row is called, from 0: `A`, `Z`, `AA`."""
    return chr(65 + row) if row < 26 else f"{chr(64 + row // 26)}{chr(65 + row % 26)}"


def layout_of(places: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Rows and columns of the smallest plate that has these places."""
    rows = columns = 1
    for row, column in places:
        rows, columns = max(rows, row + 1), max(columns, column + 1)
    return next(((r, c) for r, c in _PLATES if rows <= r and columns <= c), (rows, columns))
