"""Objects of a store that take the place of older ones together, as far as a store can: one after the other, and all of
them back where one is refused or the process is killed in between.

<prefix>/.cytotable/writing                   who writes there, see `store_lock`
<prefix>/.cytotable/publication.json          what is being published, while it is
<prefix>/.cytotable/before/0 ...              copies, made by the store, of what was there

Before the first object appears, the copies and the record of them are there. The next writer who finds the record puts
the copies back and removes what was new.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.storage.destination import Claim, Results
from cytotable_dagster.core.storage.store_prefix import Prefix
from cytotable_dagster.core.storage.upload import IN_FLIGHT, Upload
from cytotable_dagster.core.support.publication import exists_already

HIDDEN = ".cytotable"
_RECORD = "publication.json"


class StoreResults(Results):
    """Results on their way to a store: what is created goes up while it is written, what is taken at the end."""

    def __init__(self, place: Prefix, claim: Claim) -> None:
        self._place = place
        self._claim = claim
        self._hidden = hidden(claim.name)
        self._uploads: dict[str, Upload] = {}
        self._files: dict[str, Path] = {}
        self._heads: list[str] = []

    def create(self, name: str) -> BinaryIO:
        self._heads.append(name)
        self._uploads[name] = self._place.upload(name)
        return cast(BinaryIO, self._uploads[name])

    def take(self, made: Path, name: str) -> None:
        self._heads.append(name)
        if made.is_file():
            self._files[name] = made
            return
        parts = sorted(part for part in made.rglob("*") if part.is_file())
        self._files |= {f"{name}/{part.relative_to(made).as_posix()}": part for part in parts}

    def publish(self, *, overwrite: bool) -> None:
        """Let all of them appear."""
        place = self._place
        before = [name for head in self._heads for name in place.there(head)]
        if before and not overwrite:
            raise exists_already(place.address(before[0]))
        names = [*self._uploads, *self._files]
        only_if_new = self._claim.conditional and not overwrite
        if len(names) == 1 and set(before) <= set(names):
            self._claim.check()
            self._publish(names[0], only_if_new)
            return
        copies = {name: f"{self._hidden}/before/{number}" for number, name in enumerate(before)}
        _each(copies, lambda name: place.copy(name, copies[name]))
        self._claim.check()
        place.write(f"{self._hidden}/{_RECORD}", json.dumps({"new": names, "before": copies}).encode())
        with _undone(place, self._hidden):
            _each(names, lambda name: self._publish(name, only_if_new))
            _each(set(before) - set(names), place.remove)
        place.remove(f"{self._hidden}/{_RECORD}")
        _each(copies.values(), place.remove)

    def abort(self) -> None:
        for upload in self._uploads.values():
            upload.abort()

    def _publish(self, name: str, only_if_new: bool) -> None:
        if name in self._files:
            self._place.put(self._files[name], name, only_if_new=only_if_new)
        else:
            self._uploads[name].publish(only_if_new=only_if_new)


def hidden(name: str) -> str:
    """Where what is needed beside results lies, of who writes to all of a prefix or to one name."""
    return f"{HIDDEN}/{name}" if name else HIDDEN


def claimed_name(key: str) -> str:
    """The name that something hidden is about; see `hidden`."""
    head, _, rest = key.removeprefix(f"{HIDDEN}/").partition("/")
    return head if rest and head != "before" else ""


def undo(place: Prefix, below: str) -> None:
    """Put back what was there before a publication that was not finished, and remove what was kept for that."""
    found = place.there(below)
    record = f"{below}/{_RECORD}"
    if record in found:
        with place.open(record) as file:
            publication = json.loads(file.read())
        _put_back(place, publication["new"], publication["before"])
        place.remove(record)
    _each([name for name in found if name.startswith(f"{below}/before/")], place.remove)


def _put_back(place: Prefix, new: Sequence[str], before: Mapping[str, str]) -> None:
    _each([name for name in new if name not in before], place.remove)
    _each(before, lambda name: place.copy(before[name], name))


def _each(names: Iterable[str], act: Callable[[str], None]) -> None:
    """Do something with each of some names, several at once, as each waits for an answer of the store."""
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        # Where one is refused, those that were not begun are not.
        for _ in threads.map(act, names):
            pass


@contextmanager
def _undone(place: Prefix, below: str) -> Iterator[None]:
    """Where an object is refused, all others leave."""
    try:
        yield
    except BaseException:
        # Where the store refuses that too, the next writer does it.
        with suppress(CytoTableError):
            undo(place, below)
        raise
