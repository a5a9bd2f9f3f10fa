"""What the assets share: names, and what was last recorded."""

import dagster as dg

from cytotable_dagster.core.version import VERSION

COMPARTMENTS = ("Image", "Cells", "Cytoplasm", "Nuclei")
PLATE_SQLITE = dg.AssetKey("plate_sqlite")
SINGLE_CELLS = dg.AssetKey("single_cells")

# Results depend on the converter's version, so that another version marks them as outdated.
CODE_VERSION = VERSION
OWNERS = ["team:image-analysis"]
# Steps that convert share the machine's cores; those that fetch, its network.
CONVERT_POOL = "parsl"
FETCH_POOL = "fetch"


def compartment_key(compartment: str) -> dg.AssetKey:
    return dg.AssetKey(compartment.lower())


def chunk_asset_key(compartment: str) -> dg.AssetKey:
    return dg.AssetKey(f"{compartment.lower()}_chunk")


def latest_record(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> dg.EventLogRecord | None:
    """The last materialization of a partition, or of any."""
    partitions = None if partition is None else [partition]
    found = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions), limit=1)
    return found.records[0] if found.records else None


def data_version(record: dg.EventLogRecord | None) -> str | None:
    """The data version that a materialization was recorded with."""
    if record is None or record.asset_materialization is None:
        return None
    return (record.asset_materialization.tags or {}).get("dagster/data_version")
