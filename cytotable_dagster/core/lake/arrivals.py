"""A lake's files on their way into a dataset: as they are, but where earlier versions left the plate out of rows."""

import json
from dataclasses import replace

from cytotable_dagster.core.datasets.files import content_of
from cytotable_dagster.core.datasets.tables import (
    Arrival,
)
from cytotable_dagster.core.errors import DamagedSourceError, DownloadError, SourceAccessError
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.names import joined_order
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.parquet.refit import Constant, Fill, Renamed
from cytotable_dagster.core.planning.plan import ADDED_PLATE, ADDED_TABLE_NUMBER, OWN_TABLE_NUMBER
from cytotable_dagster.core.storage.destination import Stored


def state_of(stored: Stored) -> str:
    """What tells a lake's file from another of its name."""
    return f"{stored.stamp}-{stored.size}"


def arrival_of(plate: str, folder: PlateFolder, name: str) -> Arrival:
    """A plate's file as it goes into a dataset's table.

    Raises:
        DamagedSourceError: it is not whole, or tells no TableNumber.
        DownloadError, SourceAccessError: the lake cannot be read, which is no fault of the plate.
    """
    import pyarrow as pa

    stored = folder.stored(name)
    try:
        with folder.open(name) as file:
            content = content_of(file)
    except (DownloadError, SourceAccessError):
        raise
    except (OSError, pa.ArrowInvalid) as error:
        raise DamagedSourceError(
            f"{folder.address(name)}: not there or not whole ({error}); convert the plate again"
        ) from error
    if "table_number" not in content.facts:
        raise DamagedSourceError(
            f"{folder.address(name)}: of an earlier version, which tells no TableNumber; convert the plate again"
        )
    found = Arrival(*folder.place_of(name), content, origin=state_of(stored) if stored else "")
    return _told(found, plate, name) if "names_plate" in content.facts else found


def _told(arrival: Arrival, plate: str, name: str) -> Arrival:
    """A file whose footer tells the TableNumber, and the plate where a table of its source `names_plate`, with both in
    its rows."""
    facts = arrival.content.facts
    says = facts["names_plate"] == "yes"
    said = json.loads(facts.get("named_plate", "null")) if says else plate
    fills: dict[str, Fill] = {ADDED_TABLE_NUMBER: Constant(int(facts["table_number"]))}
    columns = dict(arrival.content.columns)
    if ADDED_TABLE_NUMBER in columns:
        columns = {OWN_TABLE_NUMBER if key == ADDED_TABLE_NUMBER else key: kind for key, kind in columns.items()}
        fills[OWN_TABLE_NUMBER] = Renamed(ADDED_TABLE_NUMBER)
    columns = {ADDED_TABLE_NUMBER: "int64", **columns}
    if said is not None and not (says and ADDED_PLATE in columns):
        fills[ADDED_PLATE] = Constant(said)
        columns = {**columns, ADDED_PLATE: "int64" if isinstance(said, int) else "string"}
    names = joined_order(columns) if name == SINGLE_CELLS else list(columns)
    return replace(arrival, fills=fills, fitted=tuple((key, columns[key]) for key in names))
