"""Where lines and records of CSV files end; see `csv_records` for what a record is."""

from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.kernels.csv_layout import QUOTED
from cytotable_dagster.core.sources.csv.dialect import Dialect

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 1 << 20


class Scanner:
    """Finds records in a text that comes piece by piece. No piece may end between the two bytes of a CRLF."""

    def __init__(self, dialect: Dialect) -> None:
        import numpy as np

        self._dialect = dialect
        self._task = np.zeros(3, np.int64)
        self._before = 0
        self._opened = 0

    def take(self, piece: bytes) -> "np.ndarray":
        """Where the records end that end in this piece, as of its start, and their numbers of fields, 0 for a blank
        one: shape (records, 2)."""
        import numpy as np

        from cytotable_dagster.core.kernels.loading import call

        found = np.empty((max(piece.count(b"\n") + piece.count(b"\r"), 1), 2), np.int64)
        self._task[2] = -1
        text = np.frombuffer(self._dialect.for_records(piece), np.uint8)
        count = call("find_records", self._task, text, found)
        if self._task[2] >= 0:
            self._opened = self._before + int(self._task[2])
        self._before += len(piece)
        return found[:count]

    @property
    def open_quote(self) -> int | None:
        """Where in all of the text the quoted field starts that it ends in; None where it ends outside of quotes."""
        return self._opened if self._task[0] == QUOTED else None

    @property
    def has_begun(self) -> bool:
        """Whether the text ends within a record."""
        return bool(self._task[1])


def lines_in(data: bytes) -> int:
    """How many lines end: with LF, CRLF or CR."""
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def lines_between(path: Path, start: int, end: int) -> int:
    """How many lines end between two places of a file."""
    count, last = 0, b""
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (block := file.read(min(end - start, _BLOCK))):
            count, start = count + lines_in(block) - (last == b"\r" and block[:1] == b"\n"), start + len(block)
            last = block[-1:]
    return count


def never_closed(where: str, line: int) -> SourceFormatError:
    return SourceFormatError(f"{where}: line {line}: a quote opens a field here and is never closed; mend or export it")
