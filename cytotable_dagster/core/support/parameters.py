"""Parameters of the library in messages: the converter names them as its callers write them (`overwrite=True`,
`dest_path`), and each door to it says them in its own words (`--overwrite`, `DEST`)."""

import re
from collections.abc import Callable

# A value as messages have it: a literal of Python's, or dots. What follows a path or another word is no parameter, and
# neither is the name of a plate.
_VALUE = r"""True|False|None|\.\.\.|-?\d(?:[\d.,]*\d)?|'[^']*'|"[^"]*"|\[[^\]]*\]"""
_NAMED = re.compile(
    r"""(?<!\bplate )"""
    rf"""(?<![\w./\\\-'"={{?&])(?:(?P<name>[a-z]\w*)=(?P<value>{_VALUE})?(?![\w/]|\.\w)|(?P<bare>[a-z]+(?:_[a-z]+)+)(?![\w=/(]|\.\w))"""
)

# Given a parameter and its value as Python has it ("" where none is told), what a door says; None where it is none.
Word = Callable[[str, str], str | None]


def reworded(message: str, word: Word) -> str:
    """A message with the parameters in it as a door says them."""

    def said(found: re.Match[str]) -> str:
        name = found["name"] or found["bare"]
        return word(name, found["value"] or "") or found[0]

    return _NAMED.sub(said, message)


def parameters_in(message: str) -> list[tuple[str, str]]:
    """The parameters that a message may name, with their values."""
    return [(found["name"] or found["bare"], found["value"] or "") for found in _NAMED.finditer(message)]
