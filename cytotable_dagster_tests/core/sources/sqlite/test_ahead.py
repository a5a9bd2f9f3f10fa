"""What is read of a file while it comes is what is read of it when it is there, in whatever order it comes."""

import random
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cytotable_dagster.core.sources.sqlite import ahead
from cytotable_dagster.core.sources.sqlite.ahead import Ahead, keep, known_keys, known_profile, look_ahead
from cytotable_dagster.core.sources.sqlite.pages import PageTable, open_table
from cytotable_dagster.core.storage.download import Front
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.sqlite.test_pages import SHAPES
from cytotable_dagster_tests.core.sqlite_builder import build

KEYS = ["TableNumber", "ImageNumber", "ObjectNumber"]


def arriving(path: Path, content: bytes, span: int, seed: int, whole: bool = True) -> Ahead:
    """What is read of a file that comes in spans of so many bytes, in an order by the seed; the first not, unless it is
    `whole`."""
    with path.open("wb") as file:
        file.truncate(len(content))
    front = Front(path, len(content))
    starts = list(range(0, len(content), span))[0 if whole else 1 :]
    random.Random(seed).shuffle(starts)

    def come() -> None:
        try:
            with path.open("r+b", buffering=0) as file:
                for start in starts:
                    file.seek(start)
                    file.write(content[start : start + span])
                    front.came(start, min(start + span, len(content)))
        finally:
            front.close()

    coming = threading.Thread(target=come)
    coming.start()
    try:
        return look_ahead(path, front)
    finally:
        coming.join()


def check_same(found: Ahead, opened: PageTable) -> None:
    rows, columns = found.keys[opened.table.lower()]
    expected_rows, expected = opened.keys(list(columns))
    np.testing.assert_array_equal(rows, expected_rows)
    assert all(array.equals(other) for array, other in zip(columns.values(), expected, strict=True))
    np.testing.assert_array_equal(found.profiles[opened.table.lower()], opened.profile())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=SHAPES, span=st.sampled_from([100, 512, 5000, 70_000, 1 << 20]), seed=st.integers(0, 2**32))
def test_any_table_in_any_order(shape, span, seed, tmp_path, monkeypatch):
    path = tmp_path / "there.sqlite"
    path.unlink(missing_ok=True)
    build(path, shape)
    opened = open_table(path, "t")
    # Some of its columns, as its keys.
    names = [column.name for column in opened.columns]
    monkeypatch.setattr(ahead, "_key_columns", lambda: {*random.Random(seed).sample(names, min(3, len(names)))})
    content = path.read_bytes()
    # Not many thousands of spans.
    found = arriving(tmp_path / "coming.sqlite", content, max(span, len(content) // 300), seed)
    check_same(found, opened)


@pytest.mark.parametrize("seed", range(4))
def test_a_plate_and_its_columns_by_which_presets_tell_rows_apart(tmp_path, seed):
    path = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(4, 3)))
    found = arriving(tmp_path / "coming.sqlite", path.read_bytes(), 4096, seed)
    assert found.keys.keys() == found.profiles.keys() == {"image", "cells", "cytoplasm", "nuclei"}
    for table in ("Image", "Cells", "Cytoplasm", "Nuclei"):
        check_same(found, open_table(path, table))
    assert {*KEYS, "Cytoplasm_Parent_Cells", "Cytoplasm_Parent_Nuclei"} <= found.keys["cytoplasm"][1].keys()


def test_a_file_that_does_not_come_whole_is_waited_for_no_longer_than_its_download(tmp_path):
    path = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(2, 2)))
    with pytest.raises(EOFError):
        arriving(tmp_path / "coming.sqlite", path.read_bytes(), 4096, seed=1, whole=False)


def test_a_damaged_table_is_left_to_who_reads_the_file(tmp_path):
    path = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(4, 3)))
    with sqlite3.connect(path) as link:
        (root,) = link.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'Cells'").fetchone()
        size = link.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * size] = 77
    found = arriving(tmp_path / "coming.sqlite", bytes(content), 4096, seed=1)
    assert "cells" not in found.keys and "cells" not in found.profiles
    check_same(found, open_table(path, "Nuclei"))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"SQLite format 3\x00", b"x" * 5000])
def test_what_is_no_sqlite_file_gives_nothing(tmp_path, content):
    try:
        found = arriving(tmp_path / "coming", content, 1000, seed=1)
    except Exception as error:
        # Cut short within its header, which is told when it is opened.
        assert content.startswith(b"SQLite"), error
    else:
        assert found == Ahead()


def test_what_was_read_is_that_of_this_very_file_and_keys_are_given_once(tmp_path):
    path = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(2, 2)))
    other = tmp_path / "P2.sqlite"
    shutil.copyfile(path, other)
    keep(path, arriving(tmp_path / "coming.sqlite", path.read_bytes(), 4096, seed=1))
    assert known_keys(other, "Cells", KEYS) is None
    assert known_profile(other, "Cells") is None
    rows, columns = known_keys(path, "Cells", KEYS) or pytest.fail("it was read")
    expected_rows, expected = open_table(path, "Cells").keys(KEYS)
    np.testing.assert_array_equal(rows, expected_rows)
    assert all(array.equals(other) for array, other in zip(columns, expected, strict=True))
    assert known_keys(path, "Cells", KEYS) is None
    assert known_keys(path, "Nuclei", [*KEYS, "Nuclei_AreaShape_Area"]) is None
    assert known_profile(path, "Cells") is not None
    with sqlite3.connect(path) as link:
        link.execute("DELETE FROM Cells")
    link.close()
    assert known_profile(path, "Cells") is None
