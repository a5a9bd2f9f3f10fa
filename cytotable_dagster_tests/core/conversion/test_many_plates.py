"""Several plates in one call: looked through at once, encoded into their results, fetched once."""

import logging
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.conversion import looking
from cytotable_dagster.core.errors import CytoTableError, SourceFormatError, StrictError
from cytotable_dagster.core.planning import shapes
from cytotable_dagster.core.support.telling import Together, tell, watched
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.parquet.page_walk import check_file
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digests

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "tables": ("out", {}),
    "joined": ("out.parquet", {}),
    "dataset": ("out", {"concat": False}),
}
ALL_WAYS = pytest.mark.parametrize("way", WAYS)


def _plates(folder: Path, *, differ: bool) -> list[Path]:
    made = [
        write_sqlite(folder / f"{name}.sqlite", plate(JUMP, sites(*cells)))
        for name, cells in (("A", (3, 2)), ("B", (1, 4)), ("C", (2, 2)), ("D", (5,)))
    ]
    if differ:
        _change(made[1], "ALTER TABLE Cells ADD COLUMN Cells_Texture REAL", "UPDATE Cells SET Cells_Texture = 0.5")
        _change(made[2], "UPDATE Nuclei SET Nuclei_AreaShape_Area = 1.5 WHERE ObjectNumber = 1")
        _change(made[3], "ALTER TABLE Cells DROP COLUMN Cells_Intensity_Mean")
    return made


def _change(path: Path, *statements: str) -> None:
    link = sqlite3.connect(path)
    with link:
        for statement in statements:
            link.execute(statement)
    link.execute("VACUUM")
    link.close()


def _tables(folder: Path) -> dict[str, Any]:
    found = sorted(path for path in folder.rglob("*.parquet") if path.is_file())
    for path in found:
        check_file(path)
    return {str(path.relative_to(folder)): pq.read_table(path) for path in found}


@pytest.fixture
def stored(results_server, store_options, tmp_path) -> Any:
    """Puts plates into a bucket, and gives their addresses and options with a cache for one and a half of them."""
    from cytotable_dagster.demo.s3_server import s3_client

    client = s3_client(results_server.endpoint_url)

    def put(paths: list[Path]) -> tuple[list[str], dict[str, Any]]:
        for path in paths:
            client.put_object(Bucket=BUCKET, Key=f"{tmp_path.name}/{path.name}", Body=path.read_bytes())
        limit = int(1.5 * max(path.stat().st_size for path in paths))
        options = {**store_options, "local_cache_dir": str(tmp_path / "cache"), "cache_limit": limit}
        return [f"s3://{BUCKET}/{tmp_path.name}/{path.name}" for path in paths], options

    return put


@pytest.mark.parametrize(
    ("way", "room", "differ"), [("tables", 1.5, False), ("joined", 2.5, True), ("dataset", 1.5, True)]
)
def test_a_plate_is_fetched_once_though_the_cache_is_too_small_for_all(
    tmp_path, stored, caplog, passing, way, room, differ
) -> None:
    paths = _plates(tmp_path / "in", differ=differ)
    uris, options = stored(paths)
    options["cache_limit"] = int(options["cache_limit"] * room / 1.5)
    dest, more = WAYS[way]
    (tmp_path / "few").mkdir()
    (tmp_path / "all").mkdir()
    with caplog.at_level(logging.INFO, "cytotable_dagster"):
        few = convert(uris, tmp_path / "few" / dest, **more, **options)
    fetched = Counter(record.args[0] for record in caplog.records if record.msg.startswith("downloaded %s"))
    assert fetched == dict.fromkeys(uris, 1)
    assert Counter(f"s3:/{path}" for name, path in passing.keys if name == "GetObject") == fetched
    held = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.sqlite"))
    assert held <= options["cache_limit"]
    options |= {"cache_limit": None, "local_cache_dir": str(tmp_path / "large")}
    whole = convert(uris, tmp_path / "all" / dest, **more, **options)
    assert names_in(tmp_path / "few") == names_in(tmp_path / "all")
    found, expected = _tables(tmp_path / "few"), _tables(tmp_path / "all")
    assert found.keys() == expected.keys()
    assert all(found[name].equals(expected[name]) for name in found)
    assert few.report == whole.report
    if not differ:
        assert digests(tmp_path / "few", "*.parquet") == digests(tmp_path / "all", "*.parquet")


