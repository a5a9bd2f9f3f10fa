"""The whole way from plates to Parquet files, as one function."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Every conversion needs these, so they come with the function and not while it runs.
import llvmlite.binding  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pydantic  # noqa: F401

from cytotable_dagster.core.cache import fetch, kept
from cytotable_dagster.core.content import content_crc32, content_md5
from cytotable_dagster.core.destination import LocalDestination
from cytotable_dagster.core.discover import find_plates
from cytotable_dagster.core.drift import UNION
from cytotable_dagster.core.errors import DestinationExistsError, OptionError
from cytotable_dagster.core.executors import runner
from cytotable_dagster.core.files import scratch_folder
from cytotable_dagster.core.many_plates import Request, silent
from cytotable_dagster.core.merging import convert_to_dataset, convert_to_files
from cytotable_dagster.core.plan import Options
from cytotable_dagster.core.planning import make_plan, resolved_preset, wanted_datatype
from cytotable_dagster.core.presets import DEFAULT, Preset
from cytotable_dagster.core.report import ConversionResult, PlatesResult
from cytotable_dagster.core.reporting import finished_report, planned_report
from cytotable_dagster.core.store import checked_cloud_options, is_remote
from cytotable_dagster.core.work import SINGLE_CELLS, Progress, Work, published

if TYPE_CHECKING:
    from parsl import Config


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
    schema: str = UNION,
    encoding: str = "utf-8",
    strict: bool = False,
    progress: Progress | None = None,
    **cloud: Any,
) -> ConversionResult | PlatesResult:
    """Convert a plate, or several, to Parquet: one file for each compartment, or the joined single cells.

    Args:
        source_path: a SQLite file, a folder or prefix that holds one or several, or a folder of CSV or NPZ files; local
            or `s3://`; a pattern such as `plates/BR*`; or a list of these. Several plates become one table, streamed
            plate by plate, with `Metadata_TableNumber` (and `Metadata_Plate`, where the source has none).
        dest_path: a folder for `Image.parquet`, `Cells.parquet`, ...; or a name that ends in `.parquet` for the
            joined single cells.
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
        schema: of several plates whose columns differ: their `union`, null where a plate lacks one, or `intersection`.
        encoding: of CSV files, such as `latin-1`.
        strict: make an error of every value that does not fit its column's type and of everything that contradicts
            another (see `ConversionReport.mismatches`), before anything is published.
        progress: called with (step, done, total) as work proceeds.
        cloud: what the S3 client takes: `local_cache_dir`, `no_sign_request`, `endpoint_url`, `profile_name`, ...

    Returns:
        The files written, and a `report` of what was read, written and did not fit; prints as tables, and is a path
        where there is one output.

    Raises:
        CytoTableError: see `cytotable_dagster.errors`; nothing is left behind half-written.
        TypeError: an argument that neither this function nor the cloud client knows.
    """
    started = time.perf_counter()
    cloud = checked_cloud_options(cloud)
    targets = _names(targets)
    dest = _checked_destination(dest_path, dest_datatype)
    joined = _is_joined(dest, join, joins)
    # Before anything is downloaded; what a plate really has is known only later.
    _check_free([joined_path(dest)] if joined else _usual_outputs(dest, targets, concat), overwrite)
    options = Options.checked(
        data_type_cast_map,
        joined=joined and joins is None,
        one_file=concat,
        chunk_size=_checked_chunk_size(chunk_size),
        targets=targets,
        drop_null=drop_null,
        image_features=image_features,
        encoding=encoding,
    )
    datatype = wanted_datatype(preset, source_datatype)
    adjusted: dict[str, Any] = {
        "datatype": datatype,
        "encoding": encoding,
        "metadata": metadata,
        "compartments": compartments,
        "identifying_columns": identifying_columns,
    }
    plates = find_plates(source_path, datatype, cloud)
    if len(plates) > 1:
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
        with scratch_folder(dest) as scratch, runner(parsl_config, scratch) as run:
            if not concat:
                return convert_to_dataset(plates, LocalDestination(dest), request, run, scratch)
            root = dest.parent if dest.suffix == ".parquet" else dest
            file = joined_path(dest).name if joined else "{}.parquet"
            return convert_to_files(plates, file.format, LocalDestination(root), request, run, scratch)
    source = fetch(plates[0], cloud)
    chosen = resolved_preset(source, preset, **adjusted)
    with kept(source.uri, cloud), scratch_folder(dest) as scratch, runner(parsl_config, scratch) as run:
        # The digest of a local file costs a pass over it, which runs beside the work.
        digest = run.submit(content_md5, source.path) if source.md5 is None else None
        if digest is not None and not concat:
            source = replace(source, md5=digest.result())
        if add_tablenumber:
            options = replace(options, table_number=content_crc32(source.path))
        plan = make_plan(source, chosen, options, scratch / "plan", spool=True)
        report = planned_report(plan)
        if strict:
            report.check()
        if not joined:
            _check_free([compartment_path(dest, name, concat) for name in plan.compartments], overwrite)
        work = Work(plan, run, scratch, concat, digest, progress or silent)
        if joins is not None:
            outputs = {joined_path(dest): work.joined_by_sql(joins)}
        elif joined:
            outputs = {joined_path(dest): work.single_cells()}
        else:
            made = work.compartments()
            outputs = {compartment_path(dest, name, concat): facts for name, facts in made.items()}
        report = finished_report(
            report,
            [coercion for facts in outputs.values() for coercion in facts.coercions],
            {} if joined else {name: facts.rows for name, facts in made.items()},
            outputs[joined_path(dest)].rows if joined and joins is None else None,
        )
        if strict:
            report.check()
        return ConversionResult(
            outputs=tuple(published(facts, path) for path, facts in outputs.items()),
            source=source,
            preset=chosen.name,
            readers=tuple((part.table.name, part.reason) for part in plan.tables if part.reason),
            seconds=time.perf_counter() - started,
            report=report,
        )


def joined_path(dest: Path) -> Path:
    """Where the joined table goes: the destination itself, or a file in it."""
    return dest if dest.suffix == ".parquet" else dest / f"{SINGLE_CELLS}.parquet"


def compartment_path(dest: Path, compartment: str, concat: bool) -> Path:
    """Where a compartment goes: a file in the destination, or a folder of chunk files."""
    return dest / (f"{compartment}.parquet" if concat else compartment)


def _usual_outputs(dest: Path, targets: Sequence[str] | None, concat: bool) -> list[Path]:
    usual = (*DEFAULT.metadata, *DEFAULT.compartments)
    wanted = [name for name in usual if targets is None or name.lower() in {target.lower() for target in targets}]
    return [compartment_path(dest, name, concat) for name in wanted]


def _is_joined(dest: Path, join: bool | None, joins: str | None) -> bool:
    if join is None:
        return joins is not None or dest.suffix == ".parquet"
    if joins is not None and not join:
        raise OptionError("joins= was given with join=False; leave one of them out")
    return join


def _checked_destination(dest_path: str | Path, dest_datatype: str) -> Path:
    if dest_datatype != "parquet":
        raise OptionError(f"dest_datatype {dest_datatype!r} is not known; there is: parquet")
    if is_remote(str(dest_path)):
        raise OptionError(f"{dest_path}: results are written to this machine's files; name a local dest_path")
    return Path(dest_path).expanduser().absolute()


def _names(targets: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(targets, str):
        raise OptionError(f"targets: {targets!r} is one text, where a list of names is expected")
    return tuple(targets) if targets is not None else None


def _checked_chunk_size(chunk_size: int | None) -> int | None:
    if chunk_size is not None and chunk_size < 1:
        raise OptionError(f"chunk_size {chunk_size} is no number of objects; give 1 or more, or None")
    return chunk_size


def _check_free(paths: Sequence[Path], overwrite: bool) -> None:
    for path in paths:
        nearest = next(folder for folder in path.parents if folder.exists())
        if not nearest.is_dir():
            raise DestinationExistsError(f"{nearest}: a file, where a folder is to be; name another dest_path")
        if path.exists() and not overwrite:
            raise DestinationExistsError(f"{path}: exists; pass overwrite=True to replace it, or another dest_path")
