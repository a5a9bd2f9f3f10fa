"""Plates that fit a pattern of addresses, listed a page at a time from where one stopped: a store's, or a folder's.

The folders before `{plate}` are the batches, listed first; what is below each is read in the order of its names, so
that a name is all one has to keep to go on later.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cytotable_dagster.core.errors import DownloadError, SourceAccessError, SourceNotFoundError
from cytotable_dagster.core.intake.addresses import FileBelow, Found, Pattern, plate_of_files
from cytotable_dagster.core.sources.naming import kind_of
from cytotable_dagster.core.storage import objects
from cytotable_dagster.core.storage.address import is_remote, place_of
from cytotable_dagster.core.storage.objects import LAST, Client, Patience, Remote, content
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.hidden import is_hidden, visible_files
from cytotable_dagster.core.support.placeholders import template

# Names of a folder of this machine.
_PAGE = 1000
# A store that does not answer must not use up the time of a tick.
_PATIENCE = Patience(attempts=2, seconds=35)


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
def listing(pattern: Pattern, store: Store) -> Iterator[Listing]:
    """The listing of a pattern's addresses.

    Raises (it, and all of its methods):
        OptionError: another store's address.
        SourceNotFoundError, SourceAccessError: no such bucket or folder, or access is refused.
        DownloadError: the store fails or cannot be reached, which may pass.
    """
    if not is_remote(pattern.text):
        yield _FolderListing(pattern)
        return
    yield _StoreListing(pattern, store.client(pattern.root, _PATIENCE))


def look_at(uri: str, store: Store) -> Found | None:
    """The plate at an address, a file or a folder with all below it, of no pattern; None where there is nothing.

    Raises:
        OptionError, SourceAccessError, DownloadError: as `listing` does.
    """
    place = "/".join(uri.split("/", 3)[:3]) if is_remote(uri) else ""
    address = uri if is_remote(uri) else str(Path(uri).expanduser().absolute())
    with listing(_Anywhere(f"{place}/{{plate}}"), store) as source:
        found = None if address.endswith("/") else source.look(address)
        return found or source.look(f"{address.rstrip('/')}/")


@dataclass(frozen=True)
class _Anywhere(Pattern):
    """Of addresses that are known."""

    def places(self, uri: str) -> dict[str, str]:
        return {}


@dataclass
class _StoreListing:
    pattern: Pattern
    client: Client
    calls: int = 0

    def batches(self) -> list[str]:
        found = [self.pattern.root]
        for level in self.pattern.batch_levels:
            found = [f"{parent}{name}/" for parent in found for name in self._folders(parent) if _fits(level, name)]
        return found

    def page(self, batch: str, after: str) -> Page:
        flat = self.pattern.of_folders or "/" not in self.pattern.below
        # A page without names tells no place to go on from.
        page = next(p for p in self._pages(batch, after, flat=flat) if p.objects or p.folders or p.after is None)
        if self.pattern.of_folders:
            return Page((), page.after, _plates_among(self.pattern, [uri.rstrip("/") for uri in page.folders]))
        places = [(remote, self.pattern.places(remote.uri)) for remote in page.objects]
        found = tuple(_object(remote, place) for remote, place in places if place is not None)
        return Page(found, page.after and self._next(batch, page.after))

    def look(self, uri: str) -> Found | None:
        if uri.endswith("/"):
            return plate_of_files(self.pattern, uri, list(self._files(uri)))
        self.calls += 1
        try:
            remote = self.client.head(uri)
        except SourceNotFoundError:
            return None
        places = self.pattern.places(uri)
        assert places is not None
        return _object(remote, places)

    def begins(self, uri: str, length: int) -> bytes:
        self.calls += 1
        return content(self.client, uri, most=length)

    def now(self) -> float:
        return time.time() + self.client.ahead

    def _folders(self, parent: str) -> Iterator[str]:
        for page in self._pages(parent, flat=True):
            yield from (uri.rstrip("/").rsplit("/", 1)[-1] for uri in page.folders)

    def _files(self, folder: str) -> Iterator[FileBelow]:
        for page in self._pages(folder):
            for remote in page.objects:
                name = remote.uri.removeprefix(folder)
                if not name.endswith("/") and not is_hidden(name):
                    yield FileBelow(name, remote.size, remote.etag, _seconds(remote))

    def _pages(self, uri: str, after: str = "", *, flat: bool = False) -> Iterator[objects.Page]:
        for page in self.client.pages(uri, after=after, flat=flat):
            self.calls += 1
            yield page

    def _next(self, batch: str, last: str) -> str:
        """Where to go on: past the rest of a plate's folder once its file has been seen, which may be thousands."""
        start = place_of(batch)[1]
        folder = last.removeprefix(start).split("/")[0]
        file = self._file_in(folder)
        return last if file is None else _past(f"{start}{folder}/", file, last)

    def _file_in(self, folder: str) -> str | None:
        """What the plate's file is called below its folder in a batch; None where that is not known."""
        level, _, file = self.pattern.below.partition("/")
        plate, name = template(level).match(folder), template(file)
        return name.filled(plate) if file and plate is not None and {*name.names} <= {"plate"} else None


def _past(folder: str, file: str, last: str) -> str:
    """The key behind which to go on: behind the folder where its file has been seen, else right before the file."""
    wanted = folder + file
    return f"{folder}{LAST}" if last >= wanted else max(last, wanted[:-1])


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
        return Found(uri, facts.st_size, f"{facts.st_mtime_ns:x}", facts.st_mtime, places, kind=kind_of([uri]))

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
        if not template(level).names:
            return [level] if (path / level).exists() else []
        self.calls += 1
        return sorted(entry.name for entry in path.iterdir() if _fits(level, entry.name)) if path.is_dir() else []


def _fits(level: str, name: str) -> bool:
    """Whether a name fits one level of a pattern; one that is hidden does where it is written there."""
    return template(level).match_visible(name) is not None


def _object(remote: Remote, places: Mapping[str, str]) -> Found:
    return Found(remote.uri, remote.size, remote.etag, _seconds(remote), places, kind=kind_of([remote.uri]))


def _seconds(remote: Remote) -> float:
    if remote.modified is None:
        raise DownloadError(f"{remote.uri}: the store does not say when it was put there; check the endpoint")
    return remote.modified.timestamp()


def _plates_among(pattern: Pattern, addresses: list[str]) -> tuple[str, ...]:
    folders = (pattern.folder_at(address) for address in addresses)
    return tuple(folder for folder in folders if folder is not None)