def test_types_that_only_a_plate_can_settle_that_has_made_way_are_settled(tmp_path, stored) -> None:
    paths = _plates(tmp_path / "in", differ=False)
    _change(paths[0], "ALTER TABLE Cells ADD COLUMN Cells_Label FLOAT")
    _change(paths[2], "ALTER TABLE Cells ADD COLUMN Cells_Label TEXT", "UPDATE Cells SET Cells_Label = 'x'")
    uris, options = stored(paths)
    for way in ("tables", "dataset"):
        (dest, more), few, whole = WAYS[way], tmp_path / way, tmp_path / f"all-{way}"
        convert(uris, few / dest, **more, **options)
        convert(paths, whole / dest, **more)
        found, expected = _tables(few), _tables(whole)
        assert {name: table.schema for name, table in found.items()} == {
            name: table.schema for name, table in expected.items()
        }
        assert [table.num_rows for table in found.values()] == [table.num_rows for table in expected.values()]


@ALL_WAYS
def test_whole_numbers_that_a_later_plate_rounds_are_told_though_the_cache_is_too_small(tmp_path, stored, way) -> None:
    paths = _plates(tmp_path / "in", differ=False)
    area = "UPDATE Nuclei SET Nuclei_AreaShape_Area = {} WHERE ObjectNumber = 1"
    for number, value in ((0, 7), (1, 2**53 + 1), (2, 0.5)):
        _change(paths[number], area.format(value))
    uris, options = stored(paths)
    dest, more = WAYS[way]
    rows = pq.read_table(convert(paths[1], tmp_path / "one")["Nuclei"])["Nuclei_AreaShape_Area"].to_pylist()
    counted = rows.count(2**53 + 1)
    told = rf"plate B: {counted} whole numbers .* were rounded"
    if way != "joined":  # whose rows have no partners besides
        with pytest.raises(StrictError, match=told):
            convert(uris, tmp_path / "strict", targets=["nuclei"], strict=True, **more, **options)
    report = convert(uris, tmp_path / "out" / dest, **more, **options).report
    (line,) = (line for line in report.problems if "rounded" in line)
    assert f"plate B: {counted} whole numbers of Nuclei_AreaShape_Area have" in line
    report = convert(paths, tmp_path / "all" / dest, **more).report
    (again,) = (line for line in report.problems if "rounded" in line)
    assert f"{counted} whole numbers of Nuclei_AreaShape_Area have" in again


@ALL_WAYS
def test_the_first_plate_that_fails_is_told_whichever_is_looked_through_first(tmp_path, monkeypatch, way) -> None:
    paths = _plates(tmp_path / "in", differ=False)
    for path in paths[1:3]:
        path.write_text("no database")
    looked, later = looking.looked_at, threading.Event()

    def late(plate: Any, *rest: Any) -> Any:
        if plate.name == "B":
            later.wait()
        try:
            return looked(plate, *rest)
        finally:
            if plate.name == "C":
                later.set()

    monkeypatch.setattr(looking, "looked_at", late)
    monkeypatch.setattr(looking, "cores", lambda: 4)
    dest, more = WAYS[way]
    with pytest.raises(SourceFormatError, match=r"B\.sqlite"):
        convert(paths, tmp_path / dest, **more)
    assert names_in(tmp_path) == ["in", *(f"in/{path.name}" for path in paths)]
    result = convert(paths, tmp_path / dest, on_error="skip", **more)
    assert [name for name, _ in result.report.skipped_plates] == ["B", "C"]
    assert [source.plate for source in result.sources] == ["A", "D"]


