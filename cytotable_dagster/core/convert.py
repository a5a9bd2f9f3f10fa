"""The whole way from plates to Parquet files, as one function."""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Every conversion needs these, so they come with the function and not while it runs.
import numpy.ma  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

from cytotable_dagster.core.about.columns import CSV_FILE as COLUMNS_CSV
from cytotable_dagster.core.about.columns import FILE as COLUMNS
from cytotable_dagster.core.conversion.adding import convert_to_dataset
from cytotable_dagster.core.conversion.merging import convert_to_files
from cytotable_dagster.core.conversion.one_plate import Target, convert_plate
from cytotable_dagster.core.conversion.place import (
    check_free,
    ending_of_folder,
    join_asked,
    output_name,
    place_for,
    usual_outputs,
)
from cytotable_dagster.core.conversion.request import Request, sources_in
from cytotable_dagster.core.conversion.skipping import STOP, Skipping
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.runner import runner
from cytotable_dagster.core.images import FILE as PROVENANCE
from cytotable_dagster.core.images import Rules, Search, provenance_of_plates, put_provenance
from cytotable_dagster.core.intake.cache import with_fresh_copies
from cytotable_dagster.core.kernels.loading import load_kept
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import SINGLE_CELLS, Plate
from cytotable_dagster.core.planning.options import BOTH, KEEP, check_flag, check_join
from cytotable_dagster.core.planning.unify import UNION
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.sinks import sink_for, write_to_sink
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import check_keywords
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.telling import Progress, watched
from cytotable_dagster.core.support.written_paths import expanded

if TYPE_CHECKING:
    from parsl import Config

load_kept()


