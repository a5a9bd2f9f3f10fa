"""One file of the cache: downloaded, verified, and known again by the record beside it."""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import DownloadError, SourceChangedError
from cytotable_dagster.core.intake.verify import Verdict, verify
from cytotable_dagster.core.storage.client import Remote, describe, part_sizes
from cytotable_dagster.core.storage.download import download
from cytotable_dagster.core.support.digests import md5_of
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    from cloudpathlib import S3Client

_ATTEMPTS = 3
# What killed processes of earlier versions left behind a file's name: their own temporaries and boto's of these.
_EARLIER = re.compile(r"\.[0-9a-f]{8}\.tmp(\.[0-9A-Za-z]{8})?")


@dataclass(frozen=True)
class Record:
    """What is known of a cached file: its version in the store, and the state of the local copy.

    `unverified` says why it could not be compared with the object, and is empty where it was and is equal; None is of
    an earlier version, which compared only some. `suspect` is the MD5 of a copy that had the same ETag and proved
    damaged: one that has it too is what the store has.
    """

    etag: str
    size: int
    md5: str
    modified: int
    unverified: str | None = None
    suspect: str = ""


def current_record(local: Path, remote: Remote) -> Record | None:
    """The record of a cached copy of this very version; None where it has to be downloaded, or verified."""
    record = _unchanged_record(local, remote)
    return None if record is None or record.unverified is None else record


def _unchanged_record(local: Path, remote: Remote) -> Record | None:
    """The same, verified or not."""
    record = _read_record(local)
    if record is None or (record.etag, record.size) != (remote.etag, remote.size):
        return None
    try:
        facts = local.stat()
    except OSError:
        return None
    if facts.st_size != remote.size or (facts.st_mtime_ns != record.modified and md5_of(local) != record.md5):
        return None
    return record


def download_kept(client: "S3Client", remote: Remote, local: Path) -> Record:
    """Download an object and keep it; again where it was replaced meanwhile, or something else came."""
    for left in local.parent.iterdir():
        if _EARLIER.fullmatch(left.name.removeprefix(f".{local.name}")):
            left.unlink(missing_ok=True)
    if _unchanged_record(local, remote):
        # Kept by an earlier version, which did not verify it.
        verdict = verify(local, describe(client, remote.uri), _part_sizes(client, remote))
        if not verdict.wrong:
            return _recorded(local, remote, verdict)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with whole_file(local) as temporary:
                said = download(client, remote, temporary)
                verdict = verify(temporary, said, _part_sizes(client, remote))
                if verdict.wrong:
                    raise _OtherBytesError(f"{remote.uri}: {verdict.wrong}: not what the store has came; try again")
            return _recorded(local, remote, verdict)
        except (SourceChangedError, _OtherBytesError) as error:
            if attempt == _ATTEMPTS:
                raise DownloadError(str(error)) if isinstance(error, _OtherBytesError) else error from None
            remote = describe(client, remote.uri)
    raise AssertionError("unreachable")


def _part_sizes(client: "S3Client", remote: Remote) -> Callable[[int], Sequence[int]]:
    return lambda parts: part_sizes(client, remote, parts)


def _recorded(local: Path, remote: Remote, verdict: Verdict) -> Record:
    before = _read_record(local)
    suspect = before.suspect if before is not None and before.etag == remote.etag else ""
    unverified = verdict.unverified or ""
    record = Record(remote.etag, remote.size, verdict.md5, local.stat().st_mtime_ns, unverified, suspect)
    _write_record(local, record)
    return record


def dropped(file: Path) -> bool:
    """Remove a cached file that is not what was downloaded, or was never verified; whether it was."""
    record = _read_record(file)
    if record is None or not file.exists():
        return False
    md5 = md5_of(file)
    if md5 == record.md5 and (not record.unverified or md5 == record.suspect):
        return False
    # No file has this size: it is to be downloaded.
    _write_record(file, replace(record, size=-1, suspect=md5 if md5 == record.md5 else ""))
    file.unlink()
    return True


def _read_record(local: Path) -> Record | None:
    with suppress(OSError, ValueError, TypeError):
        return Record(**json.loads(_record_path(local).read_text()))
    return None


def _write_record(local: Path, record: Record) -> None:
    with whole_file(_record_path(local)) as temporary:
        temporary.write_text(json.dumps(asdict(record)))


def _record_path(local: Path) -> Path:
    return local.with_name(f".{local.name}.json")


class _OtherBytesError(DownloadError):
    """What came is not the object."""
