"""What the assets share: names, and what was last recorded."""

import re

import dagster as dg

from cytotable_dagster.core.version import VERSION

# Those that have assets whatever the preset; one that CYTOTABLE_PRESET names may have others beside them.
COMPARTMENTS = ("Image", "Cells", "Cytoplasm", "Nuclei")
# In the order of the work, as the web UI sorts them by name.
SOURCE_GROUP, CHUNK_GROUP, TABLE_GROUP = "1_source", "2_chunks", "3_tables"
IMAGE_GROUP, DATASET_GROUP = "4_images", "5_datasets"
PLATE_SOURCE = dg.AssetKey("plate_source")
PLATE_SQLITE = dg.AssetKey("plate_sqlite")
SINGLE_CELLS = dg.AssetKey("single_cells")
IMAGE_PROVENANCE = dg.AssetKey("image_provenance")

# Results depend on the converter's version, so that another version marks them as outdated.
CODE_VERSION = VERSION
# Steps that convert share the machine's cores; those that fetch, its network.
CONVERT_POOL = "parsl"
FETCH_POOL = "fetch"


def compartment_key(compartment: str) -> dg.AssetKey:
    return dg.AssetKey(_word(compartment))


def chunk_asset_key(compartment: str) -> dg.AssetKey:
    return dg.AssetKey(f"{_word(compartment)}_chunk")


def dataset_key(table: str) -> dg.AssetKey:
    return dg.AssetKey(f"{_word(table)}_dataset")


def _word(table: str) -> str:
    """A table's name as Dagster takes it in an asset's."""
    return re.sub(r"\W", "_", table.lower(), flags=re.ASCII)


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
