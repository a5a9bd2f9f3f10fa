"""Joining compartment files by the user's own DuckDB SQL, where no preset describes the join."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

from cytotable_dagster.core.columns import joined_order
from cytotable_dagster.core.compartments import file_facts
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.parquet import write_batches
from cytotable_dagster.core.types import FileFacts

_ROWS_AT_ONCE = 4096


def join_by_sql(sql: str, files: Mapping[str, Path], path: Path, facts: Mapping[str, str]) -> FileFacts:
    """Write what a query over compartment files returns.

    In the query the files are called `'cells.parquet'` or `'per_cells.parquet'`, in any case.

    Args:
        files: compartment -> its file.

    Raises:
        OptionError: DuckDB refuses the query, or it names a column twice.
    """
    import duckdb
    import pyarrow as pa

    started = time.perf_counter()
    query = sql
    for compartment, file in files.items():
        query = _with_path(query, compartment, file)
    with duckdb.connect() as duck:
        try:
            relation = duck.sql(query)
            if relation is None:
                raise OptionError("joins: the query returns nothing; write a SELECT over the compartments' files")
            reader = relation.to_arrow_reader(_ROWS_AT_ONCE)
            names = reader.schema.names
            repeated = {name for name in names if names.count(name) > 1}
            if repeated:
                raise OptionError(f"joins: the query returns column {min(repeated)} twice; EXCLUDE it from one table")
            order = joined_order(names)
            schema = pa.schema([reader.schema.field(name) for name in order])
            batches = (pa.Table.from_batches([batch]).select(order) for batch in reader)
            write_batches(path, schema, batches, {**facts, "joins": sql_text(sql)})
        except duckdb.Error as error:
            raise OptionError(f"joins: DuckDB refuses the query ({str(error).splitlines()[0]})") from error
    return file_facts(path, started)


def sql_text(sql: str) -> str:
    """A query on one line."""
    return " ".join(sql.split())


def _with_path(sql: str, compartment: str, file: Path) -> str:
    literal = "'" + str(file).replace("'", "''") + "'"
    called = rf"'(per_)?{re.escape(compartment)}\.parquet'"
    return re.sub(called, literal.replace("\\", r"\\"), sql, flags=re.IGNORECASE)
