"""Which files of a listing are new, changed and whole, remembered from one look to the next.

A large source is not listed anew each time. New batches are looked through first, then those in which something
changed within the hour; of the others so many pages that all have their turn within some looks. Plates that are
folders are looked into when they are new, while they grow, and else by turns.
"""

import base64
import json
import math
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.intake.addresses import Found, Pattern
from cytotable_dagster.core.intake.batches import Batches, BatchState
from cytotable_dagster.core.intake.listing import Listing
from cytotable_dagster.core.intake.seen_files import SeenFiles, digest

# Requests of a look for folders that were handled, or have nothing to handle, and may have changed.
_CALLS_IN_TURN = 60


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
        return replace(self, handled=handled, waiting={**self.waiting, name: digest(found)})

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
    files = SeenFiles(
        pattern.root, limit, source.now, dict(memory.handled), dict(memory.waiting), before=memory.waiting
    )
    batches = Batches(dict(memory.batches), now, every)
    walk = _Walk(source, pattern, files, batches, now, now() + seconds, memory.turn)
    whole, error = False, None
    try:
        walk.look_again_at_waiting()
        whole = walk.look_through_batches()
        if pattern.of_folders:
            walk.look_again_at_folders()
    except CytoTableError as found:
        whole, error = False, found
    return Look(
        tuple(files.ready),
        replace(memory, handled=files.handled, waiting=files.waiting, batches=batches.states, turn=walk.turn),
        len(batches.states),
        whole,
        tuple(sorted(batches.gone)),
        error,
    )


@dataclass
class _Walk:
    """One look under way, until `end` by the clock `now`; the handled folders up to `turn` have had theirs."""

    source: Listing
    pattern: Pattern
    files: SeenFiles
    batches: Batches
    now: Callable[[], float]
    end: float
    turn: str

    def look_again_at_waiting(self) -> None:
        for name in list(self.files.waiting):
            if self.files.enough or self._is_late():
                return
            found = self.source.look(self.pattern.root + name)
            if found is None:
                del self.files.waiting[name]
            else:
                self.files.take(found)

    def look_through_batches(self) -> bool:
        """Go through the pages whose turn it is; whether nothing of them is left."""
        self.batches.are(self.source.batches())
        for prefix, pages in self.batches.in_order():
            for _ in pages:
                if self._is_over():
                    return False
                if self._page_done(prefix):
                    break
        return True

    def look_again_at_folders(self) -> None:
        names = sorted(self.files.handled.keys() - self.files.waiting.keys())
        last = math.inf if self.batches.every else self.source.calls + _CALLS_IN_TURN
        for name in [*(n for n in names if n > self.turn), *(n for n in names if n <= self.turn)]:
            if self._is_over() or self.source.calls >= last:
                return
            found = self.source.look(self.pattern.root + name)
            if found is not None:
                self.files.take(found)
            self.turn = name

    def _page_done(self, prefix: str) -> bool:
        """Look through a page of a batch; whether it was the last."""
        page = self.source.page(prefix, self.batches.states[prefix].after)
        changed = sum(map(self.files.take, page.found)) + sum(map(self._notice, page.folders))
        if changed:
            self.batches.has_changed(prefix)
            if self._is_over():
                # What did not fit is on this page.
                return False
        self.batches.page_done(prefix, page.after)
        return page.after is None

    def _notice(self, uri: str) -> bool:
        """Look into a folder that was not known; whether there is a plate in it, or no time to see."""
        if self.files.knows(uri):
            return False
        if self._is_over():
            return True
        found = self.source.look(uri)
        if found is None:
            self.files.is_nothing(uri)
            return False
        return self.files.take(found)

    def _is_late(self) -> bool:
        return self.now() >= self.end

    def _is_over(self) -> bool:
        return self.files.full or self._is_late()
