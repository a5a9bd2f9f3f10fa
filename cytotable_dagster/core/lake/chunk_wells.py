"""Which wells the images of a plate's chunks are of, read once and kept beside the plan."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.names import WELL_NAMES
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.support.file_values import FILE_VALUES
from cytotable_dagster.core.support.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "wells.json"
# Plates whose wells are kept in memory, as each of their chunks asks for them.
_KEPT = 4


def keep_chunk_wells(plan: Plan) -> None:
    """Read and keep them; the source is open for it."""
    path = plan.folder / _FILE
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(_wells(plan)))


def wells_of_chunk(plan: Plan, chunk: int) -> Sequence[str]:
    """The wells that a chunk has images of, in the order of its images; none where no image table names wells.

    Raises:
        FileNotFoundError: they were not kept.
    """
    wells: list[list[str]] = FILE_VALUES.get(plan.folder / _FILE, _load, _KEPT)
    return wells[chunk] if wells else ()


def _load(path: "Path") -> list[list[str]]:
    found: list[list[str]] = json.loads(path.read_text())
    return found


def _wells(plan: Plan) -> list[list[str]]:
    """Of each chunk; empty where no image table names any."""
    import numpy as np

    names = plan.schema(IMAGE).names if IMAGE in plan.compartments else ()
    name = next((name for name in WELL_NAMES if name in names), None)
    if name is None:
        return []
    none = np.empty(0, np.int64)
    rows = [np.concatenate([none, *plan.rows(IMAGE, chunk)]) for chunk in range(plan.chunk_count)]
    tables = read_batches(plan, IMAGE, rows, [name])
    return [[str(well) for well in table.column(0).unique().to_pylist() if well is not None] for table, _ in tables]
