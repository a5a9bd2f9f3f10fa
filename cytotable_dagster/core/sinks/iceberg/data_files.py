"""Data files of a warehouse's tables: where they lie, and what the table is told of them."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cytotable_dagster.core.model.plate_names import plate_of, safe_name
from cytotable_dagster.core.parquet.groups import RowGroups

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

_APART = "_"
# Columns by whose bounds readers pass over files. Those of thousands would be most of what they have to read first.
_BOUNDED = ("Metadata_Plate", "Metadata_Well", "Metadata_TableNumber", "Metadata_ImageNumber")
PROPERTIES = {
    "write.metadata.metrics.default": "none",
    **{f"write.metadata.metrics.column.{name}": "full" for name in _BOUNDED},
}


def new_path(table: "Table", plate: str, mark: str = "") -> Path:
    """Where a plate's next file is to lie, in a folder that is there.

    Args:
        mark: what it is made of; `mark_of` says it.
    """
    path = data_folder(table) / safe_name(plate) / f"{mark}{_APART if mark else ''}{uuid.uuid4()}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def mark_of(file: "DataFile") -> str:
    """What a plate's data file was made of, where that was said."""
    mark, apart, _ = path_of(file.file_path).name.partition(_APART)
    return mark if apart else ""


def plate_of_file(file: "DataFile") -> str:
    return plate_of(path_of(file.file_path).parent.name)


def data_folder(table: "Table") -> Path:
    return path_of(table.location()) / "data"


def path_of(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def described(table: "TableMetadata", path: Path) -> "DataFile":
    """What a table is told of a Parquet file of our own writing: rows, and the bounds of few columns."""
    from pyiceberg.conversions import to_bytes
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    ids: dict[str, Any] = {field.name: field for field in table.schema().fields if field.name in _BOUNDED}
    counts: dict[str, int] = dict.fromkeys(ids, 0)
    nulls: dict[str, int] = dict.fromkeys(ids, 0)
    bounds: dict[str, list[Any]] = {name: [] for name in ids}
    offsets = []
    groups = RowGroups.of(path)
    for opened in groups.opened():
        own = opened.metadata.row_group(0)
        offsets.append(min(_start(own.column(0)), _start(own.column(own.num_columns - 1))))
        places = {name: place for place, name in enumerate(opened.schema_arrow.names) if name in ids}
        for name in ids.keys() - places.keys():
            counts[name] += own.num_rows
            nulls[name] += own.num_rows
        for name, place in places.items():
            column = own.column(place)
            counts[name] += column.num_values
            nulls[name] += column.statistics.null_count
            if column.statistics.has_min_max:
                bounds[name] += [column.statistics.min, column.statistics.max]
    known = [(ids[name], values) for name, values in bounds.items() if values]
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path.as_uri(),
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=groups.num_rows,
        file_size_in_bytes=path.stat().st_size,
        value_counts={ids[name].field_id: count for name, count in counts.items()},
        null_value_counts={ids[name].field_id: count for name, count in nulls.items()},
        lower_bounds={field.field_id: to_bytes(field.field_type, min(own)) for field, own in known},
        upper_bounds={field.field_id: to_bytes(field.field_type, max(own)) for field, own in known},
        split_offsets=sorted(offsets),
        spec_id=table.default_spec_id,
    )


def _start(column: Any) -> int:
    """Where a column chunk starts."""
    first, pages = column.dictionary_page_offset, column.data_page_offset
    return int(pages if first is None else min(first, pages))
