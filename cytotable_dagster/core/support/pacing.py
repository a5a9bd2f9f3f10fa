"""Counts as lines of a log: enough to see that it goes on, never a line for each of ten thousand."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.support.telling import BYTES

# Lines of a step that lasts, apart by so many seconds at least; and after how long one comes in any case.
_LINES, _APART, _SILENT = 40, 1.0, 60.0


@dataclass
class _Step:
    begun: float
    last: float
    done: int


@dataclass
class Pace:
    """Which counts of a step deserve a line: the first, the last, and a few between."""

    _steps: dict[str, _Step] = field(default_factory=dict)

    def due(self, step: str, done: int, total: int) -> bool:
        now, before = time.monotonic(), self._steps.get(step)
        if before is None or done < before.done:
            self._steps[step] = _Step(now, now, done)
            return True
        apart, more = now - before.last, done - before.done
        if done < total and (apart < _APART or (more * _LINES < total and apart < _SILENT)):
            return False
        if not more:
            return False
        before.last, before.done = now, done
        return True

    def left(self, step: str, done: int, total: int) -> str:
        """How long the rest takes, at the rate up to now; empty where nobody can tell."""
        seconds = self.seconds(step)
        if seconds < 2 * _APART or not 0 < done < total:
            return ""
        return f", about {_duration(seconds * (total - done) / done)} left"

    def seconds(self, step: str) -> float:
        """Since a step was told of first."""
        return time.monotonic() - self._steps[step].begun


def lines(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    """Progress that is said in lines."""
    pace = Pace()

    def show(step: str, done: int, total: int) -> None:
        due = pace.due(step, done, total)
        if not due or not (done or step in BYTES):
            return
        if step not in BYTES:
            say(f"{step}: {done:,} of {total:,}{pace.left(step, done, total)}")
        elif not done:
            say(f"{step} {human_bytes(total)}")
        else:
            rate = round(done / max(pace.seconds(step), 0.001))
            left = pace.left(step, done, total)
            say(f"{BYTES[step]} {human_bytes(done)} of {human_bytes(total)}, {human_bytes(rate)}/s{left}")

    return show


def _duration(seconds: float) -> str:
    """`12 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
