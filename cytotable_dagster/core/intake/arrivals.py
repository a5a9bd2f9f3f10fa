"""Which files of a listing are new, changed and whole, remembered from one look to the next.

A large source is not listed anew each time. New batches are looked through first, then those in which something
changed within the hour; of the others so many pages that all have their turn within some looks. Plates that are
folders are looked into when they are new, while they grow, and else by turns.
"""

import base64
import hashlib
import itertools
import json
import math
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.intake.addresses import Found, Pattern
from cytotable_dagster.core.intake.listing import Listing

# A file counts when it is the same in two looks, or older than this (seconds).
SETTLED_AFTER = 60
# A batch that changed is looked through each time for so long (seconds); so many of them.
_ACTIVE, _ACTIVE_BATCHES = 3600, 5
# Pages of batches that were looked through before, in each look: of the active ones, and of the others.
_PAGES_IN_TURN = 10
_WAITING = 200
# Requests of a look for folders that were handled, or have nothing to handle, and may have changed.
_CALLS_IN_TURN = 60
# Folders without their marker that are looked into each time, and for so long (seconds); then they have their turn.
_UNMARKED, _UNMARKED_FOR = 10, 3600
# The version of what was looked at and is nothing yet.
_NOTHING = ""


@dataclass(frozen=True)
class BatchState:
    """When a batch was last looked through to its end and when it changed (seconds since 1970, 0 is never); where
    looking through it goes on."""

    done: float = 0.0
    changed: float = 0.0
    after: str = ""


@dataclass(frozen=True)
class Memory:
    """What earlier looks found: by address below the pattern's root, the version that was `handled`, and of files that
    may still grow the one seen last (`waiting`); by prefix, the batches. Of the handled folders, those up to `turn`
    have been looked into again."""

    pattern: str = ""
    handled: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)
    batches: Mapping[str, BatchState] = field(default_factory=dict)
    turn: str = ""

    def without(self, found: Found) -> "Memory":
        """The same, as if this file had not been looked at: it comes again with the next look."""
        name = found.uri.removeprefix(Pattern(self.pattern).root)
        handled = {other: version for other, version in self.handled.items() if other != name}
        return replace(self, handled=handled, waiting={**self.waiting, name: _digest(found)})

    def forgotten(self, names: Collection[str]) -> "Memory":
        """The same, as if what has these addresses below the root had not been handled."""
        return replace(self, handled={name: version for name, version in self.handled.items() if name not in names})

    def dumped(self) -> str:
        """As short text: a scheduler keeps one for every look."""
        return base64.b85encode(zlib.compress(json.dumps(asdict(self), separators=(",", ":")).encode(), 9)).decode()

    @classmethod
    def loaded(cls, text: str | None) -> "Memory":
        """The memory that was dumped; an empty one where there is none or it cannot be read."""
        try:
            known = json.loads(zlib.decompress(base64.b85decode(text or "")))
            batches = {prefix: BatchState(**state) for prefix, state in known.pop("batches").items()}
            return cls(**known, batches=batches)
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error):
            return cls()


@dataclass(frozen=True)
class Look:
    """`ready` are the files that are new or changed, and whole. `whole` says that nothing is left to look through;
    `gone` are batches that were there before; `error` stopped the look early."""

    ready: tuple[Found, ...]
    memory: Memory
    batches: int
    whole: bool
    gone: tuple[str, ...]
    error: CytoTableError | None = None


def look(
    source: Listing,
    pattern: Pattern,
    memory: Memory,
    *,
    limit: int,
    seconds: float,
    every: bool = False,
    now: Callable[[], float] = time.time,
) -> Look:
    """Look through a listing for what has arrived since the last time.

    Args:
        limit: of the files that are returned; those beyond it come with the next looks.
        seconds: when to stop, and go on with the next look.
        every: whether all that is known is looked through again, and not a part of it in turn.
    """
    if memory.pattern != pattern.text:
        memory = Memory(pattern.text)
    walk = _Walk(source, pattern, memory, limit, every, now, now() + seconds)
    error = None
    try:
        walk.look_again_at_waiting()
        walk.look_through_batches()
        if pattern.of_folders:
            walk.look_again_at_folders()
    except CytoTableError as found:
        error = found
    return Look(
        tuple(walk.ready),
        replace(memory, handled=walk.handled, waiting=walk.waiting, batches=walk.batches, turn=walk.turn),
        len(walk.batches),
        walk.whole and error is None,
        tuple(sorted(walk.gone)),
        error,
    )


