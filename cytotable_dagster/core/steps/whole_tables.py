"""Tables whose rows are no images or objects (see `sources.unconverted`), as one file each."""

from pathlib import Path

from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.planning.plan import load_plan
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.chunk_files import chunk_path, write_chunk

# Values that are decoded and encoded at once.
_BATCH_VALUES = 8_000_000


def write_whole(plan_folder: Path, kind: str, folder: Path) -> tuple[FileFacts, ...]:
    """Convert a table; one file in `folder`, as that of a compartment's first chunk."""
    plan = load_plan(plan_folder)
    rows, schema = plan.ordered(kind), plan.fitted_schema(kind) or plan.schema(kind)
    step = max(_BATCH_VALUES // len(schema), 1)
    batches = [rows[start : start + step].copy() for start in range(0, len(rows), step)]
    facts = {**plan.facts(), "compartment": kind, "chunk": "0"}
    return (write_chunk(chunk_path(folder, 0), schema, read_batches(plan, kind, batches), facts),)
