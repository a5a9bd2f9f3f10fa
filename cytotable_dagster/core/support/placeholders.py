"""Texts with placeholders, such as `{batch}/{plate}.sqlite`, and what fits them. A placeholder fills in no `/`."""

import glob
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Matcher:
    """What fits a text with placeholders, in a time that does not grow beyond measure with the address."""

    pieces: tuple[str, ...]
    expression: re.Pattern[str]

    def fullmatch(self, address: str) -> re.Match[str] | None:
        """The match of a whole address, with what each placeholder stands for; the first ones as long as can be."""
        # Where the pieces do not follow one another in it the expression would try every way to divide it.
        if address.count("/") != sum(piece.count("/") for piece in self.pieces):
            return None
        if not fnmatchcase(address, "?*".join(map(glob.escape, self.pieces))):
            return None
        return self.expression.fullmatch(address)


@lru_cache(maxsize=64)
def matcher(text: str) -> Matcher:
    """What fits a text with placeholders; one that occurs again stands for the same."""
    parts, seen = PLACEHOLDER.split(text), set()
    expression = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
        seen.add(name)
        expression += re.escape(literal)
    return Matcher(tuple(parts[::2]), re.compile(expression))
