"""A SQLite file that is open for reading, and whether somebody writes to it meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path

from cytotable_dagster.core.errors import SourceChangedError
from cytotable_dagster.core.sources.sqlite.header import (
    HEADER_SIZE,
    Geometry,
    NotOrdinary,
    read_geometry,
    refuse_pending_changes,
)


class OpenFile:
    """A file open for reading, and the facts that change when it is written to."""

    # Of a file that is still coming, see `walk.Walk`.
    pages_there: Callable[[int], int] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_pending_changes(path)
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._stamp = self._state()
        status = os.fstat(self.fd)
        self.geometry: Geometry = read_geometry(os.pread(self.fd, HEADER_SIZE, 0), status.st_size, path)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "fd"):
            close(self.fd)

    def _state(self) -> tuple[int, int, bytes]:
        status = os.fstat(self.fd)
        # The file change counter: section "The Database Header".
        return status.st_size, status.st_mtime_ns, os.pread(self.fd, 4, 24)

    def check_unchanged(self) -> None:
        """Raises SourceChangedError if the file was written to since it was opened."""
        try:
            refuse_pending_changes(self.path)
        except NotOrdinary as error:
            raise SourceChangedError(f"{self.path}: written to while it was read: {error.reason}") from None
        if self._state() != self._stamp:
            raise SourceChangedError(f"{self.path}: written to while it was read; try again")
