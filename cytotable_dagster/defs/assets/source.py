"""The plate as it is found: where its file is, and the file on this machine, looked through."""

import dagster as dg

from cytotable_dagster.core.lake.chunks import plan_report, planned_chunks, prepare
from cytotable_dagster.defs.assets.common import CODE_VERSION, FETCH_POOL, OWNERS, PLATE_SQLITE
from cytotable_dagster.defs.assets.faults import step
from cytotable_dagster.defs.metadata import plan_metadata
from cytotable_dagster.defs.partitions import check_key, name_of, plates
from cytotable_dagster.defs.plates import SOURCE, source_of
from cytotable_dagster.defs.resources import Lake, ParslCluster, PlateSource

plate_source = dg.AssetSpec(
    SOURCE,
    description="Where the plate's SQLite file is, a path or an s3:// address, as it was last said by "
    "`cytotable-dagster plate add` or seen by a sensor. Plates without an address are found by their name.",
    group_name="source",
    kinds={"s3", "sqlite"},
    owners=OWNERS,
    partitions_def=plates,
)


def plate_sqlite_asset(chunks: int) -> dg.AssetsDefinition:
    @dg.asset(
        key=PLATE_SQLITE,
        deps=[SOURCE],
        partitions_def=plates,
        description="The plate's SQLite file on this machine: downloaded once, verified, its tables, types, keys and "
        "rows looked through, and the plan of its conversion made. Fails where keys do not identify rows.",
        group_name="source",
        kinds={"sqlite"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        pool=FETCH_POOL,
    )
    def plate_sqlite(
        context: dg.AssetExecutionContext, plate_files: PlateSource, lake: Lake, parsl_cluster: ParslCluster
    ) -> dg.MaterializeResult:
        with step(context):
            check_key(context.partition_key)
            name = name_of(context.partition_key)
            # What the steps that follow need, told before the hours of a download.
            parsl_cluster.check()
            plate = plate_files.plate(name, source_of(context.instance, name))
            folder = lake.of(name)
            with folder.locked():
                before = planned_chunks(folder)
                plan = prepare(plate, folder, plate_files.preset_name(), lake.options(chunks), plate_files.cloud())
            metadata = plan_metadata(plan, plan_report(plan))
            if before not in (None, plan.chunk_count):
                context.log.warning(
                    f"plate {name} had {before} chunks and is given {plan.chunk_count} (CYTOTABLE_CHUNKS_PER_PLATE): "
                    "all are made anew, and files of the old ones removed when the tables are whole"
                )
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(plan.fingerprint))

    return plate_sqlite
