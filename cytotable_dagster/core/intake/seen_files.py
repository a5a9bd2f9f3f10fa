"""Files of a listing as they are met in one look: which are new or changed, and whole, and which may still grow."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cytotable_dagster.core.intake.addresses import Found

# A file counts when it is the same in two looks, or older than this (seconds).
SETTLED_AFTER = 60
# Of files that may still grow so many are kept in mind.
_WAITING = 200
# Folders without their marker that are looked into each time, and for so long (seconds); then they have their turn.
_UNMARKED, _UNMARKED_FOR = 10, 3600
# The version of what was looked at and is nothing yet.
_NOTHING = ""


@dataclass
class SeenFiles:
    """By address below `root` the version that was `handled`, and of what may still grow the one seen last (`waiting`);
    `before` is what waited when the look began. `ready` are at most `limit`; `now` is the listing's clock."""

    root: str
    limit: int
    now: Callable[[], float]
    handled: dict[str, str]
    waiting: dict[str, str]
    before: Mapping[str, str]
    ready: list[Found] = field(default_factory=list)
    _unmarked: int = 0

    def name(self, uri: str) -> str:
        return uri.removeprefix(self.root)

    def knows(self, uri: str) -> bool:
        return self.name(uri) in self.handled or self.name(uri) in self.waiting

    @property
    def enough(self) -> bool:
        """Whether as many are ready as were asked for."""
        return len(self.ready) >= self.limit

    @property
    def full(self) -> bool:
        """Whether no more can be taken in."""
        return self.enough or len(self.waiting) >= _WAITING

    def take(self, found: Found) -> bool:
        """Take a file for ready, or note it as waiting; whether it is new or changed."""
        name, version = self.name(found.uri), digest(found)
        if self.handled.get(name) == version:
            self.waiting.pop(name, None)
            return False
        if not found.marked:
            self._wait_for_marker(name, found)
        elif not self.enough:
            self._take_or_wait(name, found, version)
        return True

    def is_nothing(self, uri: str) -> None:
        """Note that there is no plate at an address, so that it is not looked at each time."""
        self.handled[self.name(uri)] = _NOTHING

    def _take_or_wait(self, name: str, found: Found, version: str) -> None:
        if self._age(found) > SETTLED_AFTER or self.before.get(name) == version:
            self.ready.append(found)
            self.handled[name] = version
            self.waiting.pop(name, None)
        elif name in self.waiting or len(self.waiting) < _WAITING:
            self.waiting[name] = version

    def _wait_for_marker(self, name: str, found: Found) -> None:
        self.waiting.pop(name, None)
        self._unmarked += 1
        if self._unmarked <= _UNMARKED and self._age(found) < _UNMARKED_FOR:
            # Last, so that others have their turn before.
            self.waiting[name] = digest(found)
        else:
            self.handled.setdefault(name, _NOTHING)

    def _age(self, found: Found) -> float:
        return self.now() - found.modified


def digest(found: Found) -> str:
    """A short text that changes with a file's version or size."""
    return hashlib.blake2s(f"{found.version} {found.size}".encode(), digest_size=6).hexdigest()
