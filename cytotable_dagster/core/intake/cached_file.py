"""One file of the cache: downloaded, verified, and known again by its record."""

import gc
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import DownloadError, SourceChangedError
from cytotable_dagster.core.intake.cache_records import Record, Records, Writing
from cytotable_dagster.core.intake.verify import Verdict, verify
from cytotable_dagster.core.sources.coming import Ahead, keep, look_ahead
from cytotable_dagster.core.storage.download import RANGE_BYTES, Front, Watch, download, whole
from cytotable_dagster.core.storage.objects import Client, Remote
from cytotable_dagster.core.support.digests import md5_of
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.core.support.telling import Tally

_ATTEMPTS = 3
# What killed processes of earlier versions left: their own temporaries and boto's of these.
_EARLIER = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp(\.[0-9A-Za-z]{8})?")
# What fills a file with an object, and compares it; and what was read of it meanwhile.
Bring = Callable[[Remote, Path], tuple[Verdict, Ahead | None]]


def current_record(local: Path, remote: Remote, records: Records) -> Record | None:
    """The record of a cached copy of this very version; None where it has to be downloaded, or verified."""
    record = _unchanged_record(local, remote, records)
    return None if record is None or record.unverified is None else record


def _unchanged_record(local: Path, remote: Remote, records: Records) -> Record | None:
    """The same, verified or not."""
    record = records.of(local)
    if record is None or (record.etag, record.size) != (remote.etag, remote.size):
        return None
    try:
        facts = local.stat()
    except OSError:
        return None
    if facts.st_size != remote.size or (facts.st_mtime_ns != record.modified and md5_of(local) != record.md5):
        return None
    return record


def left_of(name: str) -> str | None:
    """The file that a killed process of an earlier version meant, by the name of what it left; None for other names."""
    found = _EARLIER.fullmatch(name)
    return found[1] if found else None


def download_kept(
    client: Client,
    remote: Remote,
    local: Path,
    tally: Tally,
    records: Records,
    bring: Bring | None = None,
    writing: Writing = whole_file,
) -> Record:
    """Download an object and keep it; again where it was replaced meanwhile, or something else came.

    Args:
        tally: of the bytes that arrive.
        bring: None is `in_ranges`.
    """
    bring = bring or in_ranges(client, tally)
    if _unchanged_record(local, remote, records):
        # Kept by an earlier version, which did not verify it.
        verdict = verify(lambda: local.open("rb"), client.head(remote.uri), _part_sizes(client, remote))
        if not verdict.wrong:
            return _recorded(local, remote, verdict, records)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with writing(local) as temporary:
                verdict, ahead = bring(remote, temporary)
                if verdict.wrong:
                    tally.add(-remote.size)
                    raise _OtherBytesError(f"{remote.uri}: {verdict.wrong}: not what the store has came; try again")
            if ahead is not None:
                keep(local, ahead)
            return _recorded(local, remote, verdict, records)
        except (SourceChangedError, _OtherBytesError) as error:
            if attempt == _ATTEMPTS:
                raise DownloadError(str(error)) if isinstance(error, _OtherBytesError) else error from None
            remote = client.head(remote.uri)
    raise AssertionError("unreachable")


def in_ranges(client: Client, tally: Tally, at_once: int | None = None) -> Bring:
    """By so many requests at once, or as many as is usual. What takes several is compared, and read, while it comes; of
    what comes in one, the answer tells more than a listing."""

    def bring(remote: Remote, path: Path) -> tuple[Verdict, Ahead | None]:
        sizes = _part_sizes(client, remote)
        if remote.size <= RANGE_BYTES:
            said = download(client, remote, path, tally, at_once)
            return verify(lambda: path.open("rb"), said, sizes), None
        front = Front(path, remote.size)
        with ThreadPoolExecutor(3) as beside:
            verdict = beside.submit(verify, front.opened, remote, sizes)
            ahead = beside.submit(look_ahead, path, front)
            beside.submit(_tidy, front)
            try:
                download(client, remote, path, tally, at_once, front)
            finally:
                front.close()
            # What is wrong with a file is told by who reads it when it is there.
            return verdict.result(), None if ahead.exception() else ahead.result()

    return bring


def _tidy(front: Front) -> None:
    """Collect what making a client left, while bytes are waited for: a tenth of a second, which Python would take amid
    the conversion."""
    with suppress(EOFError):
        front.beyond(0)
        gc.collect()


def in_memory(client: Client, watch: Watch) -> Bring:
    """By one request, and through memory: for thousands of small files, in threads that are watched."""

    def bring(remote: Remote, path: Path) -> tuple[Verdict, None]:
        said, content = whole(client, remote, watch.over)
        watch.arrived(len(content))
        path.write_bytes(content)
        return verify(lambda: io.BytesIO(content), said, _part_sizes(client, remote)), None

    return bring


def _part_sizes(client: Client, remote: Remote) -> Callable[[int], Sequence[int]]:
    return lambda parts: client.part_sizes(remote, parts)


def _recorded(local: Path, remote: Remote, verdict: Verdict, records: Records) -> Record:
    before = records.of(local)
    suspect = before.suspect if before is not None and before.etag == remote.etag else ""
    unverified = verdict.unverified or ""
    record = Record(remote.etag, remote.size, verdict.md5, local.stat().st_mtime_ns, unverified, suspect)
    records.keep(local, record)
    return record


def dropped(file: Path, records: Records) -> bool:
    """Remove a cached file that is not what was downloaded, or was never verified; whether it was."""
    record = records.of(file)
    if record is None or not file.exists():
        return False
    md5 = md5_of(file)
    if md5 == record.md5 and (not record.unverified or md5 == record.suspect):
        return False
    # No file has this size: it is to be downloaded.
    records.keep(file, replace(record, size=-1, suspect=md5 if md5 == record.md5 else ""))
    file.unlink()
    return True


class _OtherBytesError(DownloadError):
    """What came is not the object."""
