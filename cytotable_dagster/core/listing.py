"""Files that fit a pattern of addresses, listed a page at a time from where one stopped: a store's, or a folder's.

The folders before `{plate}` are the batches, listed first; what is below each is read in the order of its names, so
that a name is all one has to keep to go on later.
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from cytotable_dagster.core.errors import OptionError, SourceNotFoundError
from cytotable_dagster.core.store import errors_of, is_remote, store

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_PAGE = 1000
# After every name: a folder's name with this is after all that is in it.
_LAST = "\U0010ffff"
# A store that does not answer must not use up the time of a tick: seconds, and attempts.
_CONNECT, _READ, _ATTEMPTS = 5, 15, 2


@dataclass(frozen=True)
class Found:
    """A file: `size` in bytes, `version` changes with its content, `modified` in seconds since 1970 by the store's
    clock, `places` what the placeholders of the pattern stand for."""

    uri: str
    size: int
    version: str
    modified: float
    places: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """Files in the order of their addresses; `after` is where the next page begins, None at the end."""

    found: tuple[Found, ...]
    after: str | None


@dataclass(frozen=True)
class Pattern:
    """Addresses with placeholders; `{plate}` must be among them, and a placeholder fills in no `/`."""

    text: str

    def __post_init__(self) -> None:
        if "{plate}" not in self.text:
            raise OptionError(f"{self.text}: no {{plate}} in it, so that no file tells which plate it is")
        if "/" not in self.text[: self.text.index("{")]:
            raise OptionError(f"{self.text}: a placeholder needs a folder before it")

    @cached_property
    def root(self) -> str:
        """The folder before the first placeholder."""
        return self.text[: self.text.rindex("/", 0, self.text.index("{")) + 1]

    @cached_property
    def batch_levels(self) -> tuple[str, ...]:
        """The folders with or between placeholders, up to the one that names the plate."""
        levels = self.text[len(self.root) :].split("/")
        return tuple(levels[: next(i for i, level in enumerate(levels) if "{plate}" in level)])

    @cached_property
    def below(self) -> str:
        """What comes after the batch: the plate's own folders and file."""
        return "/".join(self.text[len(self.root) :].split("/")[len(self.batch_levels) :])

    def places(self, uri: str) -> dict[str, str] | None:
        """What the placeholders stand for in an address; None where it does not fit."""
        found = self._matcher.fullmatch(uri)
        return found.groupdict() if found else None

    @cached_property
    def _matcher(self) -> re.Pattern[str]:
        return _matcher(self.text)


class Listing(Protocol):
    """`calls` counts the requests made."""

    calls: int

    def batches(self) -> list[str]:
        """Prefixes below which plates are, each ending in `/`."""

    def page(self, batch: str, after: str) -> Page:
        """Files of a batch behind a name."""

    def look(self, uri: str) -> Found | None:
        """One file; None where it is gone."""

    def begins(self, uri: str, length: int) -> bytes:
        """A file's first bytes."""

    def now(self) -> float:
        """Seconds since 1970 by the clock that `modified` is told by."""


@contextmanager
def listing(pattern: Pattern, cloud: Mapping[str, Any]) -> Iterator[Listing]:
    """The listing of a pattern's addresses.

    Raises (it, and all of its methods):
        SourceNotFoundError, SourceAccessError: no such bucket or folder, or access is refused.
        DownloadError: the store fails or cannot be reached, which may pass.
    """
    if not is_remote(pattern.text):
        yield _FolderListing(pattern)
        return
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session()
    impatient = Config(connect_timeout=_CONNECT, read_timeout=_READ, retries={"total_max_attempts": _ATTEMPTS})
    session.set_default_client_config(impatient)
    with store({**cloud, "botocore_session": session}, pattern.root) as client:
        yield _StoreListing(pattern, client.client)  # type: ignore[attr-defined]


