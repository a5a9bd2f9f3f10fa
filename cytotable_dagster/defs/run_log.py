"""What the converter has to say while it works, in the log of the run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cytotable_dagster.core.support.pacing import lines
from cytotable_dagster.core.support.telling import watched

_CONVERTER = logging.getLogger("cytotable_dagster")


@contextmanager
def in_run_log(log: logging.Logger) -> Iterator[None]:
    """While the block lasts, a run's log has the converter's remarks (that it compiles its readers, what it planned)
    and how far its steps are, in a bounded number of lines."""
    handler, level = _To(log), _CONVERTER.level
    _CONVERTER.addHandler(handler)
    _CONVERTER.setLevel(logging.INFO)
    try:
        with watched(lines(log.info)):
            yield
    finally:
        _CONVERTER.setLevel(level)
        _CONVERTER.removeHandler(handler)


class _To(logging.Handler):
    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, record.getMessage())
