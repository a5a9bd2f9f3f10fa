"""Tables whose rows are no images or objects (see `sources.unconverted`) and that are taken whole: their columns."""

from typing import TYPE_CHECKING

from cytotable_dagster.core.model.column_types import TEXT, ResultColumn, decide_type, text_candidates
from cytotable_dagster.core.model.presets import TABLE_NUMBER, Preset
from cytotable_dagster.core.model.types import SourceTable
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import ADDED_TABLE_NUMBER, TablePlan
from cytotable_dagster.core.planning.text_kinds import text_kinds
from cytotable_dagster.core.sources.protocols import TableReader

if TYPE_CHECKING:
    import numpy as np


def look_through_whole(
    reader: TableReader, table: SourceTable, preset: Preset, options: Options
) -> "tuple[TablePlan, np.ndarray]":
    """The table's part of the plan, and its row numbers.

    Columns keep their names, but for the number of a site's export, which is called as in all other tables. As they
    are no measurements, nothing in them is taken for a number gone wrong: with one text they are text.
    """
    rows, _ = reader.read_keys(())
    profile = reader.profile()
    kinds = text_kinds(reader, text_candidates(table, preset, profile), rows)
    casts = dict(options.casts)
    columns = []
    for column, counts in zip(table.columns, profile, strict=True):
        kind = kinds.get(column.name)
        words = counts[TEXT] and (kind is None or kind.other)
        found = "string" if words else decide_type(column, counts, key=False, kind=kind)
        name = ADDED_TABLE_NUMBER if column.name == TABLE_NUMBER == preset.table_number else column.name
        columns.append(ResultColumn(column.name, name, found, casts.get(found, found)))
    return TablePlan(table, reader.reader, reader.reason, tuple(columns), len(rows)), rows
