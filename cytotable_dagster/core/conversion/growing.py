"""One file of many plates' rows under way."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.parquet.concat import Concatenation, Mark
from cytotable_dagster.core.parquet.refit import Refitting, refit
from cytotable_dagster.core.parquet.rounding import rounded_in
from cytotable_dagster.core.parquet.writing import encoded_batch, footer
from cytotable_dagster.core.planning.unify import Columns, columns_of, schema_of
from cytotable_dagster.core.storage.destination import Results
from cytotable_dagster.core.version import VERSION

if TYPE_CHECKING:
    import pyarrow as pa


class Growing(ABC):
    """A table's file, to which chunks of plates are appended."""

    file: Concatenation

    def __init__(self) -> None:
        # Whole numbers, by plate, that were rounded when a plate was fitted to columns that became known after it.
        self.rounded: list[tuple[str, Coercion]] = []

    @abstractmethod
    def begin(self, plate: str, columns: Columns) -> None:
        """The next plate's chunks have these columns."""

    @abstractmethod
    def undo(self) -> None:
        """Take back the rows of the plate that was begun last."""

    @abstractmethod
    def append(self, plate: str, path: Path) -> None:
        """Add a plate's file, whatever its columns."""

    @abstractmethod
    def finish(self, columns: Columns, entries: Mapping[str, str], results: Results, name: str) -> int:
        """Make it the result of that name, with these columns and these entries in its footer; its bytes."""


class OneFile(Growing):
    """A result that grows, of columns that are known before."""

    def __init__(self, columns: Columns, out: BinaryIO) -> None:
        super().__init__()
        self.file = Concatenation(out)
        self._columns, self._out = columns, out
        self._mark: Mark | None = None

    def begin(self, plate: str, columns: Columns) -> None:
        self._mark = self.file.mark()

    def undo(self) -> None:
        if self._mark is not None:
            self.file.back_to(self._mark)

    def append(self, plate: str, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if columns_of(pq.read_schema(path)) == self._columns:
            self.file.append(path)
            return
        self.rounded += [(plate, found) for found in rounded_in(path, _types(self._columns))]
        fitted = path.with_name(f"fitted_{path.name}")
        with pa.OSFile(str(path)) as source, fitted.open("wb") as out:
            refit(source, schema_of(self._columns), {}, out)
        self.file.append(fitted)
        fitted.unlink()

    def finish(self, columns: Columns, entries: Mapping[str, str], results: Results, name: str) -> int:
        _finish(self.file, columns, entries)
        return self._out.tell()


class Parts(Growing):
    """Rows of plates whose columns are known one after the other: in one file as long as these do not change, else in
    several, of which the result is made by copying encoded bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True)
        self._folder = folder
        self._parts: list[tuple[Path, Columns]] = []
        # Of each part, its plates and the row group that each begins with.
        self._plates: list[list[tuple[str, int]]] = []
        self._out: BinaryIO | None = None
        self._mark: Mark | None = None

    def begin(self, plate: str, columns: Columns) -> None:
        if not self._parts or columns != self._parts[-1][1]:
            self._close()
            path = self._folder / f"{len(self._parts):05d}.parquet"
            self._parts.append((path, columns))
            self._plates.append([])
            self._out = path.open("wb")
            self.file = Concatenation(self._out)
        self._mark = self.file.mark()
        self._plates[-1].append((plate, self._mark.count))

    def undo(self) -> None:
        if self._mark is not None:
            self.file.back_to(self._mark)
            self._plates[-1].pop()

    def append(self, plate: str, path: Path) -> None:
        self.file.append(path)

    def finish(self, columns: Columns, entries: Mapping[str, str], results: Results, name: str) -> int:
        if [own for _, own in self._parts] == [columns]:
            self._close(entries)
            ((path, _),) = self._parts
            size = path.stat().st_size
            results.take(path, name)
            return size
        import pyarrow as pa

        self._close()
        out = results.create(name)
        made = Refitting(out, schema_of(columns), {})
        for (path, own), plates in zip(self._parts, self._plates, strict=True):
            if own != columns:
                self._note_rounded(path, plates, _types(columns))
            with pa.OSFile(str(path)) as source:
                made.append(source)
            path.unlink()
        made.finish(entries)
        return out.tell()

    def _note_rounded(self, path: Path, plates: Sequence[tuple[str, int]], types: "Mapping[str, pa.DataType]") -> None:
        ends = [first for _, first in plates[1:]]
        for (plate, first), last in zip(plates, [*ends, None], strict=True):
            self.rounded += [(plate, found) for found in rounded_in(path, types, first, last)]

    def _close(self, entries: Mapping[str, str] | None = None) -> None:
        """Finish the part that grows."""
        if self._out is not None:
            _finish(self.file, self._parts[-1][1], entries or footer({"version": VERSION}))
            self._out.close()
            self._out = None


def _types(columns: Columns) -> "dict[str, pa.DataType]":
    schema = schema_of(columns)
    return dict(zip(schema.names, schema.types, strict=True))


def _finish(file: Concatenation, columns: Columns, entries: Mapping[str, str]) -> None:
    if file.is_empty:
        schema = schema_of(columns)
        file.append(Path("no rows"), encoded_batch(schema, schema.empty_table(), {"version": VERSION}, {}))
    file.finish(entries)
