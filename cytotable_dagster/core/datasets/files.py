"""The files of a dataset's tables: how a plate's is called, and which plates those that are there are of.

<dataset>/Cells/BR00126114.parquet     one for each plate, and nothing else in the folder
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.model.plate_names import checked_length, percent, plate_of, safe_name
from cytotable_dagster.core.parquet.writing import facts_in
from cytotable_dagster.core.planning.unify import Columns, columns_of
from cytotable_dagster.core.storage.destination import Destination, Stored

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ENDING = ".parquet"
# The layout of earlier versions: Cells/plate=BR00126114/part-0.parquet.
_OLD_FOLDER, _OLD_FILE = "plate=", "part-0.parquet"
# Footers read at once, from a store that takes its time.
_READERS = 16


@dataclass(frozen=True)
class Content:
    """What is in a Parquet file: `facts` are those of its footer."""

    rows: int
    columns: Columns
    facts: Mapping[str, str]


def file_name(table: str, plate: str, others: Collection[str] = ()) -> str:
    """What a plate's file is to be called beside `others`, from which it differs on every file system.

    Raises:
        UnsafeNameError: no file can be called so.
    """
    name = safe_name(plate)
    # Readers of folders pass over what begins so.
    name = f"{percent(name[0])}{name[1:]}" if name.startswith("_") else name
    if f"{table}/{name}{_ENDING}".casefold() in {other.casefold() for other in others}:
        name = checked_length(percent(plate), plate)
    return f"{table}/{name}{_ENDING}"


def is_old(name: str) -> bool:
    """Whether a file lies where versions before this layout put it."""
    return name.count("/") == 2 and name.split("/")[1].startswith(_OLD_FOLDER) and name.endswith(f"/{_OLD_FILE}")


def is_member(name: str) -> bool:
    """Whether a name in a dataset is that of a plate's file."""
    # What begins with _ tells of tables.
    return (name.count("/") == 1 and name.endswith(_ENDING) and not name.startswith("_")) or is_old(name)


def plate_in(name: str) -> str:
    """The plate whose file has this name."""
    _, first, *_ = name.split("/")
    return plate_of(first.removeprefix(_OLD_FOLDER) if is_old(name) else first.removesuffix(_ENDING))


def files_of(dest: Destination, table: str) -> dict[str, Stored]:
    """The files of a table by plate."""
    files = [stored for stored in dest.list(table) if is_member(stored.name)]
    # Where a move was broken off both are there, and it is done again.
    return {plate_in(stored.name): stored for stored in sorted(files, key=lambda stored: is_old(stored.name))}


def table_names(dest: Destination) -> tuple[str, ...]:
    """The tables that a dataset has."""
    return tuple(sorted({stored.name.split("/")[0] for stored in dest.list() if is_member(stored.name)}))


def contents(dest: Destination, names: Sequence[str]) -> list[Content]:
    """What is in plates' files.

    Raises:
        SchemaError: one is not Parquet, or of another plate than its name says.
    """
    with ThreadPoolExecutor(min(_READERS, len(names) or 1)) as threads:
        return list(threads.map(lambda name: _read_content(dest, name), names))


def content_of(file: "Path | pa.NativeFile") -> Content:
    """What is in a Parquet file."""
    import pyarrow.parquet as pq

    return _content(pq.read_metadata(file))


def _read_content(dest: Destination, name: str) -> Content:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with dest.open(name) as file:
            content = _content(pq.read_metadata(file))
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{dest.address(name)}: not a whole Parquet file ({error}); remove it") from error
    plate = content.facts.get("plate", plate_in(name))
    if plate != plate_in(name) or "plates" in content.facts:
        of = f"plate {plate}" if "plates" not in content.facts else "several plates"
        raise SchemaError(
            f"{dest.address(name)}: holds {of}, and not {plate_in(name)} as its name says in a dataset; "
            "move it elsewhere, or name another dataset"
        )
    return content


def _content(metadata: "pq.FileMetaData") -> Content:
    return Content(metadata.num_rows, columns_of(metadata.schema.to_arrow_schema()), facts_in(metadata))
