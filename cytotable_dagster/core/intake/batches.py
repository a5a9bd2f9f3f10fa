"""In which order the batches of a listing are looked through, and how far each was."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

# A batch that changed is looked through each time for so long (seconds); so many of them.
_ACTIVE, _ACTIVE_BATCHES = 3600, 5
# Pages of batches that were looked through before, in each look: of the active ones, and of the others.
_PAGES_IN_TURN = 10


@dataclass(frozen=True)
class BatchState:
    """When a batch was last looked through to its end and when it changed (seconds since 1970, 0 is never); where
    looking through it goes on."""

    done: float = 0.0
    changed: float = 0.0
    after: str = ""


@dataclass
class Batches:
    """Batches by prefix; `gone` are those that were there before. With `every` all pages of all of them have their turn
    in one look; `now` is the look's clock."""

    states: dict[str, BatchState]
    now: Callable[[], float]
    every: bool
    gone: frozenset[str] = field(default=frozenset())

    def are(self, prefixes: Sequence[str]) -> None:
        """These are there, and no others."""
        self.gone = frozenset(self.states) - set(prefixes)
        self.states = {prefix: self.states.get(prefix, BatchState()) for prefix in prefixes}

    def in_order(self) -> Iterator[tuple[str, Iterable[int]]]:
        """Batches, with a count of pages for each; the quiet ones share theirs."""
        states = self.states
        new = [prefix for prefix, state in states.items() if not state.done]
        known = sorted(states.keys() - new, key=lambda prefix: (-states[prefix].changed, prefix))
        active = [p for p in known[:_ACTIVE_BATCHES] if self.now() - states[p].changed < _ACTIVE]
        quiet = sorted(set(known) - set(active))
        for prefix in new:
            yield prefix, itertools.count()
        for prefixes in (active, quiet):
            turns = itertools.count() if self.every else iter(range(_PAGES_IN_TURN))
            for prefix in sorted(prefixes, key=lambda prefix: states[prefix].done):
                yield prefix, turns

    def page_done(self, prefix: str, after: str | None) -> None:
        """All on a page is dealt with; `after` is where the next one begins, None at the end."""
        done = self.states[prefix].done if after else self.now()
        self.states[prefix] = replace(self.states[prefix], after=after or "", done=done)

    def has_changed(self, prefix: str) -> None:
        self.states[prefix] = replace(self.states[prefix], changed=self.now())
