"""How far a command is, on standard error: bars on a terminal, from its first moment; else lines as in a log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.support.pacing import lines
from cytotable_dagster.core.support.telling import BYTES, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_BEGINNING = "looking at the source"
_CONVERTER = logging.getLogger("cytotable_dagster")


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """What to call with (step, done, total) while the block lasts."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lines(lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True))
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=18),
        TextColumn("{task.fields[amount]}", markup=False),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars, _remarks_above(console):
        beginning: TaskID | None = bars.add_task(_BEGINNING, total=None, amount="")
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            nonlocal beginning
            if beginning is not None:
                bars.remove_task(beginning)
                beginning = None
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total, amount="")
            speed = bars.tasks[list(tasks).index(step)].speed if step in BYTES else None
            bars.update(tasks[step], completed=done, total=total, amount=_amount(step, done, total, speed))

        yield show


def _amount(step: str, done: int, total: int, speed: float | None) -> str:
    if step not in BYTES:
        return f"{done:,}/{total:,}"
    rate = f", {human_bytes(round(speed))}/s" if speed else ""
    return f"{human_bytes(done)} of {human_bytes(total)}{rate}"


@contextmanager
def _remarks_above(console: "Console") -> Iterator[None]:
    """Warnings of the converter stand above the bars, which would be torn by them."""
    handler = _To(console)
    _CONVERTER.addHandler(handler)
    try:
        yield
    finally:
        _CONVERTER.removeHandler(handler)


class _To(logging.Handler):
    def __init__(self, console: "Console") -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), highlight=False, markup=False)
