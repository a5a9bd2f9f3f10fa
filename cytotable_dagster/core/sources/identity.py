"""What identifies the content of a plate on this machine, be it one file or the files of a folder."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import IMAGE, USUAL
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.sources.csv.names import named_tables
from cytotable_dagster.core.sources.naming import files_below
from cytotable_dagster.core.sources.sqlite.header import log_beside
from cytotable_dagster.core.support.digests import crc32_of, digest_of, digest_of_list


def content_digest(path: Path) -> str:
    """The digest of a file (see `support.digests`); of a folder, or of a SQLite file and the log beside it, that of the
    list of the files."""
    if not path.is_dir():
        log = log_beside(path)
        return digest_of(path) if log is None else digest_of_list((file.name, digest_of(file)) for file in (path, log))
    return digest_of_list((name, digest_of(file)) for name, file in files_below(path))


def known_by_content(source: Source, digest: str) -> Source:
    """A source of this machine that is the same wherever and whenever it lies here with the same content."""
    return replace(source, digest=digest, fingerprint=f"{digest}-{source.size}")


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
