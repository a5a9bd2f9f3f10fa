"""Paths and addresses as other machines wrote them: Windows, POSIX, `file:`, mixed slashes."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from cytotable_dagster.core.storage.address import is_remote

_DRIVE = re.compile(r"[A-Za-z]:(/|$)")


def plain(text: str) -> str:
    """A path or address with `/` between its parts, without `file:` and without what says nothing (`.`, `//`)."""
    if text[:5].lower() == "file:":
        text = unquote(text[5:])
        # file://host/path names a machine that is gone; file:///C:/x a drive.
        text = "/" + text.lstrip("/") if text.startswith("/") else text
        if _DRIVE.match(text[1:]):
            text = text[1:]
    elif is_remote(text):
        scheme, _, rest = text.partition("://")
        return f"{scheme.lower()}://{'/'.join(part for part in rest.split('/') if part)}" + "/" * rest.endswith("/")
    text = text.replace("\\", "/")
    root = "//" if text.startswith("//") else "/" if text.startswith("/") else ""
    kept = [part for part in text.split("/") if part not in ("", ".")]
    return root + "/".join(kept) + ("/" if text.endswith("/") and kept else "")


def joined(path: str | None, file: str | None) -> str | None:
    """The plain address of a file in a folder; of a file that is an address itself, that."""
    if not file:
        return None
    name = plain(file)
    if not path or is_absolute(name):
        return name
    return f"{plain(path).rstrip('/')}/{name}"


def is_absolute(address: str) -> bool:
    return address.startswith("/") or is_remote(address) or _DRIVE.match(address) is not None


def is_windows(address: str) -> bool:
    """Whether it names a drive or a share of Windows."""
    return _DRIVE.match(address) is not None or address.startswith("//")


def leads_out(address: str) -> bool:
    """Whether a plain path climbs out of a folder somewhere."""
    return ".." in address.split("/")


def folder_and_name(address: str) -> tuple[str, str]:
    folder, _, name = address.rpartition("/")
    return folder, name


def parts_of(folder: str) -> tuple[str, ...]:
    """The names of the folders of a plain path, without what it starts with."""
    rest = folder.partition("://")[2] if is_remote(folder) else folder
    return tuple(part for part in rest.split("/") if part)


def names(plates: Iterable[str], parts: Iterable[str]) -> bool:
    """Whether a plate's name stands in one of these, by itself or with no letter or digit beside it."""
    either = "|".join(re.escape(plate) for plate in plates)
    pattern = re.compile(rf"(?<![A-Za-z0-9])({either})(?![A-Za-z0-9])", re.IGNORECASE)
    return bool(either) and any(pattern.search(part) for part in parts)
