"""What is looked after before a warehouse is written to: that it is one, and that nothing unfinished lies there."""

import shutil
from pathlib import Path

from cytotable_dagster.core.errors import DestinationExistsError
from cytotable_dagster.core.sinks.iceberg.catalog import (
    CROPS,
    PROFILES,
    SOURCE_IMAGES,
    is_warehouse,
    load_table,
    open_catalog,
    table_names,
)
from cytotable_dagster.core.sinks.iceberg.tables import sweep


def clean(root: Path) -> None:
    """Remove what killed runs left.

    Raises:
        DestinationExistsError: what is there is no warehouse. SourceFormatError: it is damaged.
    """
    if root.exists() and not is_warehouse(root) and not (root.is_dir() and not any(root.iterdir())):
        raise DestinationExistsError(
            f"{root}: exists and is no warehouse, and so is not made one; remove it, or name another dest_path"
        )
    if not is_warehouse(root):
        return
    with open_catalog(root) as catalog:
        names = table_names(catalog)
        for name in names:
            sweep(load_table(catalog, name, root), f"{root}: table {name}")
    for name in {PROFILES, CROPS, SOURCE_IMAGES} - {*names}:
        # The first plate of it was not finished.
        shutil.rmtree(root.joinpath(*name.split(".")), ignore_errors=True)
