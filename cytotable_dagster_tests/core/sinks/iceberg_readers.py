"""How others read a warehouse's table of profiles: pyiceberg, polars and DuckDB, with nothing of ours."""

from contextlib import closing
from importlib import import_module
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

TABLE = "profiles.joined_profiles"


def opened(root: Path) -> tuple[closing, Table]:
    """The table as pyiceberg alone opens it."""
    catalog = SqlCatalog("cytotable", uri=f"sqlite:///{root}/catalog.db", warehouse=root.as_uri())
    return closing(catalog), catalog.load_table(TABLE)


def by_polars(table: Table) -> pa.Table:
    return pl.scan_iceberg(table.metadata_location).collect().to_arrow()


def by_duckdb(table: Table) -> pa.Table:
    """By `iceberg_scan`, of an extension that is here as a package."""
    with duckdb.connect(config={"allow_unsigned_extensions": True, "autoinstall_known_extensions": False}) as link:
        for name in ("avro", "iceberg"):
            folder = Path(import_module(f"duckdb_extension_{name}").__file__).parent
            link.execute(f"LOAD '{next(folder.rglob(f'{name}.duckdb_extension'))}'")
        return link.execute("SELECT * FROM iceberg_scan(?)", [table.metadata_location]).to_arrow_table()
