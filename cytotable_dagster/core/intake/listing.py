"""Plates that fit a pattern of addresses, listed a page at a time from where one stopped: a store's, or a folder's.

The folders before `{plate}` are the batches, listed first; what is below each is read in the order of its names, so
that a name is all one has to keep to go on later.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

from cytotable_dagster.core.errors import DownloadError, SourceAccessError, SourceNotFoundError
from cytotable_dagster.core.intake.addresses import FileBelow, Found, Pattern, fits, plate_of_files
from cytotable_dagster.core.storage.client import call, check_page, check_store, client_of, is_remote, remote_of
from cytotable_dagster.core.storage.store_errors import errors_of, senseless
from cytotable_dagster.core.support.hidden import is_hidden, visible_files
from cytotable_dagster.core.support.patience import within
from cytotable_dagster.core.support.placeholders import PLACEHOLDER, matcher

_PAGE = 1000
# After every name: a folder's name with this is after all that is in it.
_LAST = "\U0010ffff"
# A store that does not answer must not use up the time of a tick: attempts, and seconds for an answer.
_ATTEMPTS, _SECONDS = 2, 35
# Pages of one level of folders, or of one plate's files.
_MOST_PAGES = 1000


@dataclass(frozen=True)
class Page:
    """Files in the order of their addresses, or `folders` of plates, not looked into; `after` is where the next page
    begins, None at the end."""

    found: tuple[Found, ...]
    after: str | None
    folders: tuple[str, ...] = ()


class Listing(Protocol):
    """`calls` counts the requests made."""

    calls: int

    def batches(self) -> list[str]:
        """Prefixes below which plates are, each ending in `/`."""

    def page(self, batch: str, after: str) -> Page:
        """Files, or plates' folders, of a batch behind a name."""

    def look(self, uri: str) -> Found | None:
        """One file, or a plate's folder with all below it; None where it is gone."""

    def begins(self, uri: str, length: int) -> bytes:
        """A file's first bytes."""

    def now(self) -> float:
        """Seconds since 1970 by the clock that `modified` is told by."""


@contextmanager
def listing(pattern: Pattern, cloud: Mapping[str, Any]) -> Iterator[Listing]:
    """The listing of a pattern's addresses.

    Raises (it, and all of its methods):
        OptionError: another store's address.
        SourceNotFoundError, SourceAccessError: no such bucket or folder, or access is refused.
        DownloadError: the store fails or cannot be reached, which may pass.
    """
    if not is_remote(pattern.text):
        yield _FolderListing(pattern)
        return
    check_store(pattern.root)
    with errors_of(pattern.root):
        client = client_of(cloud, attempts=_ATTEMPTS).client
    yield _StoreListing(pattern, client)


@dataclass
class _StoreListing:
    pattern: Pattern
    client: Any
    calls: int = 0
    _ahead: float = field(default=0.0)

    def batches(self) -> list[str]:
        found = [self.pattern.root]
        for level in self.pattern.batch_levels:
            found = [f"{parent}{name}/" for parent in found for name in self._folders(parent) if fits(level, name)]
        return found

    def page(self, batch: str, after: str) -> Page:
        if self.pattern.of_folders:
            answer = self._list(batch, after, flat=True)
            addresses = [f"{batch}{name}" for name in _folders_in(answer)]
            following = _last_of(answer) if answer.get("IsTruncated") else None
            return Page((), following, _plates_among(self.pattern, addresses))
        answer = self._list(batch, after, flat="/" not in self.pattern.below)
        found = []
        for entry in answer.get("Contents", []):
            uri = f"s3://{self._bucket}/{entry['Key']}"
            places = self.pattern.places(uri)
            if places is not None:
                found.append(_object(uri, entry["Size"], entry["ETag"], entry["LastModified"], places))
        return Page(tuple(found), self._next(batch, answer) if answer.get("IsTruncated") else None)

    def look(self, uri: str) -> Found | None:
        if uri.endswith("/"):
            return plate_of_files(self.pattern, uri, list(self._files(uri)))
        try:
            answer = self._call("head_object", uri, Key=self._key(uri))
        except SourceNotFoundError:
            return None
        places = self.pattern.places(uri)
        assert places is not None
        remote = remote_of(uri, answer, answer.get("ContentLength"))
        if not isinstance(answer.get("LastModified"), datetime):
            raise senseless(uri, "it has no time of change")
        return _object(uri, remote.size, remote.etag, answer["LastModified"], places)

    def begins(self, uri: str, length: int) -> bytes:
        answer = self._call("get_object", uri, Key=self._key(uri), Range=f"bytes=0-{length - 1}")
        with errors_of(uri):
            try:
                return bytes(within(_SECONDS, lambda: answer["Body"].read(length)))
            except TimeoutError as error:
                raise DownloadError(f"{uri}: the store gave {error}; check endpoint and network") from None

    def now(self) -> float:
        return time.time() + self._ahead

    @property
    def _bucket(self) -> str:
        return self.pattern.root.split("/")[2]

    def _key(self, uri: str) -> str:
        return uri.split("/", 3)[3]

    def _folders(self, parent: str) -> Iterator[str]:
        for answer in self._answers(parent, flat=True):
            yield from _folders_in(answer)

    def _files(self, folder: str) -> Iterator[FileBelow]:
        start = len(self._key(folder))
        for answer in self._answers(folder, flat=False):
            for entry in answer.get("Contents", []):
                if not entry["Key"].endswith("/") and not is_hidden(entry["Key"][start:]):
                    modified = entry["LastModified"].timestamp()
                    yield FileBelow(entry["Key"][start:], entry["Size"], entry["ETag"].strip('"'), modified)

    def _answers(self, prefix: str, *, flat: bool) -> Iterator[Any]:
        """All pages of what is below a prefix."""
        after = ""
        for _ in range(_MOST_PAGES):
            answer = self._list(prefix, after, flat=flat)
            yield answer
            if not answer.get("IsTruncated"):
                return
            after = _last_of(answer)
        raise DownloadError(f"{prefix}: more than {_MOST_PAGES:,},000 names are there, which no plate or batch has")

    def _list(self, prefix: str, after: str, *, flat: bool) -> Any:
        """A page of what is below a prefix; `flat` folds what lies in folders into their names."""
        where = {"Prefix": self._key(prefix), "StartAfter": after, "MaxKeys": _PAGE}
        answer = self._call("list_objects_v2", prefix, **where, **({"Delimiter": "/"} if flat else {}))
        check_page(prefix, self._key(prefix), answer)
        if answer.get("IsTruncated") and not _last_of(answer) > after:
            raise senseless(prefix, "its listing goes round in circles")
        return answer

    def _call(self, operation: str, address: str, **arguments: Any) -> Any:
        self.calls += 1
        answer = call(self.client, operation, address, seconds=_SECONDS, Bucket=self._bucket, **arguments)
        with suppress(ValueError):
            said = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
            self._ahead = said.timestamp() - time.time()
        return answer

    def _next(self, batch: str, answer: Any) -> str:
        """Where to go on: past the rest of a plate's folder once its file has been seen, which may be thousands."""
        last = _last_of(answer)
        folder, slash, file = self.pattern.below.partition("/")
        start = self._key(batch)
        plate = matcher(folder).fullmatch(last.removeprefix(start).split("/")[0])
        if not slash or not plate or PLACEHOLDER.search(file.replace("{plate}", "")):
            return last
        own = f"{start}{last.removeprefix(start).split('/')[0]}/"
        wanted = own + file.replace("{plate}", plate["plate"])
        return f"{own}{_LAST}" if last >= wanted else max(last, wanted[:-1])


