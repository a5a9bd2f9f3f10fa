"""Joining compartment files by the user's own DuckDB SQL, where no preset describes the join."""

import re
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import FileSystemError, OptionError, OutOfMemoryError
from cytotable_dagster.core.model.names import joined_order
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.parquet.writing import write_batches
from cytotable_dagster.core.steps.chunk_files import file_facts

if TYPE_CHECKING:
    import duckdb

_ROWS_AT_ONCE = 4096
_NUMBER = "Metadata_TableNumber"


def join_by_sql(sql: str, files: Mapping[str, Path], path: Path, facts: Mapping[str, str]) -> FileFacts:
    """Write what a query over compartment files returns.

    In the query the files are called `'cells.parquet'` or `'per_cells.parquet'`, in any case. Where it asks for
    CytoTable's `Image_TableNumber`, or would return several `Metadata_TableNumber`, they have such instead. Metadata
    that it returns twice is numbered, as CytoTable numbers it.

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
            if _asks_for_numbers(sql, files) or duck.sql(query).columns.count(_NUMBER) > 1:
                query = _over_files(sql, files, renamed=_numbered_tables(duck, files))
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


def _over_files(sql: str, files: Mapping[str, Path], renamed: Collection[str] = ()) -> str:
    """The query with the files' paths; `renamed` are the compartments whose TableNumber is called as CytoTable does."""
    for compartment, file in files.items():
        called, path = rf"'(per_)?{re.escape(compartment)}\.parquet'", _literal(file)
        if compartment in renamed:
            own = f'(SELECT * RENAME ({_NUMBER} AS "{compartment}_TableNumber") FROM read_parquet({path}))'
            sql = _replaced(rf"read_parquet\s*\(\s*{called}\s*\)", own, sql)
            sql = _replaced(rf"(?<=\bFROM )\s*{called}|(?<=\bJOIN )\s*{called}", own, sql)
        sql = _replaced(called, path, sql)
    return sql


def _replaced(pattern: str, text: str, sql: str) -> str:
    return re.sub(pattern, lambda _: text, sql, flags=re.IGNORECASE)


def _asks_for_numbers(sql: str, files: Mapping[str, Path]) -> bool:
    """Whether a query names a TableNumber as CytoTable calls it, and none as it is called here."""
    names = "|".join(map(re.escape, files))
    return _NUMBER not in sql and re.search(rf"\b({names})_TableNumber\b", sql) is not None


def _numbered_tables(duck: "duckdb.DuckDBPyConnection", files: Mapping[str, Path]) -> list[str]:
    return [name for name, file in files.items() if _NUMBER in duck.sql(f"FROM read_parquet({_literal(file)})").columns]


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
