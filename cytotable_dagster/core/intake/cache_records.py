"""What is known of the files of the cache: by a record beside each; of a plate that is a folder by one file beside it.

That has a line of JSON for each file that came, added when it came; the last one of a name counts.
"""

import json
import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from cytotable_dagster.core.support.files import whole_file

# How a file is written, so that it appears when it is whole.
Writing = Callable[[Path], AbstractContextManager[Path]]


@dataclass(frozen=True)
class Record:
    """What is known of a cached file: its version in the store, and the state of the local copy.

    `unverified` says why it could not be compared with the object, and is empty where it was and is equal; None is of
    an earlier version, which compared only some. `suspect` is the MD5 of a copy that had the same ETag and proved
    damaged: one that has it too is what the store has.
    """

    etag: str
    size: int
    md5: str
    modified: int
    unverified: str | None = None
    suspect: str = ""


class Records(Protocol):
    """Records by the paths of files; those of several threads may be kept at once."""

    def of(self, local: Path) -> Record | None:
        """What is known of a file; None where nothing is."""

    def keep(self, local: Path, record: Record) -> None:
        """Keep what is known of a file, which is there."""


class Beside:
    """Each beside its file."""

    def of(self, local: Path) -> Record | None:
        with suppress(OSError, ValueError, TypeError):
            return Record(**json.loads(_beside(local).read_text()))
        return None

    def keep(self, local: Path, record: Record) -> None:
        with whole_file(_beside(local)) as temporary:
            temporary.write_text(json.dumps(vars(record)))


class OfFolder:
    """Those of the files of a plate's folder. Only one process at a time may have it, see `cache`.

    A file that it knows nothing of may have a record beside it: of an earlier version, or as it is a plate of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = f"{folder}{os.sep}", _beside(folder)
        self._lock = Lock()
        self._known: dict[str, Record | None] = {}
        self._lines = 0
        with suppress(OSError):
            for line in self._file.read_bytes().splitlines():
                self._lines += 1
                # One that was broken off is nothing, and the next begins anew.
                with suppress(ValueError, LookupError, TypeError, AttributeError):
                    found = json.loads(line)
                    name = found.pop("name")
                    self._known[name] = Record(**found)

    def of(self, local: Path) -> Record | None:
        name = self._name(local)
        if name not in self._known:
            self._known[name] = None
            if (record := Beside().of(local)) is not None:
                self.keep(local, record)
        return self._known[name]

    def keep(self, local: Path, record: Record) -> None:
        name = self._name(local)
        with self._lock, self._file.open("ab", buffering=0) as file:
            file.write(b"\n" + json.dumps({"name": name, **vars(record)}).encode())
            self._known[name] = record
            self._lines += 1

    def tidy(self, files: Collection[Path]) -> None:
        """Forget all but these files, and what was known of them before."""
        known = {name: record for name in map(self._name, files) if (record := self._known.get(name))}
        if self._lines > 2 * len(known):
            lines = [json.dumps({"name": name, **vars(record)}) for name, record in known.items()]
            with whole_file(self._file) as temporary:
                temporary.write_text("\n".join(lines))
            self._known, self._lines = {**known}, len(lines)

    def _name(self, local: Path) -> str:
        return str(local).removeprefix(self._folder)


def _beside(local: Path) -> Path:
    return local.with_name(f".{local.name}.json")