@dataclass
class _FolderListing:
    pattern: Pattern
    calls: int = 0

    def batches(self) -> list[str]:
        root = Path(self.pattern.root).expanduser()
        if not root.is_dir():
            raise SourceNotFoundError(f"{self.pattern.root}: no such folder; check the pattern of the sources")
        found = [self.pattern.root]
        for level in self.pattern.batch_levels:
            found = [f"{parent}{name}/" for parent in found for name in self._names(parent, level)]
        return found

    def page(self, batch: str, after: str) -> Page:
        first, _, rest = self.pattern.below.partition("/")
        names = [name for name in self._names(batch, first) if name > after]
        here = names[:_PAGE]
        addresses = [f"{batch}{name}" for name in here]
        following = here[-1] if len(names) > len(here) else None
        if self.pattern.of_folders:
            return Page((), following, _plates_among(self.pattern, addresses))
        for level in rest.split("/") if rest else []:
            addresses = [f"{parent}/{name}" for parent in addresses for name in self._names(f"{parent}/", level)]
        found = [file for file in map(self.look, addresses) if file is not None]
        return Page(tuple(found), following)

    def look(self, uri: str) -> Found | None:
        path = Path(uri).expanduser()
        if uri.endswith("/"):
            return plate_of_files(self.pattern, uri, list(self._files(path)))
        places = self.pattern.places(uri)
        if places is None or not path.is_file():
            return None
        facts = path.stat()
        return Found(uri, facts.st_size, f"{facts.st_mtime_ns:x}", facts.st_mtime, places)

    def begins(self, uri: str, length: int) -> bytes:
        try:
            with Path(uri).expanduser().open("rb") as file:
                return file.read(length)
        except FileNotFoundError as error:
            raise SourceNotFoundError(f"{uri}: it was there and is gone") from error
        except OSError as error:
            raise SourceAccessError(f"{uri}: cannot be read ({error.strerror}); check its permissions") from error

    def now(self) -> float:
        return time.time()

    def _files(self, root: Path) -> Iterator[FileBelow]:
        names = list(visible_files(root))
        self.calls += len({name.rpartition("/")[0] for name in names}) or 1
        for name in names:
            with suppress(FileNotFoundError):
                facts = (root / name).stat()
                yield FileBelow(name, facts.st_size, f"{facts.st_mtime_ns:x}", facts.st_mtime)

    def _names(self, folder: str, level: str) -> list[str]:
        """Names in a folder that fit one level of the pattern, sorted; a name without placeholders need not be
        listed."""
        path = Path(folder).expanduser()
        if not PLACEHOLDER.search(level):
            return [level] if (path / level).exists() else []
        self.calls += 1
        return sorted(entry.name for entry in path.iterdir() if fits(level, entry.name)) if path.is_dir() else []


def _object(uri: str, size: int, etag: str, modified: datetime, places: Mapping[str, str]) -> Found:
    return Found(uri, size, etag.strip('"'), modified.timestamp(), places)


def _last_of(answer: Any) -> str:
    """The last name of a page; where it is a folder's, one behind all that is in it."""
    keys = [entry["Key"] for entry in answer.get("Contents", [])]
    folders = [f"{entry['Prefix']}{_LAST}" for entry in answer.get("CommonPrefixes", [])]
    return max([*keys, *folders], default="")


def _folders_in(answer: Any) -> list[str]:
    return [entry["Prefix"].rstrip("/").rsplit("/", 1)[-1] for entry in answer.get("CommonPrefixes", [])]


def _plates_among(pattern: Pattern, addresses: list[str]) -> tuple[str, ...]:
    folders = (pattern.folder_at(address) for address in addresses)
    return tuple(folder for folder in folders if folder is not None)
