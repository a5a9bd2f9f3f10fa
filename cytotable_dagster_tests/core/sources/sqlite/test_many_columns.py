"""Tables of more columns than this SQLite takes, as one that is built for more writes them."""

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import DamagedSourceError
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.sources.sqlite.many_columns import parts_of
from cytotable_dagster.core.sources.sqlite.statement import parse_table

WIDE = 2500
KEYS = ("TableNumber", "ImageNumber", "ObjectNumber")


def varint(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.insert(0, number & 0x7F | 0x80)
    return bytes(groups)


def record(keys: Sequence[int], values: Sequence[float]) -> bytes:
    """A row as the file format has it: keys in 4 bytes each, then reals."""
    types = bytes([4] * len(keys) + [7] * len(values))
    length = len(types) + (1 if len(types) < 127 else 2)
    body = b"".join(key.to_bytes(4, "big") for key in keys) + struct.pack(f">{len(values)}d", *values)
    return varint(length) + types + body


def write_wide(path: Path, tables: Mapping[str, tuple[str, list[bytes]]]) -> Path:
    """Tables by their statements and records. SQLite writes blobs of the records' lengths, whose first bytes, as blobs
    have them, are then replaced by the records' own."""
    patches = {}
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("PRAGMA page_size=4096")
        for name, (_, records) in tables.items():
            link.execute(f"CREATE TABLE {name} (x)")
            for content in records:
                # Lengths of the header and of the one type in it.
                size = len(varint(2 * len(content) + 12))
                blob = content[1 + size :]
                link.execute(f"INSERT INTO {name} VALUES (?)", (blob,))
                head = varint(1 + size) + varint(2 * len(blob) + 12)
                patches[head + blob[:30]] = content[: 1 + size] + blob[:30]
        link.execute("PRAGMA writable_schema=ON")
        for name, (sql, _) in tables.items():
            link.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, name))
    content = path.read_bytes()
    for found, wanted in patches.items():
        assert found in content
        assert len(found) == len(wanted)
        content = content.replace(found, wanted)
    path.write_bytes(content)
    return path


def wide_plate(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    tables = {}
    for name, links in (("Cells", ()), ("Cytoplasm", ("Cytoplasm_Parent_Cells",))):
        keys = (*KEYS, *links)
        columns = [f'"{name}_AreaShape_{i}" FLOAT' for i in range(WIDE)]
        sql = f"CREATE TABLE {name} ({', '.join([*(f'{key} BIGINT' for key in keys), *columns])})"
        rows = [record([7, 1, n, *([4 - n] if links else [])], [n + i / 4 for i in range(WIDE)]) for n in (1, 2, 3)]
        tables[name] = sql, rows
    sql = "CREATE TABLE Image (TableNumber BIGINT, ImageNumber BIGINT, Metadata_Site BIGINT)"
    return write_wide(path, tables | {"Image": (sql, [record([7, 1, 5], [])])})


def test_a_plate_of_more_columns_than_sqlite_takes_is_read(tmp_path):
    source = wide_plate(tmp_path / "source" / "P1.sqlite")
    with closing(sqlite3.connect(source)) as link, pytest.raises(sqlite3.DatabaseError, match="too many columns"):
        link.execute("SELECT * FROM Image")
    result = convert(source, tmp_path / "out")
    cells = pq.read_table(result["Cells"])
    assert cells.num_columns == len(KEYS) + WIDE
    assert cells[f"Cells_AreaShape_{WIDE - 1}"].to_pylist() == [n + (WIDE - 1) / 4 for n in (1, 2, 3)]
    assert pq.read_table(result["Image"])["Metadata_Site"].to_pylist() == [5]
    joined = pq.read_table(convert(source, tmp_path / "cells.parquet"))
    assert joined["Cells_AreaShape_0"].to_pylist() == [3, 2, 1]
    assert f"{len(KEYS) + WIDE:,}" in str(inspect_plate(source))


def test_a_log_beside_such_a_plate_is_part_of_it(tmp_path):
    source = wide_plate(tmp_path / "source" / "P1.sqlite")
    journal = bytes.fromhex("d9d505f920a163d7") + bytes(504)
    source.with_name("P1.sqlite-journal").write_bytes(journal)
    assert [output.rows for output in convert(source, tmp_path / "out").outputs] == [1, 3, 3]


def test_what_only_sqlite_can_read_beside_such_a_table_is_told_in_one_line(tmp_path):
    source = wide_plate(tmp_path / "source" / "P1.sqlite")
    with closing(sqlite3.connect(source)) as link, link:
        link.execute("PRAGMA writable_schema=ON")
        sql = "CREATE VIEW Image AS SELECT 7 AS TableNumber, 1 AS ImageNumber"
        link.execute("UPDATE sqlite_schema SET sql = ?, type = 'view', rootpage = 0 WHERE name = 'Image'", (sql,))
    with pytest.raises(DamagedSourceError, match="SQLite cannot read the view Image") as caught:
        convert(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert convert(source, tmp_path / "out", metadata=[]).outputs[0].rows == 3


ODD = f"""CREATE TABLE "Cells ( odd" ( -- keys, first (
  "a, (b" INT /* , ( */, [c,d] TEXT DEFAULT 'x, (', `e``f` VARCHAR(10, 2) CHECK (`e``f` IN ('(', ',')),
  {", ".join(f"c{i} REAL" for i in range(WIDE))},
  id INTEGER, CONSTRAINT k PRIMARY KEY (id), UNIQUE ("a, (b", c7), CHECK (c1 < c{WIDE - 1}) )"""


def test_a_statement_of_many_columns_is_understood_as_sqlite_would():
    found = parse_table("Cells ( odd", ODD)
    names = [column.name for column in found.columns]
    assert names == ["a, (b", "c,d", "e`f", *(f"c{i}" for i in range(WIDE)), "id"]
    assert found.rowid_column == len(names) - 1
    assert found.defaults[1] == "x, ("
    assert [column.affinity for column in found.columns[:4]] == ["INTEGER", "TEXT", "TEXT", "REAL"]
    assert len(list(parts_of(ODD))) == 3
