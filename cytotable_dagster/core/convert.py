"""The whole way from plates to Parquet files, as one function."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

# Every conversion needs these, so they come with the function and not while it runs.
import numpy.ma  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

from cytotable_dagster.core.cache import fetched, with_fresh_copies
from cytotable_dagster.core.columns import CYTOTABLE_NAMES, DEFAULT_NAMES
from cytotable_dagster.core.compiled import load_kept
from cytotable_dagster.core.content import content_crc32, content_md5
from cytotable_dagster.core.destination import Claim, Destination, LocalDestination
from cytotable_dagster.core.discover import find_plates
from cytotable_dagster.core.drift import UNION
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.executors import runner
from cytotable_dagster.core.machine_errors import errors_of_machine
from cytotable_dagster.core.many_plates import Request, silent
from cytotable_dagster.core.merging import convert_to_dataset, convert_to_files
from cytotable_dagster.core.plan import KEEP, Options, Plan, copies_in
from cytotable_dagster.core.planning import make_plan, resolved_preset, wanted_datatype
from cytotable_dagster.core.presets import DEFAULT, Preset
from cytotable_dagster.core.publication import exists_already
from cytotable_dagster.core.report import ConversionResult, PlatesResult
from cytotable_dagster.core.reporting import finished_report, planned_report
from cytotable_dagster.core.source_state import check_unchanged, unless_changed
from cytotable_dagster.core.sqlite_copy import settled
from cytotable_dagster.core.store import checked_cloud_options, is_remote, options_to_write
from cytotable_dagster.core.store_destination import destination_of
from cytotable_dagster.core.types import Plate
from cytotable_dagster.core.work import SINGLE_CELLS, Progress, Work

if TYPE_CHECKING:
    from parsl import Config

load_kept()


@errors_of_machine()
@with_fresh_copies
def convert(
    source_path: str | Path | Sequence[str | Path],
    dest_path: str | Path,
    dest_datatype: str = "parquet",
    source_datatype: str | None = None,
    preset: str | Preset | None = None,
    targets: Iterable[str] | None = None,
    metadata: Iterable[str] | None = None,
    compartments: Iterable[str] | None = None,
    identifying_columns: Iterable[str] | None = None,
    concat: bool = True,
    join: bool | None = None,
    joins: str | None = None,
    chunk_size: int | None = None,
    drop_null: bool = False,
    data_type_cast_map: Mapping[str, str] | None = None,
    add_tablenumber: bool | None = None,
    sort_output: bool = True,
    overwrite: bool = False,
    parsl_config: "Config | None" = None,
    *,
    image_features: bool = False,
    names: str | None = None,
    unmatched: str = KEEP,
    schema: str = UNION,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    decimal: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    dest_cloud: Mapping[str, Any] | None = None,
    **cloud: Any,
) -> ConversionResult | PlatesResult:
    """Convert a plate, or several, to Parquet: one file for each compartment, or the joined single cells.

    Args:
        source_path: a SQLite file, a folder or prefix that holds one or several, or a folder of CSV or NPZ files; local
            or `s3://`; a pattern such as `plates/BR*`; or a list of these. Several plates become one table, streamed
            plate by plate, with `Metadata_TableNumber` (and `Metadata_Plate`, where the source has none).
        dest_path: a folder for `Image.parquet`, `Cells.parquet`, ...; or a name that ends in `.parquet` for the
            joined single cells; local or `s3://`, where results appear only when all of them are whole.
        dest_datatype: `parquet`.
        source_datatype: `sqlite`, `csv` or `npz`; None takes what the preset is for, or what is there.
        preset: a preset, its name, or the path of a `.toml` file (`docs/presets.md`); None detects the dialect.
        targets: the tables wanted (`["cells", "Nuclei"]`, in any case); None is all of them.
        metadata: the tables that describe images; an empty list leaves the image table out.
        compartments: the object tables, instead of the preset's.
        identifying_columns: source columns that become `Metadata_...`, instead of the preset's.
        concat: False leaves each result as a folder of chunk files, to be read as one dataset; of several plates, as
            a dataset with a file for each plate (see `datasets.add`).
        join: whether the result is the joined table; None infers it from `dest_path`.
        joins: a DuckDB query over `'cells.parquet'` and so on, instead of the preset's join.
        chunk_size: objects that a chunk aims at (an image is never divided); None chooses by width.
        drop_null: leave out joined rows in which any column is null.
        data_type_cast_map: types to write, as in `{"float": "float32", "integer": "int32"}`.
        add_tablenumber: True adds the CRC-32 of the source file as `Metadata_TableNumber`; None does where there are
            several plates.
        sort_output: rows are always in key order; False merely does not ask for it.
        overwrite: replace results that exist.
        parsl_config: where the work runs; None is threads of this machine, or the Parsl kernel that is loaded.
        image_features: put all columns of the image table into the joined table, not only those that name images.
        names: `cytotable` gives the names that CytoTable gives; None is `default`, by which all that is no measurement
            starts with `Metadata_`, or `cytotable` where there is a query, which is in those names.
        unmatched: `drop` leaves out joined rows that lack one of the objects that belong together (a cytoplasm without
            nucleus); `keep` has nulls there.
        schema: of several plates whose columns differ: their `union`, null where a plate lacks one, or `intersection`.
        encoding: of CSV files, such as `latin-1`.
        delimiter: what separates their fields, `;` or `tab`; None takes what each file shows.
        decimal: what stands before their decimals, `,` or `.`; None takes what each file shows.
        strict: make an error of every value that does not fit its column's type and of everything that contradicts
            another (see `ConversionReport.mismatches`), before anything is published.
        progress: called with (step, done, total) as work proceeds.
        dest_cloud: options of the S3 client for `dest_path`; None takes those of the source, but always signs.
        cloud: what the S3 client takes: `local_cache_dir`, `no_sign_request`, `endpoint_url`, `profile_name`, ...

    Returns:
        The files written, and a `report` of what was read, written and did not fit; prints as tables, and is a path
        where there is one local output.

    Raises:
        CytoTableError: see `cytotable_dagster.errors`; nothing is left behind half-written.
        TypeError: an argument that neither this function nor the cloud client knows.
    """
    started = time.perf_counter()
    cloud = checked_cloud_options(cloud)
    targets = _names(targets)
    joined = _is_joined(dest_path, join, joins)
    if joins is not None and unmatched != KEEP:
        raise OptionError("unmatched= is for the preset's join, and joins= was given; leave out rows in the query")
    place_cloud = options_to_write(dest_cloud, cloud)
    place, single = _destination(dest_path, dest_datatype, joined, place_cloud)
    options = Options.checked(
        data_type_cast_map,
        joined=joined and joins is None,
        one_file=concat,
        chunk_size=_checked_chunk_size(chunk_size),
        targets=targets,
        drop_null=drop_null,
        image_features=image_features,
        names=names or (DEFAULT_NAMES if joins is None else CYTOTABLE_NAMES),
        unmatched=unmatched,
        encoding=encoding,
        delimiter=delimiter,
        decimal=decimal,
    )
    datatype = wanted_datatype(preset, source_datatype)
    adjusted: dict[str, Any] = {
        "datatype": datatype,
        "format": options.format,
        "metadata": metadata,
        "compartments": compartments,
        "identifying_columns": identifying_columns,
    }
    request = Request(
        options=options,
        joined=joined,
        joins=joins,
        preset=preset,
        adjusted=adjusted,
        add_tablenumber=add_tablenumber,
        schema=schema,
        strict=strict,
        cloud=cloud,
        progress=progress or silent,
    )
    # What is there is looked at before anything is downloaded; what a plate really has is known only later.
    usual = [single] if joined else _usual_outputs(targets, concat)
    plates = find_plates(source_path, datatype, cloud)
    if len(plates) > 1 and not concat:
        _check_free(place, usual, overwrite)
        dataset = destination_of(dest_path, place_cloud)
        with dataset.scratch() as scratch, runner(parsl_config, scratch) as run:
            return convert_to_dataset(plates, dataset, request, run, scratch)
    with place.writing(single if joined else "") as claim:
        _check_free(place, usual, overwrite)
        if len(plates) == 1:
            target = _Target(place, claim, single, concat, overwrite)
            return _convert_plate(plates[0], request, target, parsl_config, started)
        with (
            place.scratch() as scratch,
            runner(parsl_config, scratch) as run,
            place.together(scratch, claim, overwrite=overwrite) as results,
        ):
            called = (lambda table: single) if joined else (lambda table: f"{table}.parquet")
            return convert_to_files(plates, called, place, results, request, run, scratch)


@dataclass(frozen=True)
class _Target:
    """Where one plate's results go: the joined table as `single`, tables as files or as folders of chunk files."""

    place: Destination
    claim: Claim
    single: str
    concat: bool
    overwrite: bool

    def names(self, plan: Plan, joined: bool) -> dict[str, str]:
        if joined:
            return {SINGLE_CELLS: self.single}
        return {name: _name(name, self.concat) for name in plan.compartments}


