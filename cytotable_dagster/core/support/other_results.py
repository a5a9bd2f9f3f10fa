"""Results that are no plates and no Parquet files: what a path is, where it is one of these.

AnnData and Lance are known by their names, as they are when they are written; a warehouse by its catalog.
"""

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
