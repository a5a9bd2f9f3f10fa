"""What can come of one attack."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# What may be.
RIGHT = "right"  # the result is that of the oracle
REFUSED = "refused"  # an error of our own, in one line
# What must not be.
CRASH = "crash"  # the process died
HANG = "hang"  # no answer within the time allowed
DIFFERENT = "silent difference"  # a result that the oracle does not give, and nobody said so
RAW = "raw exception"  # an exception that is no CytoTableError
LINES = "several lines"  # a message of more than one line
HALF = "half file"  # a file under its final name that is not whole, or a table that is gone
LEFT = "leftover"  # something that an ended process left, and the next run did not remove

FAULTS = (CRASH, HANG, DIFFERENT, RAW, LINES, HALF, LEFT)


@dataclass(frozen=True)
class Outcome:
    """`detail` says, in one line, what was done to the input and what came of it."""

    kind: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        return self.kind in FAULTS


# One attack: a seed that makes it what it is, and an empty folder to work in. The same seed is the same attack.
Attack = Callable[[str, Path], Outcome]


def refused(error: Exception) -> Outcome:
    """The outcome of an error of our own."""
    return Outcome(LINES if "\n" in str(error) or not str(error) else REFUSED, f"{type(error).__name__}: {error}")
