"""What only SQLite can read is copied first: files with a log beside them, views, tables out of the ordinary."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import CytoTableError, DamagedSourceError, SourceFormatError
from cytotable_dagster.core.execution.runner import runner, thread_config
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.lake import making as lake
from cytotable_dagster.core.lake import plans
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import Plate
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.shown import human_bytes
from cytotable_dagster.core.sources.sqlite import copies as sqlite_copy
from cytotable_dagster.core.support.pacing import lines
from cytotable_dagster.core.support.telling import COPYING
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.digests import digest

NEW = 9.0


def with_log(source: Path) -> None:
    """Cells of 9.0, and all objects of image 2 gone, in a write-ahead log whose writer was killed."""
    with closing(sqlite3.connect(source, isolation_level=None)) as link:
        link.execute("PRAGMA journal_mode=WAL")
        link.execute("PRAGMA wal_autocheckpoint=0")
        link.execute(f"UPDATE Cells SET Cells_Intensity_Mean = {NEW}")
        link.execute("DELETE FROM Cells WHERE ImageNumber = 2")
        kept = {ending: Path(f"{source}{ending}").read_bytes() for ending in ("", "-wal")}
    for ending, content in kept.items():
        Path(f"{source}{ending}").write_bytes(content)


def with_journal(source: Path) -> None:
    """The same, but the killed transaction took it back to what it was before: the file has half of another."""
    with closing(sqlite3.connect(source, isolation_level=None)) as link:
        link.execute(f"UPDATE Cells SET Cells_Intensity_Mean = {NEW}")
        link.execute("DELETE FROM Cells WHERE ImageNumber = 2")
        link.execute("PRAGMA cache_size=1")
        link.execute("BEGIN")
        for number in range(20):
            link.execute(f"UPDATE Cells SET Cells_Intensity_Mean = {number}")
            link.execute("CREATE TABLE IF NOT EXISTS more AS SELECT a.* FROM Cells a, Cells b, Cells c, Cells d")
        kept = {ending: Path(f"{source}{ending}").read_bytes() for ending in ("", "-journal")}
    for ending, content in kept.items():
        Path(f"{source}{ending}").write_bytes(content)


@pytest.fixture(params=[with_log, with_journal])
def pending(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    source = write_sqlite(tmp_path / "source" / "P1.sqlite", plate(JUMP, sites(5, 5, 5)), pragmas=["page_size=512"])
    request.param(source)
    assert any(name.endswith(("-wal", "-journal")) for name in names_in(source.parent))
    return source


def check(table: object) -> None:
    found = table.to_pydict()  # type: ignore[attr-defined]
    assert set(found["Cells_Intensity_Mean"]) == {NEW}
    assert found["Metadata_ImageNumber"] == [1] * 5 + [3] * 5


def test_the_newest_content_is_read_and_nothing_is_touched(pending: Path, tmp_path: Path):
    before = {path: (digest(path), path.stat().st_mtime_ns) for path in pending.parent.iterdir()}
    result = convert(pending, tmp_path / "out", chunk_size=2, targets=["cells"])
    check(pq.read_table(result))
    (note,) = result.report.notes
    assert note == "P1.sqlite was read together with the log beside it"
    assert {path: (digest(path), path.stat().st_mtime_ns) for path in pending.parent.iterdir()} == before
    assert names_in(tmp_path / "out") == ["Cells.parquet"]


def test_copying_is_told_in_bytes(pending: Path, tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    convert(pending, tmp_path / "out", progress=lambda *step: told.append(step))
    size = sum(path.stat().st_size for path in pending.parent.glob(f"{pending.name}*"))
    assert [step for step in told if step[0] == COPYING] == [(COPYING, 0, size), *told[1:2], (COPYING, size, size)]
    said: list[str] = []
    for step in told[:3]:
        lines(said.append)(*step)
    assert said[0] == f"copying {human_bytes(size)}" and said[2].startswith(f"copied {human_bytes(size)} of ")


def test_damage_of_what_is_read_with_its_log_is_told_of_the_file(tmp_path: Path):
    source = write_sqlite(tmp_path / "source" / "P1.sqlite", plate(JUMP, sites(40, 2)))
    content = source.read_bytes()
    source.write_bytes(content[:20000] + b"\xff" * 20000 + content[40000:])
    with closing(sqlite3.connect(source, isolation_level=None)) as link:
        link.execute("PRAGMA journal_mode=WAL")
        link.execute("PRAGMA wal_autocheckpoint=0")
        link.execute("UPDATE Image SET Metadata_Site = 7 WHERE ImageNumber = 1")
        log = Path(f"{source}-wal").read_bytes()
    Path(f"{source}-wal").write_bytes(log)
    for number, door in enumerate((convert, datasets.add, lambda source, _: inspect_plate(source))):
        with pytest.raises(DamagedSourceError) as caught:
            door(source, tmp_path / f"out-{number}")
        assert str(caught.value).startswith(f"{source}: table ")


def test_every_way_reads_the_newest_content(pending: Path, tmp_path: Path):
    other = write_sqlite(tmp_path / "P2.sqlite", plate(JUMP, sites(1)))
    datasets.add([pending, other], tmp_path / "set", targets=["cells"])
    check(pq.ParquetFile(tmp_path / "set" / "Cells" / "P1.parquet").read())
    convert([pending, other], tmp_path / "both", targets=["cells"])
    check(pq.read_table(tmp_path / "both" / "Cells.parquet", filters=[("Metadata_Plate", "=", "P1")]))
    assert {part.table.name: part.rows for part in inspect_plate(pending).plan.tables}["Cells"] == 10
    folder = PlateFolder(tmp_path / "lake" / "P1")
    prepared = plans.prepare(Plate("P1", str(pending)), folder, None, Options(chunks=2), Cache())
    assert not [name for name in names_in(folder.path) if "cop" in name]
    with plans.with_source(prepared, folder, Cache()) as plan, runner(thread_config(1), tmp_path / "run") as run:
        found = list(lake.make_chunks(plan, folder, {"Cells": (0, 1)}, run))
    assert sum(outcome.result.rows for outcome in found) == 10  # type: ignore[union-attr]
    assert not list(folder.path.glob(".copies*"))


def test_another_log_is_another_plate_to_a_dataset_and_to_a_lake(tmp_path: Path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(5, 5, 5)))
    folder = PlateFolder(tmp_path / "lake" / "P1")
    first = datasets.add(source, tmp_path / "set")
    prints = [plans.prepare(Plate("P1", str(source)), folder, None, Options(chunks=2), Cache()).fingerprint]
    with closing(sqlite3.connect(source)) as link:
        link.execute("PRAGMA journal_mode=WAL")
    content = source.read_bytes()
    prints.append(plans.prepare(Plate("P1", str(source)), folder, None, Options(chunks=2), Cache()).fingerprint)
    with_log(source)
    assert digest(source) == digest(content)
    second = datasets.add(source, tmp_path / "set")
    prints.append(plans.prepare(Plate("P1", str(source)), folder, None, Options(chunks=2), Cache()).fingerprint)
    assert [sum(output.rows for output in result.outputs) for result in (first, second)] == [51, 46]
    assert len(set(prints)) == 3


def test_a_plate_with_a_log_is_read_where_nothing_can_be_written(pending: Path, tmp_path: Path):
    mount = 'mount --bind -o ro "$0" "$0"'
    alone = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, mount, pending.parent], check=False).returncode:
        pytest.skip("no mount of our own can be made here")
    code = "import sys; from cytotable_dagster import convert; convert(sys.argv[1], sys.argv[2], targets=['cells'])"
    command = [*alone, f'{mount} && ! touch "$0/x" && exec "$@"', pending.parent, sys.executable, "-c", code]
    ran = subprocess.run([*command, pending, tmp_path / "out"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    check(pq.read_table(tmp_path / "out" / "Cells.parquet"))


def test_a_journal_of_several_files_is_refused(tmp_path: Path):
    """SQLite would look for the journal that it names, and remove that."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP))
    name = str(victim).encode()
    journal = bytearray(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    journal += (2**30 // 4096 + 1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big")
    journal += (sum(name) % 2**32).to_bytes(4, "big") + journal[:8]
    Path(f"{source}-journal").write_bytes(journal)
    with pytest.raises(SourceFormatError, match="a transaction over several files"):
        convert(source, tmp_path / "out")
    assert victim.exists()


def test_a_log_that_does_not_belong_to_the_file_is_told_or_left_out(tmp_path: Path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(5, 5, 5)))
    with_log(source)
    log = Path(f"{source}-wal")
    log.write_bytes(log.read_bytes()[:32] + bytes(len(log.read_bytes()) - 32))
    result = convert(source, tmp_path / "out", targets=["cells"])
    assert pq.read_metadata(result.path).num_rows == 15


VIEWS = {
    "rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS ImageNumber, i AS TableNumber, "
    "i AS ObjectNumber FROM n",
    "nothing": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS ImageNumber, "
    "i AS TableNumber, i AS ObjectNumber FROM n WHERE i < 0",
    "large": "SELECT TableNumber, ImageNumber, ObjectNumber, zeroblob(500000000) AS x FROM Nuclei",
    "itself": "SELECT * FROM Cells",
    "sum": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) AS ImageNumber, "
    "1 AS TableNumber, 1 AS ObjectNumber FROM n",
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_never_ends_or_is_too_large_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str
):
    monkeypatch.setattr(sqlite_copy, "_STEPS", 10_000_000)
    monkeypatch.setattr(sqlite_copy, "_BYTES", 8 << 20)
    tables = plate(JUMP)
    del tables["Cells"]
    source = write_sqlite(tmp_path / "P1.sqlite", tables)
    with closing(sqlite3.connect(source)) as link, link:
        link.execute(f"CREATE VIEW Cells AS {VIEWS[view]}")
    with pytest.raises((SourceFormatError, DamagedSourceError), match=r"Cells|too big") as caught:
        convert(source, tmp_path / "out", preset=JUMP)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == ["P1.sqlite"]


