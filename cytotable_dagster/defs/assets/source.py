"""The plate as it is found: where its file is, and the file on this machine, looked through."""

from contextlib import suppress

import dagster as dg

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.intake.listing import look_at
from cytotable_dagster.core.lake.plans import plan_report, planned_chunks, prepare
from cytotable_dagster.defs.assets.common import CODE_VERSION, FETCH_POOL, PLATE_SQLITE, SOURCE_GROUP
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.partitions import check_key, name_of, plates
from cytotable_dagster.defs.plate_metadata import plan_metadata
from cytotable_dagster.defs.plates import SOURCE, source_of, told_by_run
from cytotable_dagster.defs.resources import Lake, PlateSource

plate_source = dg.AssetSpec(
    SOURCE,
    description="The original of a plate: a SQLite file, or a folder of CSV or NPZ files, on this machine or in a "
    "store. Reported when a sensor or a schedule sees it, `cytotable-dagster plate add` names it, or a run finds it.",
    group_name=SOURCE_GROUP,
    kinds={"source"},
    partitions_def=plates,
)


def plate_sqlite_asset(chunks: int) -> dg.AssetsDefinition:
    @dg.asset(
        key=PLATE_SQLITE,
        deps=[SOURCE],
        partitions_def=plates,
        description="Fetched and looked through: the plate's files (SQLite, CSV or NPZ) on this machine, downloaded "
        "once and verified, and the plan of the conversion. Fails where keys do not identify rows.",
        group_name=SOURCE_GROUP,
        kinds={"file"},
        code_version=CODE_VERSION,
        pool=FETCH_POOL,
    )
    def plate_sqlite(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, parsl_cluster: ParslCluster
    ) -> dg.MaterializeResult:
        with step(context):
            made_of: dict[str, str] = {}
            check_key(context.partition_key)
            name = name_of(context.partition_key)
            # What the steps that follow need, told before the hours of a download.
            parsl_cluster.check()
            plate = plate_files.plate(name, source_of(context.instance, name))
            with suppress(CytoTableError):
                # What is wrong with it is told when it is fetched.
                made_of = told_by_run(context.instance, name, plate.uri, look_at(plate.uri, plate_files.copies().store))
            folder = lake.of(name)
            with folder.locked():
                before = planned_chunks(folder)
                plan = prepare(plate, folder, plate_files.preset_name(), lake.options(chunks), plate_files.copies())
            metadata = plan_metadata(plan, plan_report(plan))
            if before not in (None, plan.chunk_count):
                context.log.warning(
                    f"plate {name} had {before} chunks and is given {plan.chunk_count} (CYTOTABLE_CHUNKS_PER_PLATE): "
                    "all are made anew, and files of the old ones removed when the tables are whole"
                )
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(plan.fingerprint), tags=made_of)

    return plate_sqlite
