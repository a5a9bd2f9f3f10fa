"""Results that are no plates and no Parquet files: what a path is, where it is one of these.

AnnData and Lance are known by their names, as they are when they are written; a warehouse by its catalog.
"""

from collections.abc import Sequence
from pathlib import Path

from cytotable_dagster.core.support.written_paths import expanded

_ENDINGS = {".h5ad": "AnnData", ".zarr": "AnnData", ".lance": "crops of cells"}
# CytoTable's warehouses have both, too; a plate's file may be called catalog.db.
_WAREHOUSE = ("catalog.json", "profiles")


def other_result(address: str | Path) -> str | None:
    """What such a result is called; None for whatever else is there, or is not."""
    path = Path(expanded(address, to_read=True))
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    return "a warehouse of Iceberg tables" if all((path / name).exists() for name in _WAREHOUSE) else None


def outside_warehouses(files: Sequence[str]) -> list[str]:
    """Those of the files in a folder and below it, called as of the folder, that are no part of a warehouse there."""
    catalog, tables = _WAREHOUSE
    folders = [file.removesuffix(catalog) for file in files if file.rpartition("/")[2] == catalog]
    warehouses = tuple(folder for folder in folders if any(file.startswith(f"{folder}{tables}/") for file in files))
    return [file for file in files if not file.startswith(warehouses)]