def test_a_view_that_is_broken_stops_only_those_who_want_it(tmp_path: Path):
    tables = plate(JUMP)
    cells = tables.pop("Cells")
    source = write_sqlite(tmp_path / "P1.sqlite", {**tables, "stored": cells})
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("CREATE VIEW Wells AS SELECT * FROM nowhere")
        link.execute("CREATE VIEW Itself AS SELECT * FROM Itself")
    assert len(convert(source, tmp_path / "out").outputs) == 3
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("CREATE VIEW Cells AS SELECT * FROM gone")
    with pytest.raises(DamagedSourceError, match="SQLite cannot read the view Cells"):
        convert(source, tmp_path / "other", preset=JUMP)


def test_views_are_what_sqlite_makes_of_them(tmp_path: Path):
    """Another engine divides, compares and joins otherwise."""
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 3)))
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("ALTER TABLE Cells RENAME TO stored")
        link.execute("UPDATE stored SET Cells_AreaShape_Area = 7")
        link.execute(
            "CREATE VIEW Cells AS SELECT TableNumber, ImageNumber, ObjectNumber, Cells_AreaShape_Area / 2 AS Cells_Half, "
            "'a' = 'A' AS Cells_Same, ifnull(NULL, 'x') AS Cells_Word, ImageNumber - 2 AS rowid, NULL AS oid FROM stored"
        )
    result = convert(source, tmp_path / "out", targets=["cells"], chunk_size=3)
    found = pq.read_table(result).to_pydict()
    assert result.readers == (("Cells", "it is a view"),)
    assert found["Cells_Half"] == [3] * 6
    assert found["Cells_Same"] == [0] * 6
    assert found["Metadata_Cells_Word"] == ["x"] * 6
    assert found["Cells_rowid"] == [-1] * 3 + [0] * 3
    assert found["Cells_oid"] == [None] * 6