class _Walk:
    """One look under way."""

    def __init__(
        self,
        source: Listing,
        pattern: Pattern,
        memory: Memory,
        limit: int,
        every: bool,
        now: Callable[[], float],
        end: float,
    ) -> None:
        self.source, self.pattern, self.limit, self.every, self.now, self.end = source, pattern, limit, every, now, end
        self.handled, self.waiting, self.before = dict(memory.handled), dict(memory.waiting), memory.waiting
        self.batches, self.turn = dict(memory.batches), memory.turn
        self.ready: list[Found] = []
        self.gone: set[str] = set()
        self.whole = True
        self.unmarked = 0

    def look_again_at_waiting(self) -> None:
        for name in list(self.waiting):
            if self._enough():
                return
            found = self.source.look(self.pattern.root + name)
            if found is None:
                del self.waiting[name]
            else:
                self._take(found)

    def look_through_batches(self) -> None:
        here = self.source.batches()
        self.gone = set(self.batches) - set(here)
        self.batches = {prefix: self.batches.get(prefix, BatchState()) for prefix in here}
        for prefix, pages in self._in_order():
            for _ in pages:
                if self._full():
                    self.whole = False
                    return
                if self._page_done(prefix):
                    break

    def look_again_at_folders(self) -> None:
        names = sorted(self.handled.keys() - self.waiting.keys())
        last = math.inf if self.every else self.source.calls + _CALLS_IN_TURN
        for name in [*(n for n in names if n > self.turn), *(n for n in names if n <= self.turn)]:
            if self._full() or self.source.calls >= last:
                return
            found = self.source.look(self.pattern.root + name)
            if found is not None:
                self._take(found)
            self.turn = name

    def _in_order(self) -> Iterator[tuple[str, Iterable[int]]]:
        """Batches, with a count of pages for each; the quiet ones share theirs."""
        new = [prefix for prefix, state in self.batches.items() if not state.done]
        known = sorted(self.batches.keys() - new, key=lambda prefix: (-self.batches[prefix].changed, prefix))
        active = [p for p in known[:_ACTIVE_BATCHES] if self.now() - self.batches[p].changed < _ACTIVE]
        quiet = sorted(set(known) - set(active), key=lambda prefix: (self.batches[prefix].done, prefix))
        for prefix in new:
            yield prefix, itertools.count()
        for prefixes in (active, quiet):
            turns = itertools.count() if self.every else iter(range(_PAGES_IN_TURN))
            for prefix in sorted(prefixes, key=lambda prefix: self.batches[prefix].done):
                yield prefix, turns

    def _page_done(self, prefix: str) -> bool:
        """Look through a page of a batch; whether it was the last."""
        state = self.batches[prefix]
        page = self.source.page(prefix, state.after)
        changed = sum(map(self._take, page.found)) + sum(map(self._notice, page.folders))
        if changed:
            state = replace(state, changed=self.now())
        if self._full() and changed:
            # What did not fit is on this page.
            self.batches[prefix] = state
            return False
        self.batches[prefix] = replace(state, after=page.after or "", done=state.done if page.after else self.now())
        return page.after is None

    def _notice(self, uri: str) -> bool:
        """Look into a folder that was not known; whether there is a plate in it, or no time to see."""
        name = uri.removeprefix(self.pattern.root)
        if name in self.handled or name in self.waiting:
            return False
        if self._full():
            return True
        found = self.source.look(uri)
        if found is None:
            self.handled[name] = _NOTHING
            return False
        return self._take(found)

    def _take(self, found: Found) -> bool:
        """Take a file for ready, or note it as waiting; whether it is new or changed."""
        name, version = found.uri.removeprefix(self.pattern.root), _digest(found)
        if self.handled.get(name) == version:
            self.waiting.pop(name, None)
            return False
        if not found.marked:
            return self._wait_for_marker(name, found)
        if len(self.ready) >= self.limit:
            return True
        old = self.source.now() - found.modified > SETTLED_AFTER
        if old or self.before.get(name) == version:
            self.ready.append(found)
            self.handled[name] = version
            self.waiting.pop(name, None)
        elif name in self.waiting or len(self.waiting) < _WAITING:
            self.waiting[name] = version
        return True

    def _wait_for_marker(self, name: str, found: Found) -> bool:
        self.waiting.pop(name, None)
        self.unmarked += 1
        if self.unmarked <= _UNMARKED and self.source.now() - found.modified < _UNMARKED_FOR:
            # Last, so that others have their turn before.
            self.waiting[name] = _digest(found)
        else:
            self.handled.setdefault(name, _NOTHING)
        return True

    def _enough(self) -> bool:
        return len(self.ready) >= self.limit or self.now() >= self.end

    def _full(self) -> bool:
        return self._enough() or len(self.waiting) >= _WAITING


def _digest(found: Found) -> str:
    """A short text that changes with a file's version or size."""
    return hashlib.blake2s(f"{found.version} {found.size}".encode(), digest_size=6).hexdigest()
