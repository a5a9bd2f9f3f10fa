"""Results of a lake's plates, made of their chunk files: in a folder, or straight into a store."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import DamagedSourceError, DownloadError, SourceAccessError, SourceNotFoundError
from cytotable_dagster.core.lake.chunks import facts_of, forget_old_chunks, holds_rows, missing_chunks
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.coercions import as_facts, in_facts, merged
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.concat import concat_files
from cytotable_dagster.core.parquet.writing import facts_in, footer
from cytotable_dagster.core.planning.plan import Plan, TablePlan
from cytotable_dagster.core.steps.chunk_files import chunk_path
from cytotable_dagster.core.steps.collect import TableFile
from cytotable_dagster.core.steps.join import base_compartment, join_chunk_files, joined_compartments, left_out
from cytotable_dagster.core.support.files import scratch_folder


def whole_compartment(plan: Plan, folder: PlateFolder, compartment: str) -> FileFacts | None:
    """One file of a compartment's chunk files, beside which no others are left; None where it was there already.

    Raises:
        DamagedSourceError: its rows are not those of the source table; nothing is published.
    """
    started = time.perf_counter()
    parts = [folder.chunk(compartment, chunk) for chunk in range(plan.chunk_count)]
    part = plan.part(compartment)
    if _holds(folder, compartment, plan, part.rows, parts):
        forget_old_chunks(plan, folder, compartment)
        return None
    made = [facts_of(path) for path in parts]
    rows = sum(facts.rows for facts in made)
    told = as_facts(merged([coercion for facts in made for coercion in facts.coercions]))
    with folder.create(compartment, parts) as out:
        concat_files(parts, out, footer({**plan.facts(), "compartment": compartment, "rows": str(rows), **told}))
        _check_rows(folder, compartment, rows, part, part.rows)
    forget_old_chunks(plan, folder, compartment)
    return result_facts(folder, compartment, started)


def single_cells(plan: Plan, folder: PlateFolder, run: Callable[[Path], Any]) -> FileFacts | None:
    """The joined table of the chunk files; None where it was there already. `run` opens a runner in a folder.

    Raises:
        SourceNotFoundError: a chunk file is missing or of another plan.
        DamagedSourceError: its rows are not those of the base table; nothing is published.
    """
    compartments = joined_compartments(plan)
    for compartment in compartments:
        for chunk in missing_chunks(plan, folder, compartment):
            raise SourceNotFoundError(
                f"{folder.chunk(compartment, chunk)}: not there, or of another plan; {compartment} has to be made again"
            )
    parts = [folder.chunk(compartment, chunk) for compartment in compartments for chunk in range(plan.chunk_count)]
    base = plan.part(base_compartment(plan))
    wanted = base.rows - left_out(plan)
    if _holds(folder, SINGLE_CELLS, plan, wanted, parts):
        return None
    started = time.perf_counter()
    with scratch_folder(folder.path / SINGLE_CELLS) as scratch, run(scratch) as runner:
        calls = []
        for chunk in range(plan.chunk_count):
            files = {compartment: folder.chunk(compartment, chunk) for compartment in compartments}
            calls.append((join_chunk_files, (plan.folder, chunk, files, chunk_path(scratch / SINGLE_CELLS, chunk))))
        with (
            folder.create(SINGLE_CELLS, parts) as out,
            TableFile(scratch / SINGLE_CELLS, True, out) as table,
            closing(runner.run(calls)) as ended,
        ):
            for _, made in ended:
                table.add([made])
            rows = table.finish({**plan.facts(), "compartment": SINGLE_CELLS}).rows
            _check_rows(folder, SINGLE_CELLS, rows, base, wanted)
    return result_facts(folder, SINGLE_CELLS, started)


def result_facts(folder: PlateFolder, name: str, started: float | None = None) -> FileFacts:
    """Facts of a result that is there, begun at `started` (as of time.perf_counter)."""
    import pyarrow.parquet as pq

    began = time.perf_counter() if started is None else started
    with folder.open(name) as file:
        metadata, size = pq.read_metadata(file), file.size()
    return FileFacts(
        path=folder.result(name),
        rows=metadata.num_rows,
        columns=metadata.num_columns,
        size=size,
        seconds=time.perf_counter() - began,
        coercions=in_facts(facts_in(metadata)),
    )


def result_version(plan: Plan, folder: PlateFolder, name: str) -> str:
    """What tells a result from the one that was there before it: its plan, and when it was written or its ETag."""
    return f"{plan.fingerprint}-{folder.version(name)}"


def _check_rows(folder: PlateFolder, name: str, rows: int, part: TablePlan, wanted: int) -> None:
    if rows != wanted:
        raise DamagedSourceError(
            f"{folder.address(name)}: {rows} rows, where table {part.table.name} gives {wanted}; nothing was published"
        )


def _holds(folder: PlateFolder, name: str, plan: Plan, rows: int, parts: Sequence[Path]) -> bool:
    """Whether a result is there, whole, of this plan and of these chunk files, with so many rows."""
    import pyarrow as pa

    try:
        with folder.open(name) as file:
            current = holds_rows(file, plan, rows)
        return current and folder.is_newer(name, parts)
    except (SourceAccessError, DownloadError):
        raise
    except (OSError, pa.ArrowInvalid):
        return False
