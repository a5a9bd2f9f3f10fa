"""A source while it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.sources.sqlite.header import log_beside
from cytotable_dagster.core.sources.sqlite.logs import copy_with_log, put_together
from cytotable_dagster.core.sources.state import check_unchanged, unless_changed


@contextmanager
def reading(source: Source, copies: Path) -> Iterator[Source]:
    """The source as it is to be read: with a copy in its place, made in a folder, if its newest content lies in a log
    beside it. Errors in the block are told as by `unless_changed`.

    Raises:
        SourceChangedError: it was written to while it was copied.
        SourceFormatError, DamagedSourceError: it and its log cannot be put together.
    """
    with unless_changed(source):
        readable = _settled(source, copies)
        with unless_changed(readable):
            yield readable


def _settled(source: Source, copies: Path) -> Source:
    log = None if source.path.is_dir() else log_beside(source.path)
    if log is None:
        return source
    # In a folder of its own, for tables may be called anything.
    copy = copy_with_log(source.path, log, copies / "settled")
    check_unchanged(source)
    put_together(copy, source.path, log)
    return replace(source, settled=copy)