def _convert_plate(
    plate: Plate, request: Request, target: _Target, parsl_config: "Config | None", started: float
) -> ConversionResult:
    place, concat, options = target.place, target.concat, request.options
    with (
        fetched(plate, request.cloud) as source,
        unless_changed(source),
        place.scratch() as scratch,
        runner(parsl_config, scratch) as run,
        place.together(scratch, target.claim, overwrite=target.overwrite) as results,
    ):
        # The digest of a local file costs a pass over it, which runs beside the work.
        digest = run.submit(content_md5, source.path) if source.md5 is None else None
        if digest is not None and not concat:
            source = replace(source, md5=digest.result())
        if request.add_tablenumber:
            options = replace(options, table_number=content_crc32(source.path))
        readable = settled(source, copies_in(scratch / "plan"))
        chosen = resolved_preset(readable, request.preset, **request.adjusted)
        plan = make_plan(readable, chosen, options, scratch / "plan")
        report = planned_report(plan)
        if request.strict:
            report.check()
        names = target.names(plan, request.joined)
        _check_free(place, names.values(), target.overwrite)
        # A file of a store goes up while it is made.
        streamed = concat and request.joins is None and not isinstance(place, LocalDestination)
        out = (lambda table: results.create(names[table])) if streamed else None
        work = Work(plan, run, scratch, concat, digest, request.progress, out)
        if request.joins is not None:
            made = {SINGLE_CELLS: work.joined_by_sql(request.joins)}
        elif request.joined:
            made = {SINGLE_CELLS: work.single_cells()}
        else:
            made = work.compartments()
        report = finished_report(
            report,
            [coercion for facts in made.values() for coercion in facts.coercions],
            {} if request.joined else {name: facts.rows for name, facts in made.items()},
            made[SINGLE_CELLS].rows if request.joined and request.joins is None else None,
        )
        if request.strict:
            report.check()
        check_unchanged(source)
        if not streamed:
            for table, facts in made.items():
                results.take(facts.path, names[table])
    return ConversionResult(
        outputs=tuple(replace(facts, path=place.path(names[table])) for table, facts in made.items()),
        source=source,
        preset=chosen.name,
        readers=tuple((part.table.name, part.reason) for part in plan.tables if part.reason),
        seconds=time.perf_counter() - started,
        report=report,
    )


