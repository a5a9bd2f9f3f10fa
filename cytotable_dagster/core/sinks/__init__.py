"""What results are written as beside Parquet: each kind is one module, and a line of `choosing`.

A sink takes what a conversion made (`sink.Sink`): Parquet files of this machine, whose rows are a stream of batches
and whose footers tell of them. It appears under its name only when it is whole, in a folder or a store. `writing` is
what all have in common: the place is claimed, the tables are made in scratch, the sink writes. Other code imports from
here.
"""

from cytotable_dagster.core.sinks.choosing import sink_for
from cytotable_dagster.core.sinks.iceberg.catalog import IMAGE_TABLE_NAME, SOURCE_IMAGE_TABLE_NAME, check_package
from cytotable_dagster.core.sinks.iceberg.following import Followed, follow_dataset
from cytotable_dagster.core.sinks.iceberg.reading import (
    describe_iceberg_warehouse,
    list_tables,
    read_table,
    remove_plate,
    warehouse_plates,
)
from cytotable_dagster.core.sinks.iceberg.rows import object_id
from cytotable_dagster.core.sinks.sink import Sink, Target
from cytotable_dagster.core.sinks.writing import write_to_sink

__all__ = [
    "IMAGE_TABLE_NAME",
    "SOURCE_IMAGE_TABLE_NAME",
    "Followed",
    "Sink",
    "Target",
    "check_package",
    "describe_iceberg_warehouse",
    "follow_dataset",
    "list_tables",
    "object_id",
    "read_table",
    "remove_plate",
    "sink_for",
    "warehouse_plates",
    "write_to_sink",
]
