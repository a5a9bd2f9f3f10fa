"""Paths and addresses as people write them: `~` and `$NAME` are what they are in a shell."""

import re
from pathlib import Path

from cytotable_dagster.core.environment import variable
from cytotable_dagster.core.errors import OptionError

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def expanded(path: str | Path, *, to_read: bool = False) -> str:
    """A path of this machine, or an address of a store, with its variables and its home folder filled in; as it is
    where a variable is not set and a folder is called so.

    Args:
        to_read: what is there under that very name is meant, whether variables are set or not.

    Raises:
        OptionError: a variable that is not set, or a user that is not known; nothing is called so by accident.
    """
    text = str(path)
    home, slash, rest = text.partition("/") if text.startswith("~") else ("", "", text)
    if not home and not _VARIABLE.search(text):
        return text
    known = all(variable(found[1] or found[2]) is not None for found in _VARIABLE.finditer(text))
    if (to_read or not known) and not _ADDRESS.match(text) and _is_there(text):
        return f"./{text}" if home else text
    try:
        # By itself, for a path drops a slash at the end.
        home = str(Path(home).expanduser()) if home else ""
    except RuntimeError as error:
        raise OptionError(f"{text}: there is no user {home[1:]}; write ./{text} if that is its name") from error
    return f"{home}{slash}{_VARIABLE.sub(lambda found: _value(found, text), rest)}"


def _is_there(text: str) -> bool:
    """Whether there is a file or folder that is called as the part of a path up to its last variable."""
    ends = [found.end() for found in _VARIABLE.finditer(text)]
    return Path(text[: text.find("/", max(ends, default=0)) % (len(text) + 1)]).exists()


def _value(found: re.Match[str], text: str) -> str:
    name = found[1] or found[2]
    value = variable(name)
    if value is None:
        raise OptionError(f"{text}: {name} is not set in the environment; set it, or write the path without it")
    return value