@pytest.mark.parametrize("store", [False, True], ids=["folder", "store"])
def test_rows_of_a_plate_that_is_skipped_after_they_were_written_go(request, tmp_path, store) -> None:
    paths = _plates(tmp_path / "in", differ=False)
    # Known to be wrong only when the values are converted.
    _change(paths[1], "UPDATE Cells SET Cells_Intensity_Mean = 'much' WHERE ObjectNumber = 1")
    strict = {"strict": True, "on_error": "skip", "compartments": ["cells"], "chunk_size": 2}
    place: Any = tmp_path / "few"
    options = {}
    if store:
        there = request.getfixturevalue("in_store")
        place, options = there.address(), {"dest_cloud": there.store.options}
    found = convert(paths, place, **strict, **options)  # type: ignore[arg-type]
    expected = convert([paths[0], *paths[2:]], tmp_path / "all", **strict)  # type: ignore[arg-type]
    assert [name for name, _ in found.report.skipped_plates] == ["B"]
    sizes = [{output.path.name: (output.rows, output.size) for output in made.outputs} for made in (found, expected)]
    assert sizes[0] == sizes[1]
    if not store:
        assert digests(tmp_path / "few", "*.parquet") == digests(tmp_path / "all", "*.parquet")


@ALL_WAYS
def test_plates_of_more_shapes_than_memory_keeps_are_converted_as_any(tmp_path, monkeypatch, way) -> None:
    paths = []
    for number in range(7):
        column = f"Cells_Texture_{number}"
        paths.append(write_sqlite(tmp_path / "in" / f"P{number}.sqlite", plate(JUMP, sites(2, 1 + number))))
        _change(paths[-1], f"ALTER TABLE Cells ADD COLUMN {column} REAL", f"UPDATE Cells SET {column} = {number}.5")
    dest, more = WAYS[way]
    (tmp_path / "few").mkdir()
    (tmp_path / "all").mkdir()
    convert(paths, tmp_path / "few" / dest, **more)
    monkeypatch.setattr(shapes, "_MOST", 100)
    convert(paths, tmp_path / "all" / dest, **more)
    assert digests(tmp_path / "few", "*.parquet") == digests(tmp_path / "all", "*.parquet")
    tables = [table for table in _tables(tmp_path / "few").values() if "Cells_Texture_0" in table.column_names]
    for number in range(7):
        values = [value for table in tables for value in table[f"Cells_Texture_{number}"].drop_null().to_pylist()]
        assert values == [number + 0.5] * (3 + number)


@pytest.mark.parametrize("differ", [False, True], ids=["alike", "different"])
@pytest.mark.parametrize("way", ["tables", "joined"])
def test_chunks_are_encoded_into_the_results_and_into_no_other_file(tmp_path, way, differ) -> None:
    paths = _plates(tmp_path / "in", differ=differ)
    dest, _ = WAYS[way]
    seen = []

    def look(step: str, done: int, total: int) -> None:
        if step == "plates converted":
            seen.append(done)
            assert list(tmp_path.rglob("plates/*/*.parquet")) == []

    convert(paths, tmp_path / "out" / dest, progress=look)
    assert seen == [1, 2, 3, 4]


def test_what_threads_tell_is_told_as_their_sum() -> None:
    told: list[tuple[str, int, int]] = []
    with watched(lambda *step: told.append(step)):
        together = Together()
    begun = threading.Barrier(3)

    def work(total: int) -> None:
        with together.lent():
            begun.wait()
            for done in range(total + 1):
                tell("bytes", done, total)

    threads = [threading.Thread(target=work, args=(total,)) for total in (5, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told[-1] == ("bytes", 35, 35)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert all(done <= total for _, done, total in told)


def test_plates_of_one_store_that_cannot_be_had_are_told_in_their_turn(tmp_path, stored) -> None:
    paths = _plates(tmp_path / "in", differ=False)
    uris, options = stored(paths)
    missing = uris[1].replace("B.sqlite", "none.sqlite")
    with pytest.raises(CytoTableError, match=r"none\.sqlite"):
        convert([uris[0], missing, *uris[2:]], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert datasets.add([*uris], tmp_path / "set", **options).report.skipped_plates == ()
    assert datasets.add([*uris], tmp_path / "set", **options).sources == ()
