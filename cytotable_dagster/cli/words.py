"""What the converter's messages call by the library's parameters, in the words of the command that was given."""

import argparse
import ast
import shlex
from collections.abc import Sequence
from contextlib import suppress

from cytotable_dagster.core.support.parameters import reworded

# Arguments that parameters have, where none is of their name.
_CALLED = {"data_type_cast_map": ("casts",), "dest_path": ("dataset_path", "out")}
# What no option says: the variables of AWS, and what of the library is its own.
_VARIABLES = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_LIBRARY = ("bbox_column_map", "cache_limit", "dest_backend", "dest_datatype", "dtype", "include_source_images")


def in_shell(message: str, parsers: Sequence[argparse.ArgumentParser]) -> str:
    """A message that names parameters of the library, with options and arguments of commands instead: those of the
    first one that has such."""
    arguments = [{action.dest: action for action in parser._actions} for parser in parsers]

    def action_of(name: str) -> argparse.Action | None:
        called = (name, *_CALLED.get(name, ()))
        return next((some[dest] for some in arguments for dest in called if dest in some), None)

    def word(name: str, value: str) -> str | None:
        if name in _VARIABLES:
            return _VARIABLES[name]
        action = action_of(name)
        if action is not None:
            return _said(action, value)
        return f"{name}= of the library" if name in _LIBRARY else None

    return reworded(message, word)


def _said(action: argparse.Action, value: str) -> str:
    if not action.option_strings:
        return str(action.metavar)
    flag = action.option_strings[0]
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return action.option_strings[-1] if value == "False" and len(action.option_strings) > 1 else flag
    # A switch of one command may be another one's file.
    return f"{flag} {_typed(value)}" if value not in ("", "True") else flag


def _typed(value: str) -> str:
    """A value of Python's as a shell takes it."""
    if value == "...":
        return value
    found = value
    with suppress(ValueError, SyntaxError):
        read = ast.literal_eval(value)
        found = ",".join(map(str, read)) if isinstance(read, list) else str(read)
    return shlex.quote(found)
