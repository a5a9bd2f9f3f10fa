"""What the converter has to say while it works, in the log of the run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_CONVERTER = logging.getLogger("cytotable_dagster")


@contextmanager
def in_run_log(log: logging.Logger) -> Iterator[None]:
    """Remarks of the converter, such as that it compiles its readers, go to a run's log while the block lasts."""
    handler = _To(log)
    _CONVERTER.addHandler(handler)
    try:
        yield
    finally:
        _CONVERTER.removeHandler(handler)


class _To(logging.Handler):
    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, record.getMessage())