@errors_of_machine()
def convert(
    source_path: str | Path | Iterable[str | Path],
    dest_path: str | Path,
    dest_datatype: str = "parquet",
    *,
    dest_backend: str = "parquet",
    source_datatype: str | None = None,
    preset: str | Path | Preset | None = None,
    targets: str | Iterable[str] | None = None,
    metadata: str | Iterable[str] | None = None,
    compartments: str | Iterable[str] | None = None,
    identifying_columns: str | Iterable[str] | None = None,
    concat: bool = True,
    join: bool | str | None = None,
    joins: str | None = None,
    chunk_size: int | None = None,
    drop_null: bool = False,
    data_type_cast_map: Mapping[str, str] | None = None,
    add_tablenumber: bool | None = None,
    sort_output: bool = True,
    overwrite: bool = False,
    parsl_config: "Config | None" = None,
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
    strict: bool = False,
    on_error: str = STOP,
    column_map: bool = False,
    provenance: bool = False,
    image_dir: str | Path | None = None,
    mask_dir: str | Path | None = None,
    outline_dir: str | Path | None = None,
    segmentation_file_regex: Mapping[str, str] | None = None,
    path_rules: Rules = None,
    load_data: str | Path | None = None,
    verify: str | None = None,
    progress: Progress | None = None,
    dest_cloud: Mapping[str, Any] | None = None,
    bbox_column_map: Mapping[str, str] | None = None,
    include_source_images: bool = False,
    image_crop_workers: int | None = None,
    page_keys: Mapping[str, str] | None = None,
    infer_common_schema: bool | None = None,
    **cloud: Any,
) -> ConversionResult:
    """Convert a plate, or several, to Parquet: one file for each compartment, or the joined single cells, or both.

    Args:
        source_path: a SQLite file, a folder or prefix that holds one or several, a folder of CSV, NPZ or Parquet files,
            or a joined Parquet table; local or of a store (`s3://`, `gs://`, `az://`); a pattern such as `plates/BR*`;
            or a list of these. Several plates become one table, streamed plate by plate, with `Metadata_TableNumber`
            (and `Metadata_Plate`, where the source has none).
        dest_path: a folder for `Image.parquet`, `Cells.parquet`, ...; or a name that ends in `.parquet` for the
            joined single cells; local or of a store, where results appear only when all of them are whole.
        dest_datatype: `parquet`; or `anndata_h5ad`, `anndata_zarr`, which a `dest_path` that ends in `.h5ad` or `.zarr`
            says too: of the joined single cells, or of one table (`targets=["cells"]`); see `docs/anndata.md`.
        dest_backend: `parquet`; or `iceberg`, which makes `dest_path` a warehouse of Iceberg tables, or adds the plates
            to the one that is there; see `docs/iceberg.md`.
        source_datatype: `sqlite`, `csv`, `npz` or `parquet`; None takes what the preset is for, or what is there.
        preset: a preset, its name, or the path of a `.toml` file (`docs/presets.md`); None detects the dialect.
        targets: the tables wanted (`["cells", "Nuclei"]`, in any case); None is all of images and objects. Two more
            come whole where they are asked for: `experiment` and `relationships`.
        metadata: the tables that describe images; an empty list leaves the image table out.
        compartments: the object tables, instead of the preset's.
        identifying_columns: source columns that become `Metadata_...`, instead of the preset's.
        concat: False leaves each result as a folder of chunk files, to be read as one dataset; of several plates, as
            a dataset with a file for each plate (see `datasets.add`).
        join: whether the result is the joined table, None infers it from `dest_path`; `both` puts it beside the
            compartments' files, as `single_cells.parquet`, made of one reading.
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
        plate_pattern: which folders below `source_path` are plates of CSV or NPZ files, as in `{plate}/{site}/...`;
            None goes by `Metadata_Plate` of their image tables, else by their names.
        site_pattern: what names of CSV plates' folders say, as in `{plate}-{well}-{site}`, where tables do not.
        equal_sites: `keep` takes sites of a CSV plate for several though their image tables are equal to the byte,
            which is an error else (`refuse`, or None).
        strict: make an error of every value that does not fit its column's type and of everything that contradicts
            another (see `ConversionReport.mismatches`), before anything is published.
        on_error: where one of several plates is empty, damaged or cannot be had: `stop` ends everything (all are looked
            through before anything is published, unless a dataset grows of a store and `cache_limit` has no room for
            all); `skip` converts the others, see `report.skipped_plates`.
        column_map: write `_about/columns.parquet` and `.csv` beside the tables of one plate: for each column its source
            column, table and file, what it measures, and its range; `cytotable_dagster.trace` asks it.
        provenance: write `_about/provenance.parquet` beside the tables: where the file of each image and channel is,
            and whether it is the one that was measured; see `docs/images.md`.
        image_dir: for that, and for the crops of a warehouse, a folder or prefix with the images below it; `{plate}`
            in it is the plate's name.
        mask_dir: the same of masks, called as their images are.
        outline_dir: the same of outlines.
        segmentation_file_regex: pattern of a mask's or outline's name -> pattern of its image's name.
        path_rules: a TOML file, or a list of `{"from": ..., "to": ...}`: which folder of another machine is which here.
        load_data: a load_data file, `.csv`, `.csv.gz` or `.parquet`.
        verify: `none`, `exists` (the default) or `md5`.
        progress: called with (step, done, total) as work proceeds: `downloading` in bytes, `tables looked through`,
            then chunks by table; of several plates the first two are sums of those begun, chunks are told for each,
            and `plates looked through`, `plates converted`.
        dest_cloud: options of the store's client for `dest_path`; None takes those of the source, but always signs.
        bbox_column_map: of a warehouse, the columns with the sides of an object's box, as `{"x_min": ..., "x_max": ...,
            "y_min": ..., "y_max": ...}`; None takes CellProfiler's.
        page_keys: an argument of CytoTable, taken with a warning: it changes nothing.
        infer_common_schema: the same.
        image_crop_workers: the same; crops are made in as many threads as the process may use.
        include_source_images: of a warehouse, put the images that crops are made of there too, whole.
        cloud: what the store's client takes: `local_cache_dir`, `no_sign_request`, `endpoint_url`, `profile_name`, ...

    Returns:
        The files written, `result["Cells"]` and so on, and a `report` of what was read, written and did not fit; prints
        as tables, and is a path where there is one local output.

    Raises:
        CytoTableError: see `cytotable_dagster.errors`; nothing is left behind half-written.
        TypeError: an argument that neither this function nor the cloud client knows.
    """
    check_keywords(convert, cloud)
    _warn_of(page_keys=page_keys, infer_common_schema=infer_common_schema, image_crop_workers=image_crop_workers)
    dest_path = expanded(address_in("dest_path", dest_path))
    sink = sink_for(
        dest_path,
        dest_datatype,
        dest_backend,
        bbox_column_map=bbox_column_map,
        include_source_images=include_source_images,
    )
    check_flag("include_source_images", include_source_images)
    for name, value in (("concat", concat), ("sort_output", sort_output), ("overwrite", overwrite)):
        check_flag(name, value)
    check_join(join, undecided=True)
    check_flag("provenance", provenance)
    check_flag("column_map", column_map)
    if sink is not None:
        if isinstance(join, str):
            raise OptionError(f'join="{BOTH}" makes Parquet files only; leave it out for AnnData or Iceberg')
        join = sink.joined(join, joins, targets)
    request = Request.checked(
        join=join_asked(dest_path, join, joins),
        joins=joins,
        one_file=concat,
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
        column_map=column_map,
        progress=progress,
        cloud=cloud,
        dest_cloud=dest_cloud,
    )
    search = Search.asked_for(
        provenance or (sink is not None and sink.takes_images),
        image_dir=image_dir,
        mask_dir=mask_dir,
        outline_dir=outline_dir,
        segmentation_file_regex=segmentation_file_regex,
        path_rules=path_rules,
        load_data=load_data,
        verify=verify,
        cache=request.cache,
    )
    sources = sources_in(source_path)
    said = ending_of_folder(dest_path) if sink is None else None
    if said is not None:
        warnings.warn(said, stacklevel=3)
    with watched(request.progress):
        if sink is None:
            return _convert(sources, dest_path, request, search, parsl_config, overwrite=overwrite)
        request = sink.request(request, search if provenance else None)
        return write_to_sink(
            sink,
            dest_path,
            request,
            search,
            lambda folder: _convert(sources, folder, request, None, parsl_config, overwrite=False),
            overwrite=overwrite,
        )


