"""What kind of thing an argument is: an address, a text, a number; refused in one line where it is another."""

import operator
import os
from collections.abc import Iterable, Mapping
from typing import Any

from cytotable_dagster.core.errors import OptionError


def address_in(option: str, value: Any) -> str:
    """A path of this machine or an address of a store, as text; also of what is a path by `os.PathLike` alone, and of
    cloudpathlib's paths.

    Raises:
        OptionError: it is another thing, or empty, as a variable that was never set.
    """
    # As a path of this machine, cloudpathlib would give that of a copy that it downloads.
    if hasattr(value, "cloud_prefix"):
        return str(value)
    try:
        text = os.fspath(value)
    except TypeError as error:
        # Results of several outputs are no path, and say so.
        why = str(error) if isinstance(value, os.PathLike) else "give a path, or an address in a store"
        raise OptionError(f"{option}: {value!r} is no address; {why}") from error
    if not isinstance(text, str) or not text or "\0" in text:
        raise OptionError(f"{option}: {value!r} is no address; give a path, or an address in a store")
    return text


def text_in(option: str, value: Any, such: str) -> str:
    """A text.

    Raises:
        OptionError: it is none; `such` is an example.
    """
    if not isinstance(value, str):
        raise OptionError(f"{option}={value!r} is no text; give one, such as {such}")
    return value


def mapping_in(option: str, value: Any, such: str) -> Mapping[str, Any]:
    """A mapping of texts; an empty one where it is None.

    Raises:
        OptionError: it is none; `such` is an example.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise OptionError(f"{option}={value!r}: give a dictionary, such as {such}")
    return value


def number_in(option: str, value: Any, what: str, most: int | None = None) -> int:
    """A whole number from 1, of Python or numpy; `what` it counts.

    Raises:
        OptionError: it is none, or larger than `most`.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    few = f"1 to {most:,}" if most else "1 or more"
    if number < 1 or (most is not None and number > most):
        raise OptionError(f"{option}={value!r} is no number of {what}; give {few}")
    return number


def rows_in(option: str, value: Any) -> list[int] | None:
    """Positions of rows, of Python, numpy or Arrow; None where it is None.

    Raises:
        OptionError: something else is there.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise TypeError
        return [operator.index(row.as_py() if hasattr(row, "as_py") else row) for row in value]
    except TypeError as error:
        raise OptionError(f"{option}: {value!r:.80} is no list of rows; give places, as in [0, 7]") from error


def function_in(option: str, value: Any, called_with: str) -> None:
    """Refuse what is no function; None is none.

    Raises:
        OptionError: it is something else.
    """
    if value is not None and (not callable(value) or isinstance(value, type)):
        raise OptionError(f"{option}={value!r}: give a function that is called with {called_with}")