@pytest.mark.parametrize("rows", [300])
def test_a_view_with_columns_called_rowid_loses_no_rows(tmp_path: Path, rows: int):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(rows)))
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("ALTER TABLE Cells RENAME TO stored")
        link.execute("CREATE VIEW Cells AS SELECT *, nullif(ObjectNumber % 3, 0) * -1000000 AS rowid FROM stored")
    cells = pq.read_table(convert(source, tmp_path / "out", targets=["cells"]))
    assert cells["Cells_rowid"].to_pylist() == [n % 3 * -1000000 or None for n in range(1, rows + 1)]


def without_rowid(link: sqlite3.Connection) -> None:
    link.execute("CREATE TABLE Cells (ImageNumber, TableNumber, ObjectNumber INTEGER, rowid FLOAT, b, PRIMARY KEY "
                 "(ImageNumber, ObjectNumber)) WITHOUT ROWID")  # fmt: skip
    link.execute("INSERT INTO Cells SELECT ImageNumber, TableNumber, ObjectNumber, 1, x'00ff' FROM stored")


def generated(link: sqlite3.Connection) -> None:
    link.execute("CREATE TABLE Cells (ImageNumber, TableNumber, ObjectNumber INTEGER, rowid FLOAT, b, "
                 "c AS (ObjectNumber + 1))")  # fmt: skip
    link.execute("INSERT INTO Cells SELECT ImageNumber, TableNumber, ObjectNumber, 1, x'00ff' FROM stored")


