"""What is measured in a process of its own: python -m benchmarks.tasks REQUEST RESPONSE.

Each task returns its facts, among them `seconds`: those of the work itself, without imports and preparation.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import dagster_tasks, image_tasks, store_tasks
from benchmarks.clock import Clock

Facts = dict[str, Any]

TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")
BLOCK = 1 << 24


def convert(**arguments: Any) -> Facts:
    """Our convert()."""
    import cytotable_dagster.core.convert  # noqa: F401  (what convert() brings with it)
    from cytotable_dagster import convert

    clock = Clock()
    result = convert(**arguments)
    seconds, cpu = clock.read()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "rows": {output.path.stem: output.rows for output in result.outputs},
        "bytes": sum(output.size for output in result.outputs),
    }


def convert_each(sources: list[str], dest: str, **arguments: Any) -> Facts:
    """Our convert() of one plate after the other; `seconds` are those of all calls."""
    made = [convert(source_path=source, dest_path=Path(dest) / str(n), **arguments) for n, source in enumerate(sources)]
    return {name: sum(facts[name] for facts in made) for name in ("seconds", "cpu", "bytes")}


def first_convert(folder: str, **arguments: Any) -> Facts:
    """Our convert() on a machine that has compiled nothing yet."""
    for name in ("CYTOTABLE_KERNEL_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(HOME=folder, TMPDIR=folder)
    return convert(**arguments)


def dataset_add(**arguments: Any) -> Facts:
    """Plates into our dataset."""
    import cytotable_dagster.core.convert  # noqa: F401  (what convert() brings with it)
    from cytotable_dagster import datasets

    started = time.perf_counter()
    result = datasets.add(**arguments)
    return {"seconds": time.perf_counter() - started, "plates": len(result.sources)}


def dataset_remove(**arguments: Any) -> Facts:
    """A plate out of our dataset."""
    from cytotable_dagster import datasets

    started = time.perf_counter()
    datasets.remove(**arguments)
    return {"seconds": time.perf_counter() - started}


def duckdb_average(address: str, column: str) -> Facts:
    """DuckDB counting rows and averaging a column over Parquet files."""
    import duckdb

    with duckdb.connect() as connection:
        started = time.perf_counter()
        answer = connection.execute(f"SELECT count(*), avg({column}) FROM read_parquet('{address}')").fetchall()
        # In another order a sum of floats is another.
        return {"seconds": time.perf_counter() - started, "answer": [answer[0][0], float(f"{answer[0][1]:.9g}")]}


def duckdb_copy(source: str, dest: str) -> Facts:
    """DuckDB's own COPY of each table to a Parquet file."""
    import duckdb
    import duckdb_extension_sqlite_scanner as package

    (scanner,) = Path(package.__file__).parent.rglob("sqlite_scanner.duckdb_extension")
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{scanner}'")
        started = time.perf_counter()
        for table in TABLES:
            connection.execute(
                f"COPY (SELECT * FROM sqlite_scan('{source}', '{table}')) TO '{dest}/{table}.parquet' (FORMAT parquet)"
            )
        return {"seconds": time.perf_counter() - started}


def sqlite_last_column(source: str) -> Facts:
    """SQLite walking to the last column of every row."""
    import sqlite3

    connection = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    started = time.perf_counter()
    for table in TABLES:
        last = connection.execute(f"SELECT name FROM pragma_table_info('{table}') ORDER BY cid DESC LIMIT 1").fetchone()
        connection.execute(f'SELECT count("{last[0]}") FROM "{table}"').fetchone()
    seconds = time.perf_counter() - started
    connection.close()
    return {"seconds": seconds}


def read_file(source: str) -> Facts:
    """Every byte of the file, once, into one buffer."""
    buffer = bytearray(BLOCK)
    started = time.perf_counter()
    with Path(source).open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return {"seconds": time.perf_counter() - started}


