"""Whether the files of images are there, and are those that were measured; each file once, several at a time.

What was found out is noted as it comes, in a file that is not needed any more when all is done: a check that was killed
goes on with what is left.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import md5
from itertools import islice
from pathlib import Path

from cytotable_dagster.core.errors import (
    CytoTableError,
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceNotFoundError,
)
from cytotable_dagster.core.execution.stopping import check_stopped
from cytotable_dagster.core.images.image import MISMATCH, MISSING, PRESENT, VERIFIED, Image
from cytotable_dagster.core.images.search import Search
from cytotable_dagster.core.model.choices import EXISTS, MD5, NONE
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.objects import Client
from cytotable_dagster.core.storage.store import Clients
from cytotable_dagster.core.support.digests import md5_of
from cytotable_dagster.core.support.telling import tell

STEP = "images"

# Requests at once: as many as the client keeps connections for.
_AT_ONCE = 10
_DIGEST = re.compile(r"[0-9a-f]{32}")
# Requests in a row to which a bucket did not answer at all, after which it is asked no more.
_SILENT = 8


@dataclass(frozen=True)
class Found:
    """What is known of a file: size, ETag, MD5; or in `problem` why it is not known, and whether it is simply not
    there. `stamp` is when a local file was written."""

    size: int | None = None
    etag: str | None = None
    md5: str | None = None
    problem: str | None = None
    stamp: int | None = None


def checked(images: Iterable[Image], search: Search, notes: Path) -> list[Image]:
    """Images with the status of their files, as `search.verify` asks for it.

    Args:
        notes: a file of what is found out, that of a check before this one or none.
    """
    images = list(images)
    if search.verify == NONE:
        return [_listed(image) for image in images]
    wanted: dict[str, Image] = {}
    digests: dict[str, str | None] = {}
    for image in images:
        if image.uri is not None and image.status is None:
            wanted.setdefault(image.uri, image)
            digests[image.uri] = digests.get(image.uri) or image.recorded_md5
    with _Asking(search, digests) as asking, _Noted(notes, search.verify) as kept:
        found = {uri: known for uri in wanted if (known := kept.known(uri)) is not None}
        total = len(wanted)
        left = [image for uri, image in wanted.items() if uri not in found]
        tell(STEP, len(found), total)
        for uri, answer in asking.answers(left):
            found[uri] = answer
            kept.note(uri, answer)
            tell(STEP, len(found), total)
    with suppress(FileNotFoundError):
        notes.unlink()
    return [
        _judged(image, found[image.uri]) if image.uri is not None and image.status is None else image
        for image in images
    ]


def _listed(image: Image) -> Image:
    """An image of which nothing is asked: that it is there says a listing, if it came out of one."""
    return image if image.status or image.uri is None or image.size is None else replace(image, status=PRESENT)


def _judged(image: Image, found: Found) -> Image:
    image = replace(image, size=found.size, etag=found.etag, md5=found.md5)
    if found.problem is not None:
        return replace(image, status=MISSING, detail=found.problem)
    if image.recorded_md5 is None or found.md5 is None:
        return replace(image, status=PRESENT)
    if image.recorded_md5 == found.md5:
        return replace(image, status=VERIFIED)
    why = f"{image.uri}: its MD5 is {found.md5}, that of the image measured {image.recorded_md5}"
    return replace(image, status=MISMATCH, detail=f"{why}; it was replaced, or is another image")


class _Asking:
    """Asks file system and stores, several at a time, a bounded number ahead."""

    def __init__(self, search: Search, digests: Mapping[str, str | None]) -> None:
        self._search = search
        self._digests = digests
        self._clients = Clients(search.cache.store)
        self._silent: dict[str, int] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="images")

    def __enter__(self) -> "_Asking":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def answers(self, images: Iterable[Image]) -> Iterator[tuple[str, Found]]:
        rest = iter(images)
        waiting: dict[Future[Found], str] = {}
        while True:
            for image in islice(rest, 4 * _AT_ONCE - len(waiting)):
                assert image.uri is not None
                waiting[self._pool.submit(self._ask, image.uri, image)] = image.uri
            if not waiting:
                return
            check_stopped()
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()

    def _ask(self, uri: str, image: Image) -> Found:
        return self._ask_store(uri, image) if is_remote(uri) else self._look(uri)

    def _look(self, path: str) -> Found:
        """A file of this machine."""
        try:
            facts = Path(path).stat()
            digest = md5_of(Path(path)) if self._search.verify == MD5 else None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return Found(problem=f"{path}: {one_line(reason)}")
        return Found(facts.st_size, None, digest, stamp=facts.st_mtime_ns)

    def _ask_store(self, uri: str, image: Image) -> Found:
        """An object. A listing has told its size and ETag; one that is the digest asked for says all."""
        recorded = self._digests.get(uri)
        if image.etag is not None and (image.etag == recorded or (self._search.verify == EXISTS and not recorded)):
            return Found(image.size, image.etag, image.etag if _DIGEST.fullmatch(image.etag) else None)
        bucket = uri.split("/")[2]
        if self._silent.get(bucket, 0) >= _SILENT:
            return Found(problem=f"{uri}: not asked for, as the store did not answer for {_SILENT} others")
        try:
            client = self._clients.of(uri)
            remote = client.head(uri)
            digest = remote.md5
            if digest is None and self._search.verify == MD5:
                digest = _digest_of(client, uri)
            self._silent[bucket] = 0
            return Found(remote.size, digest or remote.etag, digest)
        except (SourceNotFoundError, SourceAccessError, OptionError) as error:
            return Found(problem=str(error))
        except DownloadError as error:
            self._silent[bucket] = self._silent.get(bucket, 0) + 1
            return Found(problem=str(error))
        except CytoTableError as error:
            return Found(problem=str(error))


def _digest_of(client: Client, uri: str) -> str:
    """The MD5 of an object's content, of which little is held at a time."""
    digest = md5(usedforsecurity=False)
    with client.read(uri) as body:
        for block in body.blocks:
            digest.update(block)
    return digest.hexdigest()


class _Noted:
    """Answers of a check that is under way, a line each."""

    def __init__(self, path: Path, verify: str) -> None:
        self._known: dict[str, Found] = {}
        head = json.dumps({"verify": verify})
        with suppress(OSError, ValueError, TypeError):
            lines = path.read_text(encoding="utf-8").splitlines()
            if lines and lines[0] == head:
                for line in lines[1:]:
                    entry = json.loads(line)
                    uri = entry.pop("uri")
                    self._known[uri] = Found(**entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._file.write(head + "\n")
        for uri, found in self._known.items():
            self.note(uri, found)

    def known(self, uri: str) -> Found | None:
        """What a check that was broken off found of a file, unless the file has changed, or might be there by now."""
        found = self._known.get(uri)
        if found is None or found.problem is not None:
            return None
        if found.stamp is not None:
            with suppress(OSError):
                facts = Path(uri).stat()
                return found if (facts.st_size, facts.st_mtime_ns) == (found.size, found.stamp) else None
            return None
        return found

    def note(self, uri: str, found: Found) -> None:
        self._file.write(json.dumps({"uri": uri, **asdict(found)}) + "\n")
        self._file.flush()

    def __enter__(self) -> "_Noted":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
