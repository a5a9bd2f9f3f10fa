"""Images of a plate: where they are and whether they are the ones measured, and crops of its cells to look at."""

import warnings

import dagster as dg

from cytotable_dagster.core.errors import OptionError, SourceNotFoundError
from cytotable_dagster.core.images import Provenance, provenance_of, put_provenance
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.plans import kept_plan, with_source
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    FETCH_POOL,
    IMAGE_GROUP,
    IMAGE_PROVENANCE,
    PLATE_SQLITE,
    SINGLE_CELLS,
)
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.cell_pictures import cell_images_metadata, provenance_metadata
from cytotable_dagster.defs.image_files import ImageFiles
from cytotable_dagster.defs.partitions import name_of, plates
from cytotable_dagster.defs.resources import Lake, PlateSource
from cytotable_dagster.defs.words import in_dagster

CELL_IMAGES = dg.AssetKey("cell_images")
FILES_AS_MEASURED = "files_as_measured"
# Problems that a check names; the file has all of them.
_NAMED = 10


def image_provenance_asset(chunks: int) -> dg.AssetsDefinition:
    with warnings.catch_warnings():
        # Checks by partition are a preview in this Dagster.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        check = dg.AssetCheckSpec(
            FILES_AS_MEASURED,
            asset=IMAGE_PROVENANCE,
            description="No image is missing, and none is another than was measured.",
            partitions_def=plates,
        )

    @dg.asset(
        key=IMAGE_PROVENANCE,
        deps=[PLATE_SQLITE],
        partitions_def=plates,
        description="Image files: where that of each image and channel of the plate is, and whether it is the one that "
        "was measured (_about/provenance.parquet). Looked for as CYTOTABLE_IMAGE_DIR, CYTOTABLE_PATH_RULES and "
        "CYTOTABLE_LOAD_DATA say (docs/images.md).",
        group_name=IMAGE_GROUP,
        kinds={"parquet"},
        code_version=CODE_VERSION,
        pool=FETCH_POOL,
        check_specs=[check],
    )
    def image_provenance(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, image_files: ImageFiles
    ) -> dg.MaterializeResult:
        plate = name_of(context.partition_key)
        folder = lake.of(plate)
        with step(context), folder.locked():
            plan = kept_plan(plate, folder, lake.options(chunks))
            search = image_files.search(plate_files.copies())
            with with_source(plan, folder, plate_files.copies()) as here:
                found = provenance_of(here, search)
            facts = put_provenance([found], place_of(folder))
        return dg.MaterializeResult(
            metadata=provenance_metadata(context.instance, found, facts), check_results=[_files_as_measured(found)]
        )

    return image_provenance


def _files_as_measured(found: Provenance) -> dg.AssetCheckResult:
    problems = found.problems
    named: dict[str, str | int] = {f"{place}": line for place, line in enumerate(problems[:_NAMED], start=1)}
    return dg.AssetCheckResult(
        asset_key=IMAGE_PROVENANCE,
        check_name=FILES_AS_MEASURED,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=_said(found),
        metadata={"problems": len(problems), **named},
    )


def _said(found: Provenance) -> str:
    """What became of a plate's image files, in a sentence."""
    files = len(found.images)
    if not files:
        return "the plate names no image files"
    if not found.problems:
        counts = ", ".join(f"{count:,} {status}" for status, count in found.counts.items())
        return f"of {files:,} image files none is missing, and none is another than was measured ({counts})"
    left = f"; and {len(found.problems) - 1:,} more" if len(found.problems) > 1 else ""
    return f"{len(found.problems):,} of {files:,} image files are missing or not as measured: {found.problems[0]}{left}"


def cell_images_asset(chunks: int) -> dg.AssetsDefinition:
    @dg.asset(
        key=CELL_IMAGES,
        deps=[SINGLE_CELLS, IMAGE_PROVENANCE],
        partitions_def=plates,
        description="Pictures of the plate's cells: typical ones, those at the ends of a few features, and all sites "
        "as thumbnails; with cell_images.lance, the crops of a sample of cells (CYTOTABLE_CROPS_PER_WELL).",
        group_name=IMAGE_GROUP,
        kinds={"view"},
        code_version=CODE_VERSION,
        pool=FETCH_POOL,
    )
    def cell_images(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, image_files: ImageFiles
    ) -> dg.MaterializeResult:
        plate = name_of(context.partition_key)
        folder = lake.of(plate)
        with step(context), folder.locked():
            kept_plan(plate, folder, lake.options(chunks))
            place = place_of(folder)
            if folder.stored(JOINED) is None:
                return dg.MaterializeResult(metadata={"note": f"plate {plate} has no single cells"})
            try:
                metadata = cell_images_metadata(
                    context.instance, plate, folder, place, image_files, plate_files.store_options()
                )
            except (OptionError, SourceNotFoundError) as error:
                # A plate whose images nobody has is a plate all the same.
                return dg.MaterializeResult(metadata={"note": in_dagster(str(error))})
        return dg.MaterializeResult(metadata=metadata)

    return cell_images


def place_of(folder: PlateFolder) -> Destination:
    """Where a plate's results are, as a destination of their own."""
    if folder.store is None:
        return LocalDestination(folder.path)
    return destination_of(folder.address(JOINED).rpartition("/")[0], getattr(folder.store, "store", Store()))
