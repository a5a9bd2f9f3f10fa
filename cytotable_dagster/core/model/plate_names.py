"""Plates' names as files, folders and partitions are called: what one of those cannot carry is written `%XX`.

`BR 0001`, `BR+0002`, `P(1)` and `Zelle_ü` stay as they are. Names that differ in how Unicode spells them (`ü`, or `u`
and its dots) stay different, on file systems too that take those for one.
"""

import re
from unicodedata import is_normalized, normalize
from urllib.parse import unquote

from cytotable_dagster.core.errors import UnsafeNameError

# What means something to a file system, to patterns of names, to addresses or to Dagster, or is seen by nobody.
_SIGNS = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%#\[\]{},]|\.\.\.|^\.|^ | \Z')
_ESCAPES = {"encoding": "utf-8", "errors": "surrogateescape"}
# Bytes of a name: a file system takes 255, and some go for what lies beside a file while it is made.
_BYTES = 220


def safe_name(plate: str) -> str:
    """What a plate is called where not every name can be.

    Raises:
        UnsafeNameError: nothing can be called so: it is empty, too long, or no text.
    """
    try:
        text = _SIGNS.sub(lambda found: percent(found[0]), plate)
        stable = is_normalized("NFC", text)
        text = "".join(sign if sign.isascii() or (stable and sign.isprintable()) else percent(sign) for sign in text)
    except UnicodeEncodeError as error:
        raise UnsafeNameError(f"{plate!r}: no text, and so no plate's name; give it another name") from error
    return checked_length(text, plate)


def plate_of(name: str) -> str:
    """The plate that `safe_name` gave this name."""
    return unquote(normalize("NFC", name), **_ESCAPES)


def percent(text: str) -> str:
    """Every byte of a text as `%XX`."""
    return "".join(f"%{byte:02X}" for byte in text.encode(**_ESCAPES))


def checked_length(name: str, plate: str) -> str:
    """The name, if a file may have it; raises UnsafeNameError."""
    if not name or len(name.encode()) > _BYTES:
        shown = plate if len(plate) <= _BYTES else f"{plate[:_BYTES]}..."
        raise UnsafeNameError(f"{shown!r}: no plate's name, which has from 1 to {_BYTES} bytes; give it another name")
    return name
