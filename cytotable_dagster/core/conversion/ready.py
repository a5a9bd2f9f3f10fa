"""A plate that was looked through, on its way to a result of several plates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.errors import CytoTableError, OptionError, SourceChangedError
from cytotable_dagster.core.intake.cache import fetch, kept
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS, Plate, Source
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan, copies_in, fingerprint, hold_plan, load_plan
from cytotable_dagster.core.planning.shapes import Shapes
from cytotable_dagster.core.planning.unify import Columns, columns_of
from cytotable_dagster.core.reports.matches import key_names
from cytotable_dagster.core.sources.reading import reading
from cytotable_dagster.core.sources.state import look_at
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.joined import joined_schema
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.store import Clients

# Whether a plate, given its source and the fingerprint of its conversion, need not be converted.
IsKnown = Callable[[Source, str], bool]


@dataclass(frozen=True)
class Ready:
    """A plate that was looked through. Its plan is in the folder `plan`, for plans of thousands of columns would fill
    the memory, and `kept` where it shares them with others; `columns` are those of its tables, and equal ones one
    object."""

    source: Source
    plan: Path
    table_number: int | None
    columns: Mapping[str, Columns]
    kept: Plan | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.source.plate

    def loaded(self) -> Plan:
        """Its plan, which whoever loads it next finds in memory."""
        if self.kept is None:
            return load_plan(self.plan)
        hold_plan(self.kept)
        return self.kept


def looked_at(
    plate: Plate,
    request: Request,
    folder: Path,
    is_known: IsKnown | None,
    clients: Clients,
    shapes: Shapes,
    pool: Executor | None = None,
) -> Ready | None:
    """Look through a plate, with what tells it from others: its TableNumber and name; None where it need not be
    converted.

    Args:
        folder: where its plan goes.
        clients: of the store that plates are in.
        shapes: of the plates that were looked through before.
        pool: see `make_plan`.
    """
    with kept(plate.uri, request.cache):
        source = fetch(plate, request.cache, request.experiment, clients)
        with reading(source, copies_in(folder)) as readable:
            preset = request.preset_of(readable)
            numbered = request.add_tablenumber is not False
            options = replace(request.options, numbered=numbered, plate_name=plate.name)
            if is_known is not None and is_known(source, fingerprint(source, preset, options)):
                return None
            plan = make_plan(readable, preset, options, folder, pool=pool)
            shared = shapes.kept(plan)
            return Ready(source, plan.folder, plan.number, _columns(shared or plan, request), shared)


@contextmanager
def at_hand(ready: Ready, request: Request) -> Iterator[Source]:
    """The source of a plate, which can be read while the block lasts; it is fetched again only where its copy has gone.

    Raises:
        SourceChangedError: it is not what was looked through.
    """
    there = ready.source
    with kept(there.uri, request.cache):
        if is_remote(there.uri) and _is_as_it_was(there):
            yield there
            return
        found = fetch(Plate(ready.name, there.uri), request.cache, request.experiment)
        # What is fetched anew from a store is another file of the same content.
        touched = found.etag is None and found.state != there.state
        if touched or found.fingerprint != there.fingerprint:
            raise SourceChangedError(f"{there.uri}: has changed since it was looked through; convert again")
        yield found


class Keys:
    """The keys of plates' images, none of which may be another plate's too."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], str] = {}

    def add(self, ready: Ready) -> None:
        """Take a plate's, which can be read.

        Raises:
            OptionError: an image has the key of another plate's.
        """
        plan = ready.loaded()
        compartment = IMAGE if IMAGE in plan.compartments else plan.compartments[0]
        names = key_names(plan, compartment)[: 1 + (plan.preset.table_number is not None)]
        ((table, _),) = read_batches(plan, compartment, [plan.ordered(compartment)], names)
        for key in set(zip(*(table[name].to_pylist() for name in names), strict=True)):
            other = self._seen.setdefault(key, plan.source.plate)
            if other != plan.source.plate:
                raise OptionError(
                    f"plates {other} and {plan.source.plate} both have an image with {_said(names, key)}, which "
                    "add_tablenumber=False would mix up; leave it out, and Metadata_TableNumber tells them apart"
                )


def _said(names: Sequence[str], key: Sequence[object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, key, strict=True))


def _is_as_it_was(source: Source) -> bool:
    try:
        return look_at(source.path).state == source.state
    except CytoTableError:
        return False


def _columns(plan: Plan, request: Request) -> dict[str, Columns]:
    """The columns of each table; of one that a query makes they are known when it is made."""
    if request.joins is not None:
        return {}
    schemas = {SINGLE_CELLS: joined_schema(plan)} if request.joined else {}
    if request.both or not request.joined:
        schemas = {**{name: plan.schema(name) for name in plan.results}, **schemas}
    known: dict[str, Columns] = plan.known.setdefault("columns", {})
    for name, schema in schemas.items():
        if name not in known:
            known[name] = columns_of(schema)
    return {name: known[name] for name in schemas}
