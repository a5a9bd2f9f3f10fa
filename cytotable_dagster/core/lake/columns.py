"""The map of columns of a lake's plate, brought up to its results: only tables that changed are looked into."""

import json
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from cytotable_dagster.core.about.columns import FILE, column_map, map_schema, put_columns
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.support.arrays import no_rows
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

# The map among the records of what results were made of; no table's name has a slash or a leading dot.
_MAP = ".columns"


def update_columns(plan: Plan, folder: PlateFolder, place: Destination, whole: Collection[str]) -> None:
    """Map the columns of a plate's results.

    Args:
        place: where the plate's results are.
        whole: the results that are of this plan; others stay in the map where they are as they were mapped, and are
            not looked into.
    """
    import pyarrow as pa

    kept, versions = _kept(folder, place)
    there = {name: folder.version(name) for name in (*plan.results, SINGLE_CELLS) if folder.stored(name) is not None}
    changed = {name for name in whole if name in there and versions.get(name) != there[name]}
    current = {name: version for name, version in there.items() if name in changed or versions.get(name) == version}
    if not changed and set(versions) == set(current):
        return
    made = column_map(plan, {name: [partial(folder.open, name)] for name in current if name in changed})
    of_table = {name: _part(made if name in changed else kept, name) for name in current}
    facts = {**plan.facts(), "tables": json.dumps(dict.fromkeys(current, plan.fingerprint))}
    put_columns(pa.concat_tables([no_rows(map_schema()), *of_table.values()]), facts, place)
    _record(folder, place, current)


def _part(whole: "pa.Table", table: str) -> "pa.Table":
    """The rows of one table, which lie one behind the other. Filters import pandas."""
    names = whole["table"].to_pylist()
    return whole.slice(names.index(table), names.count(table))


def _kept(folder: PlateFolder, place: Destination) -> "tuple[pa.Table, dict[str, str]]":
    """The map that is there, and the versions of the tables that it was made of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(OSError, pa.ArrowInvalid, ValueError, LookupError, TypeError):
        record = json.loads(folder.record(_MAP).read_text())
        stored = place.find(FILE)
        if stored is not None and stored.stamp == record["stamp"]:
            with closing(place.open(FILE)) as file:
                # `read_table` imports pandas.
                table = pq.ParquetFile(file).read().replace_schema_metadata()
            if table.schema.equals(map_schema()):
                return table, dict(record["versions"])
    return no_rows(map_schema()), {}


def _record(folder: PlateFolder, place: Destination, versions: Mapping[str, str]) -> None:
    """Write down, beside the map, what it was made of: its own bytes tell nothing of when tables were written."""
    stored = place.find(FILE)
    if stored is not None:
        with whole_file(folder.record(_MAP)) as temporary:
            temporary.write_text(json.dumps({"stamp": stored.stamp, "versions": versions}))
