"""What was read from files, kept in memory for as long as a file is the one that was read: the one place for it.

Steps of a plate come one after the other in a process, and each asks for the plan of its plate, the positions of rows,
what is known of a table's files.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
Read = Callable[[Path], T]
# Time and size alone are those of another file as well, where one follows another quickly.
_Stamp = tuple[int, ...]


@dataclass
class _Slot:
    """The value of one file, and which file that was; None before it is read."""

    stamp: _Stamp | None = None
    value: Any = None
    lock: Lock = field(default_factory=Lock)


class FileValues:
    """Values by file and by the function that reads it. Safe to use from several threads: who asks for a file that
    another thread reads waits for that, and no other."""

    def __init__(self) -> None:
        self._slots: dict[tuple[Read[Any], Path], _Slot] = {}
        self._lock = Lock()

    def get(self, path: Path, read: Read[T], most: int) -> T:
        """What a file says, read again where it is another since.

        Args:
            most: how many values of this kind are kept, those last asked for.

        Raises:
            OSError: there is no such file; and what `read` raises.
        """
        slot = self._slot(path, read, most)
        with slot.lock:
            # Before it is read: a file that is put there meanwhile is read the next time.
            stamp = _stamp(path)
            if slot.stamp != stamp:
                slot.value, slot.stamp = read(path), stamp
            found: T = slot.value
            return found

    def put(self, path: Path, read: Read[T], most: int, value: T) -> None:
        """Keep what a file that was just written says."""
        slot = self._slot(path, read, most)
        with slot.lock:
            slot.value, slot.stamp = value, _stamp(path)

    def _slot(self, path: Path, read: Read[Any], most: int) -> _Slot:
        with self._lock:
            slot = self._slots.pop((read, path), None) or _Slot()
            self._slots[read, path] = slot
            same = [key for key in self._slots if key[0] == read]
            for key in same[: max(len(same) - most, 0)]:
                del self._slots[key]
        return slot


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


FILE_VALUES = FileValues()