def encode(folder: str, dest: str) -> Facts:
    """Our writer writing the tables that lie in `folder`, from memory, in their row groups, on one thread."""
    import pyarrow.parquet as pq

    from cytotable_dagster.core.parquet.writing import write_batches

    seconds = 0.0
    for path in sorted(Path(folder).glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow.remove_metadata()
            groups = [file.read_row_group(number).cast(schema) for number in range(file.num_row_groups)]
        # The first call loads what is compiled.
        write_batches(Path(dest) / path.name, schema, [groups[0][:1]], {"version": ""})
        started = time.perf_counter()
        write_batches(Path(dest) / path.name, schema, groups, {"version": ""})
        seconds += time.perf_counter() - started
    return {"seconds": seconds}


def decode(source: str, dest: str) -> Facts:
    """Our reader giving every value of every table in Arrow arrays, on one thread."""
    from cytotable_dagster.core.planning.options import Options
    from cytotable_dagster.core.steps.batches import read_batches

    plan = _plan(source, dest, Options())
    for compartment in plan.compartments:
        # The first call loads what is compiled.
        next(read_batches(plan, compartment, plan.rows(compartment, 0)[:1]))
    values = 0
    started = time.perf_counter()
    for compartment in plan.compartments:
        rows = [batch for chunk in range(plan.chunk_count) for batch in plan.rows(compartment, chunk)]
        for table, _ in read_batches(plan, compartment, rows):
            values += table.num_rows * table.num_columns
    return {"seconds": time.perf_counter() - started, "values": values}


def one_image(source: str, dest: str, images: int) -> Facts:
    """Converting one image again, of a plate whose plan is kept: its chunk of every table."""
    from cytotable_dagster.core.planning.options import Options
    from cytotable_dagster.core.steps.chunk_files import write_chunks

    plan = _plan(source, dest, Options(chunks=images))
    write_chunks(plan.folder, plan.compartments[0], [0], Path(dest) / "first")
    started = time.perf_counter()
    for compartment in plan.compartments:
        write_chunks(plan.folder, compartment, [images // 2], Path(dest) / compartment)
    return {"seconds": time.perf_counter() - started}


def pandas_join(source: str, dest: str) -> Facts:
    """What an analyst writes: every CSV read with pandas, merged on the same keys, written to Parquet."""
    import pandas as pd

    def read(table: str) -> pd.DataFrame:
        parts = {path.parent.name: pd.read_csv(path) for path in sorted(Path(source).rglob(f"{table}.csv"))}
        return pd.concat(parts, names=["Site", None]).reset_index("Site").add_prefix(f"{table}_")

    started = time.perf_counter()
    joined = read("Cytoplasm")
    for table in ("Cells", "Nuclei"):
        joined = joined.merge(
            read(table),
            how="left",
            left_on=["Cytoplasm_Site", "Cytoplasm_ImageNumber", f"Cytoplasm_Parent_{table}"],
            right_on=[f"{table}_Site", f"{table}_ImageNumber", f"{table}_ObjectNumber"],
        )
    joined = joined.merge(
        read("Image"),
        how="left",
        left_on=["Cytoplasm_Site", "Cytoplasm_ImageNumber"],
        right_on=["Image_Site", "Image_ImageNumber"],
    )
    joined.to_parquet(dest)
    return {"seconds": time.perf_counter() - started, "rows": len(joined)}


def _plan(source: str, dest: str, options: Any) -> Any:
    from cytotable_dagster.core.intake.cache import fetch
    from cytotable_dagster.core.intake.cache_place import Cache
    from cytotable_dagster.core.intake.discover import find_plate
    from cytotable_dagster.core.planning.make_plan import make_plan
    from cytotable_dagster.core.sources.detection import resolved_preset
    from cytotable_dagster.core.storage.store import Store

    found = fetch(find_plate(source, "sqlite", Store()), Cache())
    return make_plan(found, resolved_preset(found, None), options, Path(dest) / "plan")


TASKS: dict[str, Callable[..., Facts]] = {
    task.__name__: task
    for task in (
        *(
            convert,
            convert_each,
            first_convert,
            dagster_tasks.dagster_run,
            dagster_tasks.launched_runs,
            image_tasks.crops,
            image_tasks.crops_saved,
            image_tasks.crops_digests,
            image_tasks.crops_and_floor,
            store_tasks.fetch,
            dataset_add,
            dataset_remove,
            duckdb_average,
            duckdb_copy,
            sqlite_last_column,
            read_file,
            encode,
        ),
        *(decode, one_image, pandas_join),
    )
}


def main(request_path: str, response_path: str) -> None:
    request = json.loads(Path(request_path).read_text())
    facts = TASKS[request["task"]](**request["arguments"])
    Path(response_path).write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
