"""The wide plate: a real one's shape, links that do not all resolve, the same bytes every time."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster.demo.wide_columns import features_of
from cytotable_dagster_tests.digests import digest


def test_columns_are_those_of_a_real_plate() -> None:
    assert len(features_of("Cells", 10_000)) == 1935
    for table in ("Image", "Cells", "Cytoplasm", "Nuclei"):
        names = [feature.name for feature in features_of(table, 10_000)]
        assert len(set(names)) == len(names)
        assert len(features_of(table, 40)) == 40


def test_wide_plate_has_the_shape_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / "wide.sqlite"
    counts = write_wide_plate(path, images=6, objects_per_image=60)
    assert [file.name for file in path.parent.iterdir()] == ["wide.sqlite"]
    assert counts["Image"] == 6
    assert counts["Nuclei"] > counts["Cells"] >= counts["Cytoplasm"] > 300
    with closing(sqlite3.connect(path)) as tables:
        for table, rows in counts.items():
            assert tables.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)
        width = len(tables.execute("PRAGMA table_info(Cells)").fetchall())
        assert 1920 <= width <= 1945
        kinds = [set(column) for column in zip(*_types_of_cells(tables), strict=True)]
        assert {"real", "integer", "null"} <= set().union(*kinds)
        orphans = tables.execute("SELECT count(*) FROM Cytoplasm WHERE Cytoplasm_Parent_Nuclei = 0")
        assert orphans.fetchone()[0] > 0


def _types_of_cells(tables: sqlite3.Connection) -> list[tuple[str, ...]]:
    names = [row[1] for row in tables.execute("PRAGMA table_info(Cells)")][:200]
    return tables.execute(f"SELECT {', '.join(f'typeof({name})' for name in names)} FROM Cells").fetchall()


def test_parents_resolve_but_for_the_orphans(tmp_path: Path) -> None:
    path = tmp_path / "wide.sqlite"
    write_wide_plate(path, images=5, objects_per_image=50, features=8)
    with closing(sqlite3.connect(path)) as tables:
        for column, parent in (("Cytoplasm_Parent_Cells", "Cells"), ("Cytoplasm_Parent_Nuclei", "Nuclei")):
            lost = tables.execute(
                f"SELECT count(*) FROM Cytoplasm y LEFT JOIN {parent} p ON p.TableNumber = y.TableNumber "
                f"AND p.ObjectNumber = y.{column} WHERE p.ObjectNumber IS NULL AND y.{column} <> 0"
            )
            assert lost.fetchone() == (0,)
        childless = tables.execute("SELECT count(*) FROM Nuclei WHERE Nuclei_Children_Cytoplasm_Count = 0")
        assert childless.fetchone()[0] > 0


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_wide_plate(tmp_path / name, images=2, objects_per_image=10, features=100, seed=5)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    write_wide_plate(tmp_path / "c", images=2, objects_per_image=10, features=100, seed=6)
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_indexes_are_optional(tmp_path: Path) -> None:
    for indexes, expected in ((True, 5), (False, 0)):
        path = tmp_path / f"{indexes}.sqlite"
        write_wide_plate(path, images=1, objects_per_image=3, features=5, indexes=indexes)
        with closing(sqlite3.connect(path)) as tables:
            count = tables.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone()
        assert count == (expected,)


def test_plate_without_objects(tmp_path: Path) -> None:
    counts = write_wide_plate(tmp_path / "empty.sqlite", images=2, objects_per_image=0, features=5)
    assert counts == {"Image": 2, "Cells": 0, "Cytoplasm": 0, "Nuclei": 0}


def test_impossible_plate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="images=0"):
        write_wide_plate(tmp_path / "x.sqlite", images=0, objects_per_image=1)
    assert list(tmp_path.iterdir()) == []
