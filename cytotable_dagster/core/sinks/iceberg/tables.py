"""Plates of a table of a warehouse: each in a data file of its own, put there, replaced or removed in one commit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.values import has_no_value
from cytotable_dagster.core.parquet.refit import Fill, Refitting, Renamed
from cytotable_dagster.core.planning.unify import Columns, schema_of
from cytotable_dagster.core.sinks.iceberg.catalog import damage_told, load_table, table_names
from cytotable_dagster.core.sinks.iceberg.data_files import (
    PROPERTIES,
    data_folder,
    described,
    mark_of,
    new_path,
    path_of,
    plate_of_file,
)
from cytotable_dagster.core.sinks.iceberg.quick import quick_transaction
from cytotable_dagster.core.sinks.iceberg.schemas import (
    FIELD_ID,
    change_columns,
    flat_columns,
    numbered,
    renamed,
    type_of,
    wanted_columns,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

_PLATE = "cytotable_dagster.plate"

Opened = Callable[[], "AbstractContextManager[pa.NativeFile]"]


@dataclass(frozen=True)
class Rows:
    """A plate's rows in Parquet files of our own writing, one behind the other, all of one schema; `columns` are those
    wanted of them, `fills` say how they come about that the files do not have under their names."""

    files: Sequence[Opened]
    columns: Columns
    fills: Mapping[str, Fill]


@dataclass(frozen=True)
class Place:
    """Where a plate's rows are to be written: a file that is not there yet, the fields that it is to have, and which of
    the columns that were wanted each is."""

    path: Path
    schema: "pa.Schema"
    called: Mapping[str, str]


def plates_in(table: "Table") -> "dict[str, list[DataFile]]":
    """The plates of a table, and the data files of each."""
    found: dict[str, list[DataFile]] = {}
    with damage_told(f"table {'.'.join(table.name())} at {table.location()}"):
        for task in table.scan().plan_files():
            found.setdefault(plate_of_file(task.file), []).append(task.file)
    return found


def put_plate(catalog: "SqlCatalog", name: str, plate: str, rows: Rows, root: Path, mark: str = "") -> None:
    """Put a plate into a table, which is made where it is not there, in the place of what is there of it; one snapshot.
    What its files have is copied as it is encoded.

    Args:
        mark: what it is made of; `mark_of` its data file says it.

    Raises:
        SchemaError: a column has types there and here that are not one.
    """

    def is_empty(column: str) -> bool:
        fill = rows.fills.get(column, Renamed(column))
        return isinstance(fill, Renamed) and all(_has_no_value(file, fill.source) for file in rows.files)

    with (
        place_of_plate(catalog, name, plate, schema_of(rows.columns), root, mark, is_empty) as place,
        place.path.open("wb") as out,
    ):
        fills = {
            new: rows.fills.get(old, Renamed(old))
            for new, old in place.called.items()
            if new != old or old in rows.fills
        }
        made = Refitting(out, place.schema, fills)
        for file in rows.files:
            with file() as opened:
                made.append(opened)
        made.finish()


@contextmanager
def place_of_plate(
    catalog: "SqlCatalog",
    name: str,
    plate: str,
    schema: "pa.Schema",
    root: Path,
    mark: str = "",
    is_empty: Callable[[str], bool] = lambda _: False,
) -> Iterator[Place]:
    """Where a plate's rows are to be written, as one Parquet file; that joins the table when the block ends, in the
    place of what is there of the plate.

    Args:
        schema: the columns wanted.
        is_empty: whether one of them has no value in any row; asked only where types conflict.
    """
    import pyarrow as pa

    if catalog.table_exists(name):
        table = load_table(catalog, name, root)
    else:
        catalog.create_namespace_if_not_exists(name.rpartition(".")[0])
        table = catalog.create_table(name, schema, properties=PROPERTIES)
    there = plates_in(table)
    gone = there.pop(plate, [])
    before = table.schema()
    known = flat_columns(before)
    own = tuple((field.name, str(field.type)) for field in schema if not pa.types.is_nested(field.type))

    def empty(of: str, column: str) -> bool:
        if of == plate:
            return is_empty(column)
        return all(_has_no_value(_opener(file), column) for file in there[of])

    wanted = wanted_columns(name, known, there, plate, own, empty)
    names = renamed(own, wanted)
    written: list[Path] = []
    try:
        with quick_transaction(table) as change:
            anew = change_columns(change, dict(known), wanted)
            now = change.table_metadata.schema()
            fields = [
                pa.field(names[field.name], type_of(wanted[names[field.name]])) if field.name in names else field
                for field in schema
            ]
            written.append(new_path(table, plate, mark))
            yield Place(written[0], numbered(pa.schema(fields), now), {new: old for old, new in names.items()})
            added = [described(change.table_metadata, written[0])]
            for other, files in there.items() if anew else ():
                for file in files:
                    written.append(new_path(table, other, mark_of(file)))
                    if _write_anew(_opener(file), before, now, anew, written[-1]):
                        added.append(described(change.table_metadata, written[-1]))
                        gone.append(file)
            commit = change.update_snapshot(snapshot_properties={_PLATE: plate})
            with commit.overwrite() if gone else commit.fast_append() as snapshot:
                for file in added:
                    snapshot.append_data_file(file)
                for file in gone:
                    snapshot.delete_data_file(file)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def drop_plate(catalog: "SqlCatalog", name: str, plate: str, root: Path) -> bool:
    """Take a plate out of a table in one commit; whether it was there."""
    table = load_table(catalog, name, root)
    there = plates_in(table).get(plate, [])
    if there:
        with (
            quick_transaction(table) as change,
            change.update_snapshot(snapshot_properties={_PLATE: plate}).overwrite() as snapshot,
        ):
            for old in there:
                snapshot.delete_data_file(old)
    return bool(there)


def drop_from_all(catalog: "SqlCatalog", plate: str, root: Path) -> bool:
    """Take a plate out of all tables; whether it was in one."""
    found = [drop_plate(catalog, name, plate, root) for name in table_names(catalog)]
    return any(found)


def sweep(table: "Table", where: str) -> None:
    """Remove data files that no snapshot has, which a killed run left."""
    with damage_told(where):
        known = {path_of(path) for path in table.inspect.all_files()["file_path"].to_pylist()}
    for path in data_folder(table).glob("*/*.parquet"):
        if path not in known:
            path.unlink()


def _write_anew(source: Opened, before: "Schema", now: "Schema", anew: Sequence[str], path: Path) -> bool:
    """Write a data file again with some columns as they are now; whether it has any of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with source() as opened:
        own = pq.read_schema(opened)
    called = {before.find_column_name(int(field.metadata[FIELD_ID])): field for field in own}
    kept = {name: field for name, field in called.items() if name in now.column_names}
    if not kept.keys() & {*anew}:
        return False
    types = dict(flat_columns(now))
    schema = pa.schema(
        [pa.field(name, type_of(types[name]) if name in anew else field.type) for name, field in kept.items()]
    )
    fills = {name: Renamed(field.name) for name, field in kept.items() if field.name != name}
    with source() as opened, path.open("wb") as out:
        made = Refitting(out, numbered(schema, now), fills)
        made.append(opened)
        made.finish()
    return True


def _opener(file: "DataFile") -> Opened:
    import pyarrow as pa

    return lambda: pa.OSFile(str(path_of(file.file_path)))


def _has_no_value(file: Opened, column: str) -> bool:
    import pyarrow.parquet as pq

    with file() as opened, pq.ParquetFile(opened) as parquet:
        return column not in parquet.schema_arrow.names or has_no_value(parquet.read(columns=[column])[column])
