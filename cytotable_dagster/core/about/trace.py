"""The way back from a column of a result to the source: asked of the map that lies beside the tables."""

import difflib
import json
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.about.columns import FILE, MappedColumn
from cytotable_dagster.core.errors import OptionError, SourceNotFoundError, TargetError
from cytotable_dagster.core.parquet.writing import facts_in
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.other_results import other_result
from cytotable_dagster.core.support.written_paths import expanded

if TYPE_CHECKING:
    import pyarrow as pa

_USUAL = "single_cells.parquet"


@dataclass(frozen=True)
class Trace:
    """Where a column comes from: its row of the map, and what the file's footer tells of the source."""

    file: str
    column: MappedColumn
    plate: str | None
    etag: str | None
    digest: str | None
    preset: str | None
    version: str | None

    def as_dict(self) -> dict[str, Any]:
        """All of it, flat, for JSON."""
        rest = {name: value for name, value in asdict(self).items() if name != "column"}
        # JSON has no infinity.
        column = {name: _as_json(value) for name, value in asdict(self.column).items()}
        return {**column, **rest}

    def __str__(self) -> str:
        column = self.column
        source = column.source_column or "none: the converter added it, or a query made it"
        seen = "" if column.rows_seen == column.rows else f" of {column.rows_seen:,} rows looked at"
        lines = [
            ("column", f"{column.column} ({column.type}) of {self.file}"),
            ("source column", source),
            ("source table", column.source_table),
            ("source file", column.source_file),
            ("ETag", self.etag),
            ("digest", self.digest),
            ("plate", self.plate),
            ("measures", ", ".join(filter(None, (column.compartment, column.family, column.channel)))),
            ("rows", f"{column.rows:,}, {column.nulls:,} without a value{seen}"),
            ("range", _range(column)),
            ("made by", f"cytotable_dagster {self.version}, preset {self.preset}"),
        ]
        return "\n".join(f"{name:14} {value}" for name, value in lines if value is not None)


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _range(column: MappedColumn) -> str | None:
    if column.minimum is None or column.maximum is None:
        return None
    middle = "" if column.median is None else f", median {column.median:g}"
    some = "" if column.median_rows == column.rows else f" of {column.median_rows:,} rows"
    return f"{column.minimum:g} to {column.maximum:g}{middle}{some}"


@errors_of_machine()
def trace(path: str | Path, column: str, **cloud: Any) -> Trace:
    """Where a column of a result comes from.

    Args:
        path: a Parquet file that `convert(..., column_map=True)` or Dagster made, a folder of its chunk files, or the
            folder that `single_cells.parquet` is in; local or of a store.
        cloud: what the store's client takes, see `convert`.

    Raises:
        SourceNotFoundError: there is no such file, or no map of it beside it.
        TargetError: it has no such column.
        OptionError: it is no Parquet file of ours.
    """
    place, name = _split(path, Store.checked(cloud))
    facts = _facts(place, name)
    if "compartment" not in facts or "fingerprint" not in facts:
        raise OptionError(
            f"{place.address(name)}: no table of one plate that was made here; a column is traced in a "
            "table of its plate, not in one of several plates"
        )
    rows = _map_of(place, name, facts)
    columns = rows.column("column").to_pylist()
    if column not in columns:
        like = difflib.get_close_matches(column, columns, n=3, cutoff=0.5)
        meant = f"; did you mean {', '.join(like)}?" if like else ""
        raise TargetError(f"{place.address(name)}: no column {column!r} among its {len(columns):,}{meant}")
    return Trace(
        file=place.address(name),
        column=MappedColumn(**rows.slice(columns.index(column), 1).to_pylist()[0]),
        plate=facts.get("plate"),
        etag=facts.get("source_etag"),
        digest=facts.get("source_digest"),
        preset=facts.get("preset"),
        version=facts.get("version"),
    )


def _split(path: str | Path, store: Store) -> tuple[Destination, str]:
    """The folder of a table, and its name in it; of a folder with a joined table that one."""
    address = expanded(address_in("path", path)).rstrip("/")
    if not is_remote(address):
        address = str(Path(address).absolute())
    if other := other_result(address):
        raise OptionError(
            f"{address}: {other}; a column is traced in a Parquet file that was made with column_map=True"
        )
    folder, _, name = address.rpartition("/")
    place = destination_of(folder, store)
    held = {stored.name for stored in place.list(name)}
    if f"{name}/{_USUAL}" in held:
        return destination_of(address, store), _USUAL
    if f"{name}/{FILE}" in held:
        raise OptionError(f"{address}: a folder of tables; name one of them, such as {address}/Cells.parquet")
    return place, name


def _facts(place: Destination, name: str) -> dict[str, str]:
    """What the footer of a file tells, or of the first file of a folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    inside = [stored.name for stored in place.list(name) if stored.name.endswith(".parquet")]
    try:
        with closing(place.open(inside[0] if inside else name)) as file:
            return facts_in(pq.read_metadata(file))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SourceNotFoundError(f"{place.address(name)}: no such file") from error
    except pa.ArrowInvalid as error:
        raise OptionError(f"{place.address(name)}: not a whole Parquet file") from error


def _map_of(place: Destination, name: str, facts: Mapping[str, str]) -> "pa.Table":
    """The rows of a table's columns."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with closing(place.open(FILE)) as file:
            table = pq.read_table(file)
    except FileNotFoundError as error:
        raise SourceNotFoundError(
            f"{place.address(name)}: no map of its columns ({FILE}) lies beside it; convert with column_map=True, or "
            "ask of the file in the lake"
        ) from error
    made_of = json.loads((table.schema.metadata or {}).get(b"cytotable_dagster:tables", b"{}"))
    # Several tables may have been made into one folder, one after the other.
    if made_of.get(facts["compartment"]) != facts["fingerprint"]:
        raise SourceNotFoundError(
            f"{place.address(name)}: the map of columns beside it is of other tables; make it anew, by column_map=True"
        )
    return table.filter(pc.field("table") == facts["compartment"])