def _name(compartment: str, concat: bool) -> str:
    """What a compartment is called in the destination: a file, or a folder of chunk files."""
    return f"{compartment}.parquet" if concat else compartment


def _usual_outputs(targets: Sequence[str] | None, concat: bool) -> list[str]:
    usual = (*DEFAULT.metadata, *DEFAULT.compartments)
    wanted = [name for name in usual if targets is None or name.lower() in {target.lower() for target in targets}]
    return [_name(name, concat) for name in wanted]


def _is_joined(dest_path: str | Path, join: bool | None, joins: str | None) -> bool:
    if join is None:
        return joins is not None or _names_file(dest_path)
    if joins is not None and not join:
        raise OptionError("joins= was given with join=False; leave one of them out")
    return join


def _names_file(dest_path: str | Path) -> bool:
    return PurePosixPath(dest_path).suffix == ".parquet"


def _destination(
    dest_path: str | Path, dest_datatype: str, joined: bool, cloud: Mapping[str, Any]
) -> tuple[Destination, str]:
    """Where results go, and what the joined table is called there."""
    if dest_datatype != "parquet":
        raise OptionError(f"dest_datatype {dest_datatype!r} is not known; there is: parquet")
    if not (joined and _names_file(dest_path)):
        return destination_of(dest_path, cloud), f"{SINGLE_CELLS}.parquet"
    if is_remote(str(dest_path)):
        folder, _, name = str(dest_path).rstrip("/").rpartition("/")
        return destination_of(folder, cloud), name
    path = Path(dest_path).expanduser().absolute()
    return destination_of(path.parent, cloud), path.name


def _names(targets: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(targets, str):
        raise OptionError(f"targets: {targets!r} is one text, where a list of names is expected")
    return tuple(targets) if targets is not None else None


def _checked_chunk_size(chunk_size: int | None) -> int | None:
    if chunk_size is not None and chunk_size < 1:
        raise OptionError(f"chunk_size {chunk_size} is no number of objects; give 1 or more, or None")
    return chunk_size


def _check_free(place: Destination, names: Iterable[str], overwrite: bool) -> None:
    for name in names:
        if place.exists(name) and not overwrite:
            raise exists_already(place.address(name))
