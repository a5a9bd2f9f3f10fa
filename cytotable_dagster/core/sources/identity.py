"""What identifies the content of a plate on this machine, be it one file or the files of a folder."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import IMAGE, USUAL
from cytotable_dagster.core.sources.csv.names import named_tables
from cytotable_dagster.core.sources.naming import files_below
from cytotable_dagster.core.sources.sqlite.header import log_beside
from cytotable_dagster.core.support.digests import crc32_of, md5_of


def content_md5(path: Path) -> str:
    """The MD5 of a file; of a folder, or of a SQLite file and the log beside it, that of the list of the files as
    `md5sum` prints it."""
    if not path.is_dir():
        log = log_beside(path)
        return md5_of(path) if log is None else md5_of_list((file.name, md5_of(file)) for file in (path, log))
    return md5_of_list((name, md5_of(file)) for name, file in files_below(path))


def md5_of_list(files: Iterable[tuple[str, str]]) -> str:
    """The MD5 of what `md5sum` prints of files, given their names and MD5s."""
    return hashlib.md5("".join(f"{md5}  {name}\n" for name, md5 in sorted(files)).encode()).hexdigest()


def content_crc32(path: Path) -> int:
    """What `add_tablenumber` tells plates apart by: the CRC-32 of the file (and of the log beside it); of a folder,
    that of its Image.csv, of several of them one after the other, or of all its files where it has none."""
    if not path.is_dir():
        log = log_beside(path)
        return crc32_of(path) if log is None else crc32_of(log, crc32_of(path))
    files = dict(files_below(path))
    images: set[str] = set()
    # Names of files that are no export's, such as IN Carta's, may say anything.
    with suppress(SourceFormatError):
        images = {own[IMAGE] for own in named_tables(files, USUAL, str(path)).values() if IMAGE in own}
    number = 0
    for name, file in files.items():
        if name in images or not images:
            number = crc32_of(file, number)
    return number