@dataclass
class _StoreListing:
    pattern: Pattern
    client: Any
    calls: int = 0
    _ahead: float = field(default=0.0)

    def batches(self) -> list[str]:
        found = [self.pattern.root]
        for level in self.pattern.batch_levels:
            fits = _matcher(level).fullmatch
            found = [f"{parent}{name}/" for parent in found for name in self._folders(parent) if fits(name)]
        return found

    def page(self, batch: str, after: str) -> Page:
        answer = self._list(batch, after, flat="/" not in self.pattern.below)
        found = []
        for entry in answer.get("Contents", []):
            uri = f"s3://{self._bucket}/{entry['Key']}"
            places = self.pattern.places(uri)
            if places is not None:
                found.append(_object(uri, entry["Size"], entry["ETag"], entry["LastModified"], places))
        return Page(tuple(found), self._next(batch, answer) if answer.get("IsTruncated") else None)

    def look(self, uri: str) -> Found | None:
        try:
            answer = self._call("head_object", uri, Key=self._key(uri))
        except SourceNotFoundError:
            return None
        places = self.pattern.places(uri)
        assert places is not None
        return _object(uri, answer["ContentLength"], answer["ETag"], answer["LastModified"], places)

    def begins(self, uri: str, length: int) -> bytes:
        answer = self._call("get_object", uri, Key=self._key(uri), Range=f"bytes=0-{length - 1}")
        with errors_of(uri):
            return bytes(answer["Body"].read(length))

    def now(self) -> float:
        return time.time() + self._ahead

    @property
    def _bucket(self) -> str:
        return self.pattern.root.split("/")[2]

    def _key(self, uri: str) -> str:
        return uri.split("/", 3)[3]

    def _folders(self, parent: str) -> Iterator[str]:
        after = ""
        while True:
            answer = self._list(parent, after, flat=True)
            yield from (entry["Prefix"].rstrip("/").rsplit("/", 1)[-1] for entry in answer.get("CommonPrefixes", []))
            if not answer.get("IsTruncated"):
                return
            after = _last_of(answer)

    def _list(self, prefix: str, after: str, *, flat: bool) -> Any:
        """A page of what is below a prefix; `flat` folds what lies in folders into their names."""
        where = {"Prefix": self._key(prefix), "StartAfter": after, "MaxKeys": _PAGE}
        return self._call("list_objects_v2", prefix, **where, **({"Delimiter": "/"} if flat else {}))

    def _call(self, operation: str, address: str, **arguments: Any) -> Any:
        self.calls += 1
        with errors_of(address):
            answer = getattr(self.client, operation)(Bucket=self._bucket, **arguments)
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if said:
            self._ahead = parsedate_to_datetime(said).timestamp() - time.time()
        return answer

    def _next(self, batch: str, answer: Any) -> str:
        """Where to go on: past the rest of a plate's folder once its file has been seen, which may be thousands."""
        last = _last_of(answer)
        folder, slash, file = self.pattern.below.partition("/")
        start = self._key(batch)
        plate = _matcher(folder).fullmatch(last.removeprefix(start).split("/")[0])
        if not slash or not plate or _PLACEHOLDER.search(file.replace("{plate}", "")):
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
            raise SourceNotFoundError(f"{self.pattern.root}: no such folder; check CYTOTABLE_SOURCE")
        found = [self.pattern.root]
        for level in self.pattern.batch_levels:
            found = [f"{parent}{name}/" for parent in found for name in self._names(parent, level)]
        return found

    def page(self, batch: str, after: str) -> Page:
        first, _, rest = self.pattern.below.partition("/")
        names = [name for name in self._names(batch, first) if name > after]
        here = names[:_PAGE]
        addresses = [f"{batch}{name}" for name in here]
        for level in rest.split("/") if rest else []:
            addresses = [f"{parent}/{name}" for parent in addresses for name in self._names(f"{parent}/", level)]
        found = [file for file in map(self.look, addresses) if file is not None]
        return Page(tuple(found), here[-1] if len(names) > len(here) else None)

    def look(self, uri: str) -> Found | None:
        places = self.pattern.places(uri)
        path = Path(uri).expanduser()
        if places is None or not path.is_file():
            return None
        facts = path.stat()
        return Found(uri, facts.st_size, f"{facts.st_mtime_ns:x}", facts.st_mtime, places)

    def begins(self, uri: str, length: int) -> bytes:
        with Path(uri).expanduser().open("rb") as file:
            return file.read(length)

    def now(self) -> float:
        return time.time()

    def _names(self, folder: str, level: str) -> list[str]:
        """Names in a folder that fit one level of the pattern, sorted; a name without placeholders need not be
        listed."""
        path = Path(folder).expanduser()
        if not _PLACEHOLDER.search(level):
            return [level] if (path / level).exists() else []
        self.calls += 1
        fits = _matcher(level).fullmatch
        return sorted(entry.name for entry in path.iterdir() if fits(entry.name)) if path.is_dir() else []


def _object(uri: str, size: int, etag: str, modified: datetime, places: Mapping[str, str]) -> Found:
    return Found(uri, size, etag.strip('"'), modified.timestamp(), places)


def _last_of(answer: Any) -> str:
    """The last name of a page; where it is a folder's, one behind all that is in it."""
    keys = [entry["Key"] for entry in answer.get("Contents", [])]
    folders = [f"{entry['Prefix']}{_LAST}" for entry in answer.get("CommonPrefixes", [])]
    return max([*keys, *folders])


def _matcher(text: str) -> re.Pattern[str]:
    """What fits a text with placeholders; one that occurs again stands for the same."""
    parts, seen = _PLACEHOLDER.split(text), set()
    expression = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        expression += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
        seen.add(name)
        expression += re.escape(literal)
    return re.compile(expression)
