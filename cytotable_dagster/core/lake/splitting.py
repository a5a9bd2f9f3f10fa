"""Chunks of a table that is under way as files of their own, where it cannot become the result as it is: one of its
chunks is made again, or others are to be read."""

import os

from cytotable_dagster.core.lake.chunks import note_beside
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.under_way import chunk_entries, done_chunks
from cytotable_dagster.core.model.types import SINGLE_CELLS
from cytotable_dagster.core.parquet.concat import Concatenation
from cytotable_dagster.core.parquet.writing import footer
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.support.files import whole_file


def split_up(plan: Plan, folder: PlateFolder, name: str) -> None:
    """Let each chunk of a table under way wait in a file of its own, as if it had been written there; nothing else is
    left of the table. A chunk that waits so already is newer, and stays."""
    path, done = folder.under_way(name), done_chunks(plan, folder, name)
    for number, chunk in enumerate(done):
        target = folder.chunk(name, number)
        if target.exists():
            continue
        if name == SINGLE_CELLS:
            note_beside(target).write_text(chunk.part.made)
        with path.open("rb") as table, whole_file(target) as temporary:
            with temporary.open("wb") as out:
                own = Concatenation(out)
                own.append_piece(path, table, chunk.footer, chunk.piece_in_footer)
                own.finish(footer(chunk_entries(plan, name, number, chunk.part)))
            if name != SINGLE_CELLS:
                os.utime(temporary, ns=(written := int(chunk.part.made, 16), written))
    path.unlink(missing_ok=True)
    for number in range(len(done)):
        folder.footer(name, number).unlink(missing_ok=True)
