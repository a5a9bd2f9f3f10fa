"""Tables of plain text, as results are printed."""

from collections.abc import Collection, Sequence


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] = ()) -> list[str]:
    """Lines of a table; the first column and those named in `left` are words, the others numbers, set to the right."""
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 or head in left else cell.rjust(width)
            for place, (head, cell, width) in enumerate(zip(heads, cells, widths, strict=True))
        ).rstrip()
        for cells in (heads, *rows)
    ]
