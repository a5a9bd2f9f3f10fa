"""Seconds, and seconds of the processor, since a moment."""

import os
import time


class Clock:
    def __init__(self) -> None:
        self._started, self._cpu = time.perf_counter(), _cpu()

    def read(self) -> tuple[float, float]:
        """Seconds since this was made, and those of the processor, of this process and descendants that have ended."""
        return time.perf_counter() - self._started, _cpu() - self._cpu


def _cpu() -> float:
    return sum(os.times()[:4])