def _warn_of(**arguments: object) -> None:
    """Say that what only CytoTable needs was given."""
    given = [f"{name}=" for name, value in arguments.items() if value is not None]
    if given:
        said = " and ".join(given)
        warnings.warn(f"{said}: not needed here, where it changes nothing; leave it out", stacklevel=4)


@with_fresh_copies
def _convert(
    source_path: str | Path | Sequence[str | Path],
    dest_path: str | Path,
    request: Request,
    search: Search | None,
    parsl_config: "Config | None",
    *,
    overwrite: bool,
) -> ConversionResult:
    started = time.perf_counter()
    alone, one_file = request.joined and not request.both, request.options.one_file
    place, single = place_for(dest_path, alone, request.dest_store)
    # What is there is looked at before anything is downloaded; what a plate really has is known only later.
    usual = [single] if alone else usual_outputs(request.options.targets, one_file)
    if request.both:
        usual.append(output_name(SINGLE_CELLS, one_file))
    if search is not None:
        usual.append(PROVENANCE)
    if request.column_map:
        usual += [COLUMNS, COLUMNS_CSV]
    skipping = Skipping(request.on_error)
    plates = request.plates_at(source_path, skipping)
    several = len(plates) > 1 or bool(skipping.reasons)
    if request.column_map and several:
        raise OptionError("column_map=True is of one plate's tables; convert plates into folders of their own for it")
    if search is not None and several and not one_file:
        raise OptionError("provenance=True is of tables in one file each; leave out concat=False")
    if several and not one_file:
        check_free(place, usual, overwrite)
        dataset = destination_of(dest_path, request.dest_store)
        with dataset.scratch() as scratch, runner(parsl_config, scratch) as run:
            return convert_to_dataset(plates, dataset, request, run, scratch, skipping, overwrite=overwrite)
    with place.writing(single if alone else "") as claim:
        check_free(place, usual, overwrite)
        if not several:
            target = Target(place, claim, single, overwrite)
            result = convert_plate(plates[0], request, target, parsl_config, started)
            return _with_provenance(result, plates, request, search, place)
        with (
            place.scratch() as scratch,
            runner(parsl_config, scratch) as run,
            place.together(scratch, claim, overwrite=overwrite) as results,
        ):
            called = (lambda table: single) if alone else (lambda table: f"{table}.parquet")
            result = convert_to_files(plates, called, place, results, request, run, scratch, skipping)
        plates = tuple(plate for plate in plates if plate.name not in skipping.reasons)
        return _with_provenance(result, plates, request, search, place)


def _with_provenance(
    result: ConversionResult, plates: Sequence[Plate], request: Request, search: Search | None, place: Destination
) -> ConversionResult:
    """The result, and beside the tables the provenance of their images."""
    if search is None:
        return result
    return replace(result, provenance=put_provenance(provenance_of_plates(plates, search, request), place))
