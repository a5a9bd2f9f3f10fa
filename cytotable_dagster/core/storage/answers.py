"""What stores answer when they do not answer what was asked, as errors of ours: one line each."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cytotable_dagster.core.errors import (
    CytoTableError,
    DestinationExistsError,
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    UploadError,
)
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.storage.objects import LAST, ConditionsUnknownError, Page, Remote

T = TypeVar("T")

# Pages of a thousand names in one listing, and pages in a row with none in them.
MOST_PAGES, EMPTY_PAGES = 10_000, 100
# Attempts of a request, and the seconds between the first of them, doubled each time.
ATTEMPTS, BETWEEN = 3, 0.5
# HTTP statuses that may pass.
PASSING = (408, 429, 500, 502, 503, 504)
# Characters of a store's own message.
_MOST = 300


@dataclass(frozen=True)
class Remedies:
    """What to do where a store refuses: to read, and to write."""

    to_read: str
    to_write: str


def repeated(request: Callable[[], T], attempts: int | None, may_pass: Callable[[object], bool]) -> T:
    """What a request gives, which is made again while what it gives or raises may pass; `attempts` in all."""
    attempts = attempts or ATTEMPTS
    for attempt in range(1, attempts):
        try:
            answer = request()
            if not may_pass(answer):
                return answer
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(BETWEEN * 2 ** (attempt - 1))
    return request()


def refusal(
    address: str,
    what: str,
    status: int,
    remedies: Remedies,
    *,
    message: object = "",
    writing: bool = False,
    conditional: bool = False,
) -> CytoTableError:
    """The error for an answer of this HTTP status, with `what` the store says, as its clients put it; `conditional`
    where what was asked depends on what is there."""
    said = f"{address}: the store answered {what}"
    if status == 412 and not writing:
        return SourceChangedError(f"{address}: was replaced while it was read; try again")
    if status == 412:
        return DestinationExistsError(
            f"{address}: exists, made meanwhile; pass overwrite=True to replace it, or another dest_path"
        )
    if status == 404:
        return SourceNotFoundError(f"{said}: no such bucket or object; check the address")
    if status in (401, 403):
        return SourceAccessError(f"{said}: access refused; {remedies.to_write if writing else remedies.to_read}")
    failed = ConditionsUnknownError if conditional and status == 501 else UploadError if writing else DownloadError
    return failed(f"{said} ({brief(message)}); try again")


def unreachable(address: str, what: object, *, writing: bool = False) -> CytoTableError:
    """The error for a store that gives no answer."""
    return (UploadError if writing else DownloadError)(
        f"{address}: the store cannot be reached or used ({brief(what)}); check endpoint and network"
    )


def senseless(address: str, what: object, *, writing: bool = False, store: str = "S3") -> CytoTableError:
    """The error for an answer that no store gives."""
    return (UploadError if writing else DownloadError)(
        f"{address}: the store's answer makes no sense ({brief(what)}); check that the endpoint is one of {store}"
    )


def missing(address: str, package: str, extra: str) -> OptionError:
    """The error for a store whose client is not installed."""
    return OptionError(f"{address}: needs {package}, which is not installed: pip install 'cytotable-dagster[{extra}]'")


def brief(what: object) -> str:
    """What a store or its client says, in a line."""
    return one_line(str(what), _MOST)


@dataclass(frozen=True)
class Names:
    """A page as a store gives it: objects, addresses of folders, and what to ask the next one with, if there is one."""

    objects: Sequence[Remote]
    folders: Sequence[str]
    next: str | None


def listed(
    uri: str, prefix: str, after: str, ask: Callable[[str | None], Names], *, store: str, writing: bool = False
) -> Iterator[Page]:
    """The pages of a listing, as `objects.Client` has them, of what begins with `uri`, whose key is `prefix`.

    Raises:
        DownloadError: an entry is not under the prefix; pages do not come in order, or without end.
    """
    bucket = uri.removesuffix(prefix)
    tokens: set[str | None] = {None}
    token, last, empty = None, after, 0
    for _ in range(MOST_PAGES):
        names = ask(token)
        for address in (*(o.uri for o in names.objects), *names.folders):
            if not address.startswith(uri):
                raise senseless(uri, f"it lists {brief(address.removeprefix(bucket))!r} in the wrong way", store=store)
        keys = [*(o.uri for o in names.objects), *(f"{folder}{LAST}" for folder in names.folders)]
        newest = max((key.removeprefix(bucket) for key in keys), default=last)
        empty = 0 if keys else empty + 1
        token = names.next
        again = not token or token in tokens or empty > EMPTY_PAGES
        if token is not None and (again or (keys and newest <= after != "")):
            raise senseless(uri, "its listing goes round in circles", writing=writing, store=store)
        yield Page(tuple(names.objects), tuple(names.folders), newest if token is not None else None)
        if token is None:
            return
        tokens.add(token)
        last = newest
    raise DownloadError(f"{uri}: more than {MOST_PAGES:,}000 objects are there; name a folder further down")
