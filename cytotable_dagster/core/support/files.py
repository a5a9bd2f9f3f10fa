"""Files that appear under their final name only when they are whole."""

import functools
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cytotable_dagster.core.errors import UnsafeNameError
from cytotable_dagster.core.support.leftovers import owned_file, owned_folder, sweep
from cytotable_dagster.core.support.locks import make_folder
from cytotable_dagster.core.support.machine_errors import full_disk_named

# Bytes of a name: a file system takes 255, and some go for what lies beside a file while it is made.
_NAME_BYTES = 220
# Of a dataclass's field that `as_json` leaves out where it is None: records that were made without it stay equal.
WHERE_GIVEN = MappingProxyType({"where_given": True})
_DRIVE = re.compile(r"[A-Za-z]:")


def inside(folder: Path, name: str, said: str | None = None) -> Path:
    """The path of a name that somebody else chose, in a folder; every such path is made here.

    Args:
        name: with `/` between folders; one of them may be empty, as in `a//b`, but not the first.
        said: what the error calls it.

    Raises:
        UnsafeNameError: it would lie outside (`..`, a leading `/`, a drive), would on another system (a backslash), or
            no file can have it (a NUL, a name of over 220 bytes, nothing but the folder itself).
    """
    parts = name.split("/")
    reason = None
    if not parts[0] or not any(parts) or _DRIVE.match(name):
        reason = "it does not lie in a folder"
    elif {".", ".."} & {*parts} or "\\" in name:
        reason = "it leads out of its folder"
    elif "\0" in name or any(len(part.encode("utf-8", "surrogatepass")) > _NAME_BYTES for part in parts):
        reason = f"no file can have it (a NUL in it, or over {_NAME_BYTES} bytes)"
    if reason:
        shown = said or name
        shown = shown if len(shown) <= _NAME_BYTES else f"{shown[:_NAME_BYTES]}..."
        raise UnsafeNameError(f"{shown!r}: {reason}; give it another name")
    return folder.joinpath(*filter(None, parts))


@contextmanager
def whole_file(path: Path, place: Path | None = None) -> Iterator[Path]:
    """A temporary path beside `path`, or in `place`, a folder of the same file system; what is written there becomes
    `path` when the block ends well, else nothing."""
    with (
        full_disk_named(path),
        needed_folder(path.parent),
        owned_file(place or path.parent, path.name) as temporary,
    ):
        yield temporary
        temporary.replace(path)


@contextmanager
def whole_file_by_way_of(folder: Path, path: Path) -> Iterator[Path]:
    """The same by way of a folder that is somebody's already (see `leftovers.owned_folder`), of the same file system,
    to one that is there: a tenth of the cost, for thousands of files."""
    temporary = folder / secrets.token_hex(8)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A folder for intermediate files on the file system of `beside`, so that a rename ends the work; removed after.

    It lies in `beside` where that is a folder: it may be a mount, or a link to another file system. What killed
    processes left in either place goes.
    """
    place = beside if beside.is_dir() else beside.parent
    sweep(beside, beside.parent)
    with full_disk_named(beside), needed_folder(place), owned_folder(place, beside.name) as folder:
        yield folder


@contextmanager
def needed_folder(path: Path) -> Iterator[None]:
    """A folder that is made where there is none, and goes again where nothing came of it."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    try:
        yield
    finally:
        with suppress(OSError):  # a folder with something in it stays
            for empty in made:
                empty.rmdir()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what goes meanwhile has none."""
    found = (
        [path] if not path.is_dir() else [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    )
    total = 0
    for file in found:
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def as_json(record: object) -> str:
    """A dataclass of plain values, paths and dataclasses as JSON; equal ones as equal text."""
    return json.dumps(record, default=_plain, sort_keys=True, separators=(",", ":"))


def write_packed(path: Path, text: str) -> None:
    """Write a text by zstd, which takes a thirtieth of a plan's room and no more time than all of its bytes would; the
    file appears when it is whole."""
    import pyarrow as pa

    with whole_file(path) as temporary, pa.output_stream(temporary, compression="zstd") as out:
        out.write(text.encode())


def read_packed(path: Path) -> bytes:
    """The text that `write_packed` wrote; FileNotFoundError where there is none.

    Raises:
        ValueError: it is not whole.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        try:
            return bytes(pa.input_stream(file, compression="zstd").read())
        except OSError as error:
            raise ValueError(f"{path}: not as it was written: {error}") from error


def _plain(value: object) -> object:
    # A plan has thousands of columns, whose texts dataclasses.asdict would copy one by one.
    if not is_dataclass(value) or isinstance(value, type):
        return str(value)
    found = _fields(value.__class__)
    own = getattr(value, "__dict__", ())
    if not found.where_given and len(own) == len(found.names):
        return own
    pairs = [(name, getattr(value, name)) for name in found.names]
    return {name: one for name, one in pairs if one is not None or name not in found.where_given}


class _Fields(NamedTuple):
    """A dataclass's fields, and those that are no part of its JSON where they are None."""

    names: tuple[str, ...]
    where_given: frozenset[str]


@functools.cache
def _fields(kind: type) -> _Fields:
    found = fields(kind)
    return _Fields(
        tuple(field.name for field in found),
        frozenset(field.name for field in found if field.metadata.get("where_given")),
    )
