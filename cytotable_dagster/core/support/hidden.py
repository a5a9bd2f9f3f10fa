"""Files that are no part of a plate wherever they lie: hidden ones, such as snapshots, what a file manager has thrown
away and what a Mac puts beside each file, and what its archives hold beside the files."""

import os
from collections.abc import Iterator
from pathlib import Path

_ARCHIVE = "__MACOSX"


def is_hidden(name: str) -> bool:
    """Whether a file is to be passed over, by its path below the folder that is looked through (with `/`)."""
    return any(_is_hidden(level) for level in name.split("/"))


def stands_for_hidden(text: str, address: str) -> bool:
    """Whether something is hidden in an address that is not in the text, a pattern of as many levels."""
    return any(
        is_hidden(level) and not is_hidden(own) for own, level in zip(text.split("/"), address.split("/"), strict=False)
    )


def visible_files(root: Path) -> Iterator[str]:
    """The files in a folder and all below it, as paths below the folder (with `/`), without those that are hidden."""
    start = len(str(root)) + (not str(root).endswith("/"))
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (f"{folder}/{name}"[start:].lstrip("/") for name in names if not is_hidden(name))


def _is_hidden(level: str) -> bool:
    # Levels that lead elsewhere are no names: who meets them in a key refuses it.
    return (level.startswith(".") and level not in (".", "..")) or level == _ARCHIVE
