"""Joining compartment files by the user's own DuckDB SQL, where no preset describes the join."""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import FileSystemError, OptionError, OutOfMemoryError
from cytotable_dagster.core.model.names import joined_order
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.parquet.writing import write_batches
from cytotable_dagster.core.planning.plan import ADDED_TABLE_NUMBER, OWN_TABLE_NUMBER
from cytotable_dagster.core.steps.chunk_files import file_facts
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import duckdb

_ROWS_AT_ONCE = 4096


def join_by_sql(sql: str, files: Mapping[str, Path], path: Path, facts: Mapping[str, str]) -> FileFacts:
    """Write what a query over compartment files returns.

    In the query the files are called `'cells.parquet'` or `'per_cells.parquet'`, in any case. Where it asks for
    CytoTable's `Image_TableNumber`, or would return the source's TableNumber several times, they have such instead.
    Metadata that it returns twice is numbered, as CytoTable numbers it.

    Args:
        files: compartment -> its file.

    Raises:
        OptionError: it is no single SELECT, DuckDB refuses it, it reads another file, or it names a column twice.
    """
    import duckdb
    import pyarrow as pa

    started = time.perf_counter()
    with duckdb.connect() as duck:
        try:
            query = _over_files(sql, files)
            _check_reads(duck, query)
            _shut_in(duck, list(files.values()), path.with_name(f".{path.name}.spilled"))
            numbers = _table_numbers(duck, files)
            if _asks_for_numbers(sql, numbers) or _repeats(duck.sql(query).columns, numbers):
                query = _over_files(sql, files, numbers)
            reader = duck.sql(query).to_arrow_reader(_ROWS_AT_ONCE)
            names = _numbered(reader.schema.names)
            repeated = {name for name in names if names.count(name) > 1}
            if repeated:
                raise OptionError(f"joins: the query returns column {min(repeated)} twice; EXCLUDE it from one table")
            order = joined_order(names)
            types = dict(zip(names, reader.schema.types, strict=True))
            schema = pa.schema([(name, types[name]) for name in order])
            batches = (pa.Table.from_batches([batch]).rename_columns(names).select(order) for batch in reader)
            write_batches(path, schema, batches, {**facts, "joins": sql_text(sql)})
        except duckdb.OutOfMemoryException as error:
            raise OutOfMemoryError(f"joins: DuckDB has too little memory or room ({_said(error)})") from error
        except duckdb.IOException as error:
            raise FileSystemError(f"joins: DuckDB cannot read or write its files ({_said(error)})") from error
        except duckdb.PermissionException as error:
            named = ", ".join(f"'{name.lower()}.parquet'" for name in files)
            raise OptionError(
                f"joins: the query may read the compartments' files ({named}) and nothing else ({_said(error)})"
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
    duck.execute(f"SET threads = {cores()}")
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


def _over_files(sql: str, files: Mapping[str, Path], numbers: Mapping[str, str] | None = None) -> str:
    """The query with the files' paths; `numbers` are the columns of compartments that are to be called as CytoTable
    calls the TableNumber; beside their own name, where the query has that too."""
    in_both_ways = any(column.lower() in sql.lower() for column in (numbers or {}).values())
    for compartment, file in files.items():
        called, path = rf"'(?:per_)?{re.escape(compartment)}\.parquet'", _literal(file)
        if numbers and compartment in numbers:
            column, name = numbers[compartment], f"{compartment}_TableNumber"
            star = f'*, "{column}" AS "{name}"' if in_both_ways else f'* RENAME ("{column}" AS "{name}")'
            own = f"(SELECT {star} FROM read_parquet({path}))"
            sql = _replaced(rf"()(?:read_parquet|parquet_scan)\s*\(\s*{called}\s*\)", own, sql)
            sql = _replaced(rf"(\b(?:FROM|JOIN)\s*|,\s*){called}", own, sql)
        sql = _replaced(f"(){called}", path, sql)
    return sql


def _replaced(pattern: str, text: str, sql: str) -> str:
    """The query with something else for what a pattern finds, but for its first group."""
    return re.sub(pattern, lambda found: found[1] + text, sql, flags=re.IGNORECASE)


def _table_numbers(duck: "duckdb.DuckDBPyConnection", files: Mapping[str, Path]) -> dict[str, str]:
    """For each compartment that has one the column with the source's own TableNumber, which makes room for that of
    several plates."""
    columns = {name: duck.sql(f"FROM read_parquet({_literal(file)})").columns for name, file in files.items()}
    own = OWN_TABLE_NUMBER if any(OWN_TABLE_NUMBER in names for names in columns.values()) else ADDED_TABLE_NUMBER
    return {name: own for name, names in columns.items() if own in names}


def _asks_for_numbers(sql: str, numbers: Mapping[str, str]) -> bool:
    """Whether a query names a TableNumber as CytoTable calls it."""
    names = "|".join(map(re.escape, numbers))
    return bool(names) and re.search(rf"\b(?:{names})_TableNumber\b", sql, flags=re.IGNORECASE) is not None


def _repeats(columns: Sequence[str], numbers: Mapping[str, str]) -> bool:
    return any(columns.count(column) > 1 for column in set(numbers.values()))


def _numbered(names: Sequence[str]) -> list[str]:
    """Names of columns, those of metadata made different by numbers."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        again = seen[name] and name.startswith("Metadata_")
        result.append(f"{name}_{seen[name]}" if again else name)
        seen[name] += 1
    return result


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
