"""Texts with placeholders, such as `{batch}/{plate}.sqlite` or `/mnt/<project>/<batch>`, and what fits them.

All of them have one grammar: a placeholder is a name in brackets, of letters, digits and `_`. It stands for one sign or
more, but for no `/`, and wherever it occurs again for the same.
"""

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import zip_longest
from typing import NoReturn

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.support.hidden import stands_for_hidden

BRACES, ANGLES = ("{", "}"), ("<", ">")
_NAME = "[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True)
class Template:
    """A text with placeholders: `names`, and before, between and behind them `literals`."""

    literals: tuple[str, ...]
    names: tuple[str, ...] = ()
    brackets: tuple[str, str] = BRACES

    def __str__(self) -> str:
        left, right = self.brackets
        return self.literals[0] + "".join(
            f"{left}{name}{right}{literal}" for name, literal in zip(self.names, self.literals[1:], strict=True)
        )

    def given(self, values: Mapping[str, str]) -> "Template":
        """The text with values put in for some of its names; what looks like a placeholder in them is none."""
        literals, names = [self.literals[0]], []
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            if name in values:
                literals[-1] += values[name] + literal
            else:
                names.append(name)
                literals.append(literal)
        return Template(tuple(literals), tuple(names), self.brackets)

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with a value for each of its names."""
        (text,) = self.given(values).literals
        return text

    def levels(self) -> "tuple[Template, ...]":
        """What is between the `/` of the text."""
        levels, begun = [], Template(("",), (), self.brackets)
        for literal, name in zip_longest(self.literals, self.names):
            end, *starts = literal.split("/")
            begun = replace(begun, literals=(*begun.literals[:-1], begun.literals[-1] + end))
            for start in starts:
                levels.append(begun)
                begun = Template((start,), (), self.brackets)
            if name is not None:
                begun = replace(begun, literals=(*begun.literals, ""), names=(*begun.names, name))
        return (*levels, begun)

    def match(self, address: str, *, any_case: bool = False) -> dict[str, str] | None:
        """What each placeholder stands for in a whole address, the first ones for as much as can be; None where it does
        not fit."""
        if address.count("/") != sum(literal.count("/") for literal in self.literals):
            return None
        # Where the literals do not follow one another in it the expression would try every way to divide it.
        if not any_case and not fnmatchcase(address, "?*".join(map(glob.escape, self.literals))):
            return None
        found = _expression(self.literals, self.names, any_case).fullmatch(address)
        return found and found.groupdict()

    def match_visible(self, address: str) -> dict[str, str] | None:
        """The same; None too where something in it is hidden that is not written so in the text."""
        return None if stands_for_hidden(str(self), address) else self.match(address)


@lru_cache(maxsize=256)
def template(text: str, brackets: tuple[str, str] = BRACES) -> Template:
    """A text that is written with placeholders in such brackets."""
    left, right = map(re.escape, brackets)
    parts = re.split(f"{left}({_NAME}){right}", text)
    return Template(tuple(parts[::2]), tuple(parts[1::2]), brackets)


def refuse_without(placeholder: str, what: str, example: str) -> NoReturn:
    """Say that a text lacks a placeholder.

    Args:
        what: the text, and whose it is.

    Raises:
        OptionError: always.
    """
    raise OptionError(f"{what}: no {placeholder} in it; write it as {example!r}")


@lru_cache(maxsize=256)
def _expression(literals: tuple[str, ...], names: tuple[str, ...], any_case: bool) -> re.Pattern[str]:
    seen: set[str] = set()
    expression = re.escape(literals[0])
    for name, literal in zip(names, literals[1:], strict=True):
        expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
        seen.add(name)
        expression += re.escape(literal)
    return re.compile(expression, re.IGNORECASE if any_case else 0)
