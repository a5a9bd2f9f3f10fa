"""What killed processes left, in all places that settings name and in destinations that are given: it goes."""

from collections.abc import Sequence
from typing import cast

from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store_destination import StoreDestination, destination_of
from cytotable_dagster.core.storage.store_publication import HIDDEN, claimed_name
from cytotable_dagster.core.support.leftovers import sweep, sweep_below, sweep_temporary
from cytotable_dagster.core.support.publication import begun
from cytotable_dagster.defs.resources import Dataset, Lake, PlateSource, store_to_write


def clean(destinations: Sequence[str]) -> list[str]:
    """Remove what nobody works at any more, and finish or undo publications that were cut off; what was removed.

    Raises:
        CytoTableError: a store cannot be reached, or a destination is being written to.
    """
    source = PlateSource()
    removed = [str(path) for path in sweep_temporary()]
    folder = Lake().of("doctor")
    for place in (source.copies().folder, folder.path.parent):
        removed += [str(path) for path in sweep_below(place)]
    # Objects of a lake appear one by one: nothing of theirs can be half published.
    dataset = Dataset().destination()
    if isinstance(dataset, LocalDestination):
        removed += [str(path) for path in sweep_below(dataset.root)]
    for address in destinations:
        removed += _cleaned(destination_of(address, store_to_write(None)))
    return removed


def _cleaned(place: Destination) -> list[str]:
    if not isinstance(place, LocalDestination):
        return _cleaned_in_store(cast(StoreDestination, place))
    # A destination that is a file, or not there, has what was left beside it.
    root = place.root if place.root.is_dir() else place.root.parent
    removed = sweep(root.parent) if root == place.root else []
    unfinished = begun(root)
    for name in unfinished:
        with LocalDestination(root).writing(name):
            pass
    told = [f"what was left of a publication in {root}, which is finished" for _ in unfinished]
    return [*told, *map(str, [*removed, *sweep_below(root)])]


def _cleaned_in_store(place: StoreDestination) -> list[str]:
    if place.root.endswith(".parquet"):
        place = StoreDestination(place.root.rpartition("/")[0], place.store)
    left = place.there(HIDDEN)
    for name in {claimed_name(key) for key in left}:
        with place.writing(name):
            pass
    return [place.address(name) for name in left]
