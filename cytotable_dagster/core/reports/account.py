"""The account of a conversion, from its plan and the facts of what it wrote; of the source only keys and the few
columns of the image table that count objects are read again."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.column_types import RESULT_TYPES
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts, Source
from cytotable_dagster.core.planning.plan import Plan, TablePlan
from cytotable_dagster.core.reports.matches import example_of, first_key, key_names, matches
from cytotable_dagster.core.reports.records import (
    CompartmentReport,
    ConversionReport,
    Found,
    ImageCount,
    Widened,
)
from cytotable_dagster.core.steps.batches import read_batches
from cytotable_dagster.core.steps.joined import joined_columns, left_out
from cytotable_dagster.core.support.arrays import to_numpy, valid_mask

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_FILE = "report.json"


def planned_report(plan: Plan) -> ConversionReport:
    """What is known before anything is written: all but the coercions and the rows written."""
    images = _image_table(plan)
    return ConversionReport(
        plate=plan.source.plate,
        source=plan.source.uri,
        preset=plan.preset.name,
        version=plan.version,
        images=plan.images,
        base=plan.base,
        joined=plan.options.joined,
        compartments=(
            *(_compartment(plan, part, images) for part in plan.tables),
            *(_compartment(plan, part, None) for part in plan.others),
        ),
        unconverted=plan.unconverted,
        matches=matches(plan) if plan.base else (),
        unjoined=plan.unjoined,
        without_cells=_without_cells(plan, images),
        image_counts=_image_counts(plan, images) if images is not None else (),
        joined_rows=None,
        dropped_rows=0,
        skipped=plan.skipped,
        notes=(*_unverified(plan.source), *plan.notes),
        skipped_rows=plan.skipped_rows,
        unmatched_rows=left_out(plan) if plan.options.joined else 0,
    )


def keep_report(report: ConversionReport, folder: Path) -> None:
    """Keep a plan's report beside it, for steps that have the plan but no longer the source."""
    report.write(folder / _FILE)


def kept_report(folder: Path) -> ConversionReport:
    """The report that `keep_report` kept; FileNotFoundError where there is none."""
    from pydantic import TypeAdapter

    return TypeAdapter(ConversionReport).validate_json((folder / _FILE).read_bytes())


def finished_report(
    plan: Plan, report: ConversionReport, made: Mapping[str, FileFacts], *, by_query: bool = False
) -> ConversionReport:
    """The report with what was written.

    Args:
        made: what was written of each table.
        by_query: whether the joined table is what the user's own query gave.
    """
    joined = made.get(SINGLE_CELLS)
    # What is read for a compartment and the joined table is counted once.
    read = [facts for name, facts in made.items() if name != SINGLE_CELLS] or made.values()
    coercions = [coercion for facts in read for coercion in facts.coercions]
    parts = tuple(
        replace(
            part,
            rows_written=made[part.compartment].rows if part.compartment in made else None,
            coercions=tuple(coercion for coercion in coercions if coercion.table == part.table),
        )
        for part in report.compartments
    )
    if joined is None:
        return replace(report, compartments=parts)
    if by_query:
        return replace(report, compartments=parts, query_problems=_images_mixed(plan, joined.rows))
    base_rows = next((part.rows_read for part in parts if part.compartment == report.base), 0)
    dropped = base_rows - report.unmatched_rows - joined.rows
    return replace(report, compartments=parts, joined_rows=joined.rows, dropped_rows=dropped)


def _images_mixed(plan: Plan, rows: int) -> tuple[str, ...]:
    """What a query that gave so many rows did wrong, if it met images by ImageNumber where several have the same."""
    most = max(part.rows for part in plan.tables)
    if rows <= most or plan.preset.table_number is None:
        return ()
    compartment = IMAGE if IMAGE in plan.compartments else plan.compartments[0]
    number, image = key_names(plan, compartment)[:2]
    ((table, _),) = read_batches(plan, compartment, [plan.ordered(compartment)], [number, image])
    keys = set(zip(table[number].to_pylist(), table[image].to_pylist(), strict=True))
    if len({image_number for _, image_number in keys}) == len(keys):
        return ()
    return (
        f"joins: the query gives {rows:,} rows, where no table has more than {most:,}: images of other exports have "
        f"the same ImageNumber; let it join by {number} as well",
    )


def _unverified(source: Source) -> tuple[str, ...]:
    if not source.unverified:
        return ()
    return (f"{source.uri}: unverified, only its length is known to be the store's: {source.unverified}",)


