"""One result of a table's chunk files, made while the chunks still come."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from cytotable_dagster.core.compartments import chunk_path
from cytotable_dagster.core.files import size_of
from cytotable_dagster.core.parquet import footer
from cytotable_dagster.core.parquet_concat import Concatenation
from cytotable_dagster.core.types import FileFacts
from cytotable_dagster.core.values import merged


class TableFile(AbstractContextManager["TableFile"]):
    """Takes chunk files in any order and appends each, as soon as those before it are there, to one file.

    A chunk file is removed once it is appended: most are gone before they ever reach the disk.

    Args:
        folder: where the chunk files are; the one file is made beside it, with `.parquet` after its name.
        concat: False leaves the folder of chunk files as the result.
    """

    def __init__(self, folder: Path, concat: bool) -> None:
        self._folder = folder
        self._path = folder.with_name(f"{folder.name}.parquet")
        self._out: BinaryIO | None = self._path.open("wb") if concat else None
        self._concatenation = Concatenation(self._out) if self._out else None
        self._facts: list[FileFacts] = []
        self._done: set[Path] = set()
        self._next = 0

    def __exit__(self, *_: object) -> None:
        if self._out is not None:
            self._out.close()

    def add(self, facts: Sequence[FileFacts]) -> int:
        """Take chunk files that are done; how many chunks are, all told."""
        self._facts.extend(facts)
        if self._concatenation is not None:
            # A file that exists may still be looked at by the task that made it; what a task gave back is done.
            self._done.update(part.path for part in facts)
            while (part := chunk_path(self._folder, self._next)) in self._done:
                self._concatenation.append(part)
                part.unlink()
                self._done.remove(part)
                self._next += 1
        return len(self._facts)

    def finish(self, facts: Mapping[str, str]) -> FileFacts:
        """The result, when all chunks are done; `facts` go into the footer of the one file."""
        rows = sum(part.rows for part in self._facts)
        if self._concatenation is not None and self._out is not None:
            self._concatenation.finish(footer({**facts, "rows": str(rows)}))
            self._out.close()
        path = self._folder if self._concatenation is None else self._path
        return FileFacts(
            path=path,
            rows=rows,
            columns=self._facts[0].columns,
            size=size_of(path),
            seconds=sum(part.seconds for part in self._facts),
            coercions=merged([coercion for part in self._facts for coercion in part.coercions]),
        )
