"""Datasets of many plates, for people and programs: add plates, list them, remove one, give all the same columns.

A dataset is plain Parquet, `<dataset>/<table>/<plate>.parquet`, which DuckDB, polars, pyarrow, pandas, dask and
pycytominer read as one table; see `core.datasets.tables`. One that an earlier version wrote,
`plate=<plate>/part-0.parquet`, is read as it is, and given this layout by whatever changes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.conversion.skipping import STOP, Skipping
from cytotable_dagster.core.datasets.files import table_names
from cytotable_dagster.core.datasets.members import Table, save_index
from cytotable_dagster.core.datasets.tables import (
    column_is_empty,
    fit_plates,
    flatten,
    open_table,
    remove_plate,
    rounding,
)
from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.core.intake.cache import with_fresh_copies
from cytotable_dagster.core.planning.options import KEEP, check_join
from cytotable_dagster.core.planning.unify import UNION, Drift, unified
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import Store, check_keywords
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine

if TYPE_CHECKING:
    from parsl import Config

    from cytotable_dagster.core.model.presets import Preset
    from cytotable_dagster.core.reports.results import ConversionResult
    from cytotable_dagster.core.support.telling import Progress


@errors_of_machine()
def add(
    source_path: str | Path | Iterable[str | Path],
    dataset_path: str | Path,
    *,
    source_datatype: str | None = None,
    preset: "str | Path | Preset | None" = None,
    targets: str | Iterable[str] | None = None,
    metadata: str | Iterable[str] | None = None,
    compartments: str | Iterable[str] | None = None,
    identifying_columns: str | Iterable[str] | None = None,
    join: bool | str = False,
    chunk_size: int | None = None,
    drop_null: bool = False,
    data_type_cast_map: Mapping[str, str] | None = None,
    add_tablenumber: bool | None = None,
    image_features: bool = False,
    names: str | None = None,
    unmatched: str = KEEP,
    schema: str = UNION,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    decimal: str | None = None,
    plate_pattern: str | None = None,
    site_pattern: str | None = None,
    equal_sites: str | None = None,
    overwrite: bool = False,
    strict: bool = False,
    on_error: str = STOP,
    parsl_config: "Config | None" = None,
    progress: "Progress | None" = None,
    dest_cloud: Mapping[str, Any] | None = None,
    **cloud: Any,
) -> "ConversionResult":
    """Convert one plate or several into a dataset, which is made where there is none; arguments are those of `convert`.

    A plate of a name that is there already is replaced, or left alone where it was made of the same source in the same
    way; one that was made of a source elsewhere is refused, as it may be another plate. All are looked through before
    the first is put there. What was put there before an error stays: each plate is whole or not there.

    Args:
        join: whether to add to the joined table, `single_cells`, instead of the compartments' tables;
            `both` adds to them all.
        schema: `union` keeps the columns of every plate; `intersection` those that all have.
        overwrite: replace also what was made of a source elsewhere.

    Raises:
        PlateExistsError: a plate of that name is there, made of a source elsewhere, without `overwrite`.
        SchemaError: a column has different types on two plates; nothing was added.
        CytoTableError: see `cytotable_dagster.core.errors`.
    """
    from cytotable_dagster.core.conversion.adding import convert_to_dataset
    from cytotable_dagster.core.conversion.request import Request, sources_in
    from cytotable_dagster.core.execution.runner import runner
    from cytotable_dagster.core.support.telling import watched

    check_keywords(add, cloud)
    check_join(join)
    request = Request.checked(
        join=join,
        preset=preset,
        source_datatype=source_datatype,
        targets=targets,
        metadata=metadata,
        compartments=compartments,
        identifying_columns=identifying_columns,
        chunk_size=chunk_size,
        drop_null=drop_null,
        data_type_cast_map=data_type_cast_map,
        add_tablenumber=add_tablenumber,
        image_features=image_features,
        names=names,
        unmatched=unmatched,
        schema=schema,
        encoding=encoding,
        delimiter=delimiter,
        decimal=decimal,
        plate_pattern=plate_pattern,
        site_pattern=site_pattern,
        equal_sites=equal_sites,
        strict=strict,
        on_error=on_error,
        progress=progress,
        cloud=cloud,
        dest_cloud=dest_cloud,
    )
    sources, dataset = sources_in(source_path), address_in("dataset_path", dataset_path)

    @with_fresh_copies
    def added() -> "ConversionResult":
        skipping = Skipping(request.on_error)
        plates = request.plates_at(sources, skipping)
        dest = destination_of(dataset, request.dest_store)
        with dest.scratch() as scratch, runner(parsl_config, scratch) as run:
            return convert_to_dataset(plates, dest, request, run, scratch, skipping, overwrite=overwrite)

    with watched(request.progress):
        return added()


@errors_of_machine()
def tables(dataset_path: str | Path, **cloud: Any) -> dict[str, Table]:
    """The tables of a dataset, with the plates in each.

    Raises:
        SourceNotFoundError: there is no dataset.
    """
    check_keywords(tables, cloud)
    dest = _destination(dataset_path, cloud)
    found = {name: open_table(dest, name) for name in table_names(dest)}
    if not found:
        raise SourceNotFoundError(f"{dataset_path}: no dataset (no <table>/<plate>.parquet is in it)")
    return found


@errors_of_machine()
def remove(dataset_path: str | Path, plate: str, **cloud: Any) -> tuple[str, ...]:
    """Remove a plate; the names of the tables it was in.

    Raises:
        SourceNotFoundError: it is in none.
    """
    check_keywords(remove, cloud)
    return remove_plate(_destination(dataset_path, cloud), plate)


@errors_of_machine()
def align(dataset_path: str | Path, *, schema: str = UNION, **cloud: Any) -> tuple[Drift, ...]:
    """Give the files of all plates the same columns, so that readers need not be told that they differ, and what an
    earlier version wrote the layout of this one.

    Files that have them are left alone; others are copied with columns of nulls added (`union`) or with columns left
    out (`intersection`).

    Returns:
        How the plates differed.
    """
    check_keywords(align, cloud)
    tables(dataset_path, **cloud)  # there is one, or nothing is made there
    found = []
    dest = _destination(dataset_path, cloud)
    with dest.writing(file_by_file=True) as claim:
        flatten(dest, claim)
        for table in tables(dataset_path, **cloud).values():
            columns = {plate: member.content.columns for plate, member in table.members.items()}
            drift = unified(table.name, columns, schema, partial(column_is_empty, table))
            claim.check()
            wanted = dict.fromkeys(table.members, drift.columns)
            found.append(replace(drift, rounded=rounding(table, wanted)))
            save_index(fit_plates(table, wanted))
    return tuple(found)


def _destination(dataset_path: str | Path, cloud: Mapping[str, Any]) -> Destination:
    return destination_of(address_in("dataset_path", dataset_path), Store.checked(cloud))
