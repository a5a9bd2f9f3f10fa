"""What identifies the content of a plate on this machine, be it one file or the CSV files of a folder."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cytotable_dagster.core.csv_files import is_export_file
from cytotable_dagster.core.digests import crc32_of, md5_of
from cytotable_dagster.core.presets import IMAGE


def size_and_stamp(path: Path) -> tuple[int, str]:
    """Bytes, and a text that changes when a file is written to, comes or goes."""
    if not path.is_dir():
        facts = path.stat()
        return facts.st_size, f"{facts.st_size}-{facts.st_mtime_ns}"
    size, digest = 0, hashlib.sha256()
    for name, file in _files(path):
        facts = file.stat()
        size += facts.st_size
        digest.update(f"{name}\n{facts.st_size}-{facts.st_mtime_ns}\n".encode())
    return size, digest.hexdigest()[:32]


def content_md5(path: Path) -> str:
    """The MD5 of a file; of a folder, that of the list of its CSV files as `md5sum` prints it."""
    if not path.is_dir():
        return md5_of(path)
    return md5_of_list((name, md5_of(file)) for name, file in _files(path))


def md5_of_list(files: Iterable[tuple[str, str]]) -> str:
    """The MD5 of what `md5sum` prints of files, given their names and MD5s."""
    return hashlib.md5("".join(f"{md5}  {name}\n" for name, md5 in sorted(files)).encode()).hexdigest()


def content_crc32(path: Path) -> int:
    """What `add_tablenumber` tells plates apart by: the CRC-32 of the file; of a folder, that of its Image.csv, of
    several of them one after the other, or of all its files where it has none."""
    if not path.is_dir():
        return crc32_of(path)
    files = dict(_files(path))
    images = [file for name, file in files.items() if IMAGE.lower() in name.rsplit("/", 1)[-1].lower()]
    number = 0
    for file in images or files.values():
        number = crc32_of(file, number)
    return number


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names if is_export_file(name))
    yield from sorted((path.relative_to(root).as_posix(), path) for path in found)
