"""Plates looked through: all of them first, several at once, or each in its turn where copies of all find no room."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from cytotable_dagster.core.conversion.ready import IsKnown, Keys, Ready, at_hand, looked_at
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.intake.cache import fetch, kept
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.shapes import Shapes
from cytotable_dagster.core.planning.unify import Columns
from cytotable_dagster.core.sources.naming import plate_files
from cytotable_dagster.core.storage.address import is_prefix, is_remote
from cytotable_dagster.core.storage.objects import objects_below
from cytotable_dagster.core.storage.store import Clients
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.core.support.telling import Together, tell

# Plates that are looked through at once, each of which has the keys of its rows in memory; and asked for at once.
_AT_ONCE, _ASKED_AT_ONCE = 4, 16
LOOKED_THROUGH = "plates looked through"


def plan_all(
    plates: Sequence[Plate],
    request: Request,
    scratch: Path,
    skipping: Skipping,
    is_known: IsKnown | None = None,
) -> list[Ready]:
    """Look through plates, several at once; errors are told in the order of the plates.

    Args:
        skipping: what becomes of plates that cannot be converted.
        is_known: which plates need not be converted.

    Raises:
        OptionError: two plates have images of one key, and no TableNumber is to be added.
    """
    found: list[Ready] = []
    seen: dict[Columns, Columns] = {}
    known = 0
    together, clients, shapes = Together(), Clients(request.cache.store), Shapes()

    def look(number: int, plate: Plate, pool: Executor) -> Ready | None:
        with together.lent():
            return looked_at(plate, request, _folder(scratch, number), is_known, clients, shapes, pool)

    at_once = min(cores(), _AT_ONCE, len(plates) or 1)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(cores()))
        lookers = ThreadPoolExecutor(at_once)
        stack.callback(lookers.shutdown, cancel_futures=True)
        coming = ((plate, lookers.submit(look, number, plate, pool)) for number, plate in enumerate(plates))
        waiting: deque[tuple[Plate, Future[Ready | None]]] = deque(islice(coming, at_once))
        done = 0
        while waiting:
            plate, future = waiting.popleft()
            with skipping.attempt(plate.name, several=len(plates) > 1):
                ready = future.result()
                if ready is None:
                    known += 1
                else:
                    found.append(_with_shared(ready, seen))
            waiting.extend(islice(coming, 1))
            done += 1
            together.tell(LOOKED_THROUGH, done, len(plates))
    skipping.check(len(found) + known)
    if request.add_tablenumber is False:
        keys = Keys()
        for ready in found:
            with at_hand(ready, request):
                keys.add(ready)
    return found


def in_turn(
    plates: Sequence[Plate],
    request: Request,
    scratch: Path,
    skipping: Skipping,
    is_known: IsKnown | None = None,
) -> Generator[Ready, None, None]:
    """Look through plates, each when it is asked for; its copy stays until the next one is. While a plate is at work,
    the next one is fetched, if the cache has room for both.

    Raises:
        OptionError: as `plan_all`.
    """
    clients = Clients(request.cache.store)
    sizes = _sizes(plates, request.cache, clients)
    keys = Keys() if request.add_tablenumber is False else None
    shapes = Shapes()
    seen: dict[Columns, Columns] = {}
    there = 0
    with ThreadPoolExecutor(1) as fetcher, ExitStack() as held:
        coming: Future[ExitStack] | None = None
        for number, plate in enumerate(plates):
            ready = None
            with ExitStack() as own:
                if coming is not None:
                    own.enter_context(coming.result())
                coming = None
                # Before anything else asks for room; what is wrong with it is told below.
                with suppress(CytoTableError):
                    own.enter_context(kept(plate.uri, request.cache))
                if number + 1 < len(plates) and sizes[number] + sizes[number + 1] <= (request.cache.limit or 0):
                    coming = fetcher.submit(_fetched_ahead, plates[number + 1], request, clients)
                    held.callback(_let_go, coming)
                with skipping.attempt(plate.name, several=len(plates) > 1):
                    looked = looked_at(plate, request, _folder(scratch, number), is_known, clients, shapes)
                    there += 1
                    if looked is not None:
                        ready = _with_shared(looked, seen)
                tell(LOOKED_THROUGH, number + 1, len(plates))
                if ready is not None:
                    if keys is not None:
                        keys.add(ready)
                    yield ready
    skipping.check(there)


def finds_no_room(plates: Sequence[Plate], cache: Cache) -> bool:
    """Whether the cache is too small for copies of all these plates."""
    return cache.limit is not None and sum(_sizes(plates, cache, Clients(cache.store))) > cache.limit


def _sizes(plates: Sequence[Plate], cache: Cache, clients: Clients) -> list[int]:
    """The bytes of each plate in its store; none of one of this machine, or that cannot be had, which is told when it
    is fetched."""

    def size(plate: Plate) -> int:
        if not is_remote(plate.uri):
            return 0
        try:
            client = clients.of(plate.uri)
            if not is_prefix(plate.uri):
                return client.head(plate.uri).size
            there = {remote.uri: remote.size for remote in objects_below(client, plate.uri)}
            return sum(there[uri] for uri in plate_files(there))
        except CytoTableError:
            return 0

    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        return list(threads.map(size, plates))


def _fetched_ahead(plate: Plate, request: Request, clients: Clients) -> ExitStack:
    """Fetch a plate, whose copy stays until what is given is closed; an error is told in the plate's own turn."""
    with ExitStack() as stack:
        with suppress(CytoTableError):
            stack.enter_context(kept(plate.uri, request.cache))
            fetch(plate, request.cache, request.experiment, clients)
        return stack.pop_all()


def _let_go(coming: "Future[ExitStack]") -> None:
    """Close what was fetched ahead, which may have been done already."""
    coming.result().close()


def _with_shared(ready: Ready, seen: dict[Columns, Columns]) -> Ready:
    return replace(ready, columns={name: seen.setdefault(own, own) for name, own in ready.columns.items()})


def _folder(scratch: Path, number: int) -> Path:
    return scratch / "plans" / str(number)