def rowid_of_a_gap(link: sqlite3.Connection) -> None:
    link.execute("CREATE TABLE Cells (ImageNumber, TableNumber, ObjectNumber INTEGER, rowid FLOAT, b)")
    link.execute("INSERT INTO Cells SELECT ImageNumber, TableNumber, ObjectNumber, 1, x'00ff' FROM stored")
    link.execute("UPDATE Cells SET _rowid_ = -1 WHERE ObjectNumber = 2 AND ImageNumber = 1")


@pytest.mark.parametrize("make", [without_rowid, generated, rowid_of_a_gap])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16be"])
def test_tables_out_of_the_ordinary_are_copied_value_by_value(
    tmp_path: Path, make: Callable[[sqlite3.Connection], None], encoding: str
):
    pragmas = [f'encoding="{encoding}"']
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 3)), pragmas=pragmas)
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("ALTER TABLE Cells RENAME TO stored")
        make(link)
    joined = pq.read_table(convert(source, tmp_path / "out.parquet"))
    assert joined["Metadata_Cells_ObjectNumber"].to_pylist() == [1, 2, 3] * 2
    cells = pq.read_table(convert(source, tmp_path / "out", targets=["cells"]))
    assert cells["Cells_rowid"].to_pylist() == [1.0] * 6
    assert cells["Metadata_Cells_b"].to_pylist() == [b"\0\xff"] * 6


def test_names_and_texts_that_are_no_utf8_are_told_in_one_line(tmp_path: Path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(EXPORT))
    content = source.read_bytes()
    for number, old in enumerate((b"Per_Cells", b"Cells_Intensity_Mean", b"varchar(10)", b"Per_Image")):
        damaged = tmp_path / f"damaged{number}.sqlite"
        damaged.write_bytes(content.replace(old, b"\xe9\n" + old[2:]))
        try:
            convert(damaged, tmp_path / f"out{number}")
        except CytoTableError as error:
            assert "\n" not in str(error)
        with pytest.raises(CytoTableError) as caught:
            convert(damaged, tmp_path / f"strict{number}", preset=EXPORT, targets=["nowhere"])
        assert str(caught.value).isprintable()


def test_reading_with_a_log_ends_no_process(tmp_path: Path):
    """Two copies of SQLite in one process broke each other's locks, and the process ended with SIGBUS, now and then."""
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(40, 40)), as_views=True)
    link = sqlite3.connect(source, isolation_level=None)
    with closing(link):
        link.execute("PRAGMA journal_mode=WAL")
        link.execute("PRAGMA wal_autocheckpoint=0")
        link.execute('UPDATE "Cells stored" SET Cells_Intensity_Mean = 9')
        index = Path(f"{source}-shm")
        before = (os.stat(index).st_ino, digest(index))  # noqa: PTH116
        cells = pq.read_table(convert(source, tmp_path / "out", targets=["cells"]))
        assert set(cells["Cells_Intensity_Mean"].to_pylist()) == {9.0}
        # Nobody else has opened the index of the log.
        assert (os.stat(index).st_ino, digest(index)) == before  # noqa: PTH116
