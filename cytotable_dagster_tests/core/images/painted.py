"""Small plates whose image tables name files: where they say the files are, and files elsewhere."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cytotable_dagster_tests.core.plates import JUMP, Table, plate, sites, write_sqlite

CHANNELS = ("OrigDNA", "OrigER")


def content(plate_name: str, name: str) -> bytes:
    """What a file holds, of which nothing but its digest matters."""
    return f"{plate_name} {name}".encode()


def phenix(image: int, channel: int) -> str:
    """A name that repeats on every plate."""
    return f"r01c01f{image:02d}p01-ch{channel}sk1fk1fl1.tiff"


def image_tables(
    name: str = "P1",
    images: int = 2,
    recorded: str = "/mnt/local_input/projects/batch1/images/{plate}/Images",
    file: Callable[[int, int], str] = phenix,
    digests: bool = True,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Table]:
    """A plate of so many images, of two channels each; `more` are columns of the image table with one value."""
    tables = plate(JUMP, sites(*[2] * images))
    table = tables["Image"]
    table.add_column("Metadata_Plate", "TEXT", [name] * images)
    table.add_column("Metadata_Well", "TEXT", ["A01"] * images)
    table.add_column("Metadata_Site", "TEXT", [str(image) for image in range(1, images + 1)])
    for number, channel in enumerate(CHANNELS, start=1):
        names = [file(image, number) for image in range(1, images + 1)]
        table.add_column(f"FileName_{channel}", "TEXT", names)
        table.add_column(f"PathName_{channel}", "TEXT", [recorded.format(plate=name)] * images)
        if digests:
            table.add_column(
                f"MD5Digest_{channel}", "TEXT", [hashlib.md5(content(name, own)).hexdigest() for own in names]
            )
    if not digests:
        table.columns = {name: kind for name, kind in table.columns.items() if "MD5Digest" not in name}
    for column, value in (more or {}).items():
        table.add_column(column, "TEXT", [value] * images)
    return tables


def sqlite(folder: Path, name: str = "P1", **options: Any) -> Path:
    """Such a plate as a SQLite file called after it."""
    path = folder / f"{name}.sqlite"
    path.unlink(missing_ok=True)
    return write_sqlite(path, image_tables(name, **options))


def write_files(folder: Path, name: str = "P1", images: int = 2, file: Callable[[int, int], str] = phenix) -> Path:
    """The files of such a plate."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in range(1, images + 1):
        for number, _ in enumerate(CHANNELS, start=1):
            (folder / file(image, number)).write_bytes(content(name, file(image, number)))
    return folder
