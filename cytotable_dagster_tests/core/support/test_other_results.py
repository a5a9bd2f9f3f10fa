"""What was made by a conversion and is no Parquet file is named as what it is, by whatever asks for a plate or a table."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cytotable_dagster import convert, crops, errors, trace
from cytotable_dagster.core.images import find_provenance
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.intake.discover import find_plates
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.other_results import outside_warehouses
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite

READERS = {
    "convert": lambda path: convert(path, path.parent / "again"),
    "inspect": inspect_plate,
    "provenance": lambda path: find_provenance(path, path.parent / "again"),
    "trace": lambda path: trace(path, "Metadata_ImageNumber"),
    "crops": crops,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    source = write_sqlite(folder / "P1.sqlite", plate(JUMP))
    convert(source, folder / "cells.h5ad")
    convert(source, folder / "cells.zarr")
    convert(source, folder / "warehouse", dest_backend="iceberg")
    return folder


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("name", "called"),
    [("cells.h5ad", "AnnData"), ("cells.zarr", "AnnData"), ("warehouse", "a warehouse of Iceberg tables")],
)
def test_it_is_named_and_nothing_is_made(made: Path, name: str, called: str, read: Callable[[Path], object]) -> None:
    before = sorted(made.rglob("*"))
    with pytest.raises(errors.CytoTableError, match=rf"{name}: {called}[,;] "):
        read(made / name)
    assert sorted(made.rglob("*")) == before


def test_a_warehouse_below_a_folder_of_plates_is_none_of_them(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "warehouse", tmp_path / "plates" / "results" / "warehouse")
    (tmp_path / "plates" / "run").mkdir()
    shutil.copy(made / "P1.sqlite", tmp_path / "plates" / "run" / "catalog.db")
    found = find_plates(tmp_path / "plates", None, Store.checked({}))
    assert [plate.uri for plate in found] == [str(tmp_path / "plates" / "run" / "catalog.db")]


def test_a_warehouse_is_known_by_both_of_what_it_has() -> None:
    plates = ["catalog.db", "a/catalog.json", "a/catalog.db", "b/profiles/x.parquet", "b/P1.sqlite"]
    warehouse = ["w/catalog.json", "w/catalog.db", "w/profiles/x.parquet"]
    assert outside_warehouses([*plates, *warehouse]) == plates
    assert outside_warehouses([file.removeprefix("w/") for file in warehouse]) == []