def _compartment(plan: Plan, part: TablePlan, images: "pa.Table | None") -> CompartmentReport:
    name = part.table.compartment
    own = [column for column in part.columns if not column.beside]
    return CompartmentReport(
        compartment=name,
        table=part.table.name,
        rows_read=part.rows,
        rows_written=None,
        without_image=_without_image(plan, name) if images is not None and name != IMAGE else None,
        images_without=_images_without(plan, name, images) if images is not None and name != IMAGE else None,
        coercions=(),
        added=_added(plan, name),
        dropped=_dropped(plan, part),
        widened=tuple(
            Widened(column.name, column.source, source.declared, column.type)
            for source, column in zip(part.table.columns, own, strict=True)
            if column.read_type != RESULT_TYPES.get(source.affinity, column.read_type)
        ),
    )


def _image_table(plan: Plan) -> "pa.Table | None":
    """Keys and counts of the image table's rows, in order; None where the plan has no image table."""
    if IMAGE not in plan.compartments:
        return None
    wanted = {*key_names(plan, IMAGE), *map(_count_column, plan.compartments)}
    names = [column.name for column in plan.part(IMAGE).columns if column.name in wanted]
    return next(read_batches(plan, IMAGE, [plan.ordered(IMAGE)], names))[0]


def _count_column(compartment: str) -> str:
    return f"{IMAGE}_Count_{compartment}"


def _without_image(plan: Plan, compartment: str) -> Found:
    import numpy as np

    lacking = np.repeat(plan.counts(IMAGE) == 0, plan.counts(compartment))
    return example_of(plan, compartment, np.flatnonzero(lacking))


def _images_without(plan: Plan, compartment: str, images: "pa.Table") -> Found:
    return _images_where(plan, images, plan.counts(compartment)[plan.counts(IMAGE) > 0] == 0)


def _without_cells(plan: Plan, images: "pa.Table | None") -> Found:
    import numpy as np

    counted = "Cells" if "Cells" in plan.compartments else plan.base
    if counted is None:
        return Found()
    empty = plan.counts(counted) == 0
    if images is None:
        return Found(int(empty.sum()))
    named = _images_where(plan, images, empty[plan.counts(IMAGE) > 0])
    return replace(named, count=int(np.count_nonzero(empty)))


def _images_where(plan: Plan, images: "pa.Table", holds: "np.ndarray") -> Found:
    """Rows of the image table for which something holds; `holds` is a bool for each."""
    import numpy as np

    found = np.flatnonzero(holds)
    return Found(len(found), first_key(plan, IMAGE, images.slice(int(found[0]), 1))) if len(found) else Found()


def _image_counts(plan: Plan, images: "pa.Table") -> tuple[ImageCount, ...]:
    """The counts of the image table that are numbers, against the rows of their compartments."""
    import numpy as np
    import pyarrow as pa

    found = []
    for compartment in plan.compartments:
        column = _count_column(compartment)
        if column not in images.column_names or not (
            pa.types.is_integer(images[column].type) or pa.types.is_floating(images[column].type)
        ):
            continue
        counts = images[column].combine_chunks()
        said = to_numpy(counts)
        rows = plan.counts(compartment)[plan.counts(IMAGE) > 0]
        known = valid_mask(counts) & np.isfinite(said)
        found.append(
            ImageCount(
                column=column,
                compartment=compartment,
                images=int(known.sum()),
                # Counts may be any numbers, and their sum more than a machine's numbers hold.
                said=int(sum(map(Fraction, said[known].tolist()))),
                rows=int(rows[known].sum()),
                differing=_images_where(plan, images, known & (said != rows)),
            )
        )
    return tuple(found)


def _added(plan: Plan, compartment: str) -> tuple[str, ...]:
    if plan.options.only_joined and compartment != plan.base:
        return ()
    part = plan.part(compartment)
    told = part.told
    own = (column.name for column in part.columns if column.beside or column.source in told)
    return (*plan.added_to(compartment), *own)


def _dropped(plan: Plan, part: TablePlan) -> tuple[str, ...]:
    """Source columns that are not in the joined table; an image's key there is the base's."""
    if not plan.options.only_joined or plan.base is None:
        return ()
    name = part.table.compartment
    joined = {column.column for column in joined_columns(plan) if column.compartment == name}
    used = {
        *plan.preset.keys_of(IMAGE),
        *part.told,
        *(column.source for column in part.columns if column.name in joined),
    }
    return tuple(column.source for column in part.columns if not column.beside and column.source not in used)
