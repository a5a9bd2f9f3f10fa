"""What of a source is wanted: the tables that the targets name, and columns that were named and are nowhere."""

from collections.abc import Sequence

from cytotable_dagster.core.errors import TargetError
from cytotable_dagster.core.model.presets import PRESETS, Preset
from cytotable_dagster.core.model.types import SourceTable
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.support.suggestions import nearest, there_are

# Columns that are nowhere, in one note.
_NAMED = 5


def columns_nowhere(there: Sequence[SourceTable], preset: Preset) -> tuple[str, ...]:
    """A note of columns that were given as identifying rows, and that no table has; what a preset itself names is not
    told, as few plates have all of it."""
    usual = PRESETS[preset.name].identifying_columns if preset.name in PRESETS else preset.identifying_columns
    given = [name for name in preset.identifying_columns if name not in usual]
    known = {name for table in there for name in table.column_names} if given else set()
    nowhere = [name for name in given if name not in known]
    if not nowhere:
        return ()
    meant = {name: nearest(name, known) for name in nowhere[:_NAMED]}
    told = [f"{name} (did you mean {other}?)" if other else name for name, other in meant.items()]
    more = f" and {len(nowhere) - _NAMED} more" if len(nowhere) > _NAMED else ""
    return (f"identifying_columns: no table has {', '.join(told)}{more}",)


def chosen_tables(
    there: tuple[SourceTable, ...], whole: Sequence[SourceTable], options: Options, where: str
) -> tuple[SourceTable, ...]:
    """Those of a source's tables that the targets name, beside the ones that are taken `whole`.

    Raises:
        TargetError: a target is not there, or is no part of the joined table that is asked for.
    """
    if not whole:
        return _named(there, options.targets, where)
    kinds = {table.compartment for table in whole}
    if options.only_joined:
        raise TargetError(
            f'{where}: {min(kinds)} is no part of a joined table; give a folder as dest_path, join="both" for that too'
        )
    left = [target for target in options.targets or () if target.lower() not in kinds]
    return _named(there, left, where) if left else ()


def _named(found: tuple[SourceTable, ...], targets: Sequence[str] | None, where: str) -> tuple[SourceTable, ...]:
    """The tables that `targets` name, by compartment or table name in any case.

    Raises:
        TargetError: a target is not there; the message lists those that are.
    """
    if targets is None:
        return found
    if not targets:
        raise TargetError(f"{where}: targets= names no table; there are: {', '.join(t.compartment for t in found)}")
    by_name: dict[str, set[SourceTable]] = {}
    for table in found:
        for name in (table.stored, table.compartment):
            by_name.setdefault(name.lower(), set()).add(table)
    for target in targets:
        if target.lower() not in by_name:
            names = [table.compartment for table in found]
            raise TargetError(f"{where}: no table is called {target!r}; {there_are(target, names)}")
    wanted = {table for target in targets for table in by_name[target.lower()]}
    return tuple(table for table in found if table in wanted)
