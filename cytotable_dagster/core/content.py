"""What identifies the content of a plate on this machine, be it one file or the files of a folder."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cytotable_dagster.core.csv_files import table_of
from cytotable_dagster.core.digests import crc32_of, md5_of
from cytotable_dagster.core.plate_files import files_below
from cytotable_dagster.core.presets import IMAGE


def size_and_stamp(path: Path) -> tuple[int, str]:
    """Bytes, and a text that changes when a file is written to, comes or goes."""
    if not path.is_dir():
        facts = path.stat()
        return facts.st_size, f"{facts.st_size}-{facts.st_mtime_ns}"
    size, digest = 0, hashlib.sha256()
    for name, file in files_below(path):
        facts = file.stat()
        size += facts.st_size
        digest.update(f"{name}\n{facts.st_size}-{facts.st_mtime_ns}\n".encode())
    return size, digest.hexdigest()[:32]


def content_md5(path: Path) -> str:
    """The MD5 of a file; of a folder, that of the list of its files as `md5sum` prints it."""
    if not path.is_dir():
        return md5_of(path)
    return md5_of_list((name, md5_of(file)) for name, file in files_below(path))


def md5_of_list(files: Iterable[tuple[str, str]]) -> str:
    """The MD5 of what `md5sum` prints of files, given their names and MD5s."""
    return hashlib.md5("".join(f"{md5}  {name}\n" for name, md5 in sorted(files)).encode()).hexdigest()


def content_crc32(path: Path) -> int:
    """What `add_tablenumber` tells plates apart by: the CRC-32 of the file; of a folder, that of its Image.csv, of
    several of them one after the other, or of all its files where it has none."""
    if not path.is_dir():
        return crc32_of(path)
    files = dict(files_below(path))
    images = [file for name, file in files.items() if table_of(name, (IMAGE,))]
    number = 0
    for file in images or files.values():
        number = crc32_of(file, number)
    return number
