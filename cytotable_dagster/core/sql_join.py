"""Joining compartment files by the user's own DuckDB SQL, where no preset describes the join."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.columns import joined_order
from cytotable_dagster.core.compartments import file_facts
from cytotable_dagster.core.errors import FileSystemError, OptionError, OutOfMemoryError
from cytotable_dagster.core.parquet import write_batches
from cytotable_dagster.core.types import FileFacts

if TYPE_CHECKING:
    import duckdb

_ROWS_AT_ONCE = 4096


def join_by_sql(sql: str, files: Mapping[str, Path], path: Path, facts: Mapping[str, str]) -> FileFacts:
    """Write what a query over compartment files returns.

    In the query the files are called `'cells.parquet'` or `'per_cells.parquet'`, in any case.

    Args:
        files: compartment -> its file.

    Raises:
        OptionError: it is no single SELECT, DuckDB refuses it, it reads another file, or it names a column twice.
    """
    import duckdb
    import pyarrow as pa

    started = time.perf_counter()
    query = sql
    for compartment, file in files.items():
        query = _with_path(query, compartment, file)
    with duckdb.connect() as duck:
        try:
            _check_reads(duck, query)
            _shut_in(duck, list(files.values()), path.with_name(f".{path.name}.spilled"))
            reader = duck.sql(query).to_arrow_reader(_ROWS_AT_ONCE)
            names = reader.schema.names
            repeated = {name for name in names if names.count(name) > 1}
            if repeated:
                raise OptionError(f"joins: the query returns column {min(repeated)} twice; EXCLUDE it from one table")
            order = joined_order(names)
            schema = pa.schema([reader.schema.field(name) for name in order])
            batches = (pa.Table.from_batches([batch]).select(order) for batch in reader)
            write_batches(path, schema, batches, {**facts, "joins": sql_text(sql)})
        except duckdb.OutOfMemoryException as error:
            raise OutOfMemoryError(f"joins: DuckDB has too little memory or room ({_said(error)})") from error
        except duckdb.IOException as error:
            raise FileSystemError(f"joins: DuckDB cannot read or write its files ({_said(error)})") from error
        except duckdb.PermissionException as error:
            raise OptionError(
                f"joins: the query may read the compartments' files and nothing else ({_said(error)})"
            ) from error
        except duckdb.Error as error:
            raise OptionError(f"joins: DuckDB refuses the query ({_said(error)})") from error
    return file_facts(path, started)


def _check_reads(duck: "duckdb.DuckDBPyConnection", query: str) -> None:
    """Make sure that a query is one statement, and one that reads."""
    import duckdb

    statements = duck.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        said = ", ".join(str(statement.type).rpartition(".")[2] for statement in statements) or "nothing"
        raise OptionError(f"joins: one SELECT over the compartments' files is expected, not {said}")


def _shut_in(duck: "duckdb.DuckDBPyConnection", files: Sequence[Path], spilled: Path) -> None:
    """Let DuckDB read these files, write what does not fit into memory to a folder, and do nothing else."""
    duck.execute("SET autoinstall_known_extensions = false")
    duck.execute("SET autoload_known_extensions = false")
    duck.execute("SET python_enable_replacements = false")
    duck.execute(f"SET temp_directory = {_literal(spilled)}")
    duck.execute(f"SET allowed_paths = [{', '.join(map(_literal, files))}]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")


def _said(error: Exception) -> str:
    return str(error).splitlines()[0]


def sql_text(sql: str) -> str:
    """A query on one line."""
    return " ".join(sql.split())


def _with_path(sql: str, compartment: str, file: Path) -> str:
    called = rf"'(per_)?{re.escape(compartment)}\.parquet'"
    return re.sub(called, _literal(file).replace("\\", r"\\"), sql, flags=re.IGNORECASE)


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
