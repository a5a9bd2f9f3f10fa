"""Records of CSV files however they are quoted and wherever their lines end, compared with Python's csv module."""

import csv
import io
import os
import random
from pathlib import Path

import numpy as np
import pytest

from cytotable_dagster.core import errors
from cytotable_dagster.core.kernels.csv_layout import SKIPPED, TEXT
from cytotable_dagster.core.sources.csv import parts as csv_parts
from cytotable_dagster.core.sources.csv.block import read_texts
from cytotable_dagster.core.sources.csv.dialect import UTF8
from cytotable_dagster.core.sources.csv.header import Header, read_header
from cytotable_dagster.core.sources.csv.parts import parts_of, read_part

ROUNDS = int(os.environ.get("CYTOTABLE_FUZZ", "300"))
ALPHABETS = ('0,"\n', '0,"\r\n', "0,\r\n", 'a,"\r', 'a,",,\n\n', '""",\n', 'aé,"\n\0')


def records_of(path: Path, header: Header) -> tuple[list[tuple[str | None, ...]], int]:
    """All records that are not ragged, and how many are."""
    rows, ragged = [], 0
    for part in parts_of(path, header, "x.csv"):
        records = read_part(path, part, header, "utf-8", "x.csv", exact=True)
        texts = read_texts(records, header, np.full(len(header.names), TEXT)).texts
        rows += zip(*(texts[name].to_pylist() for name in header.names), strict=True)
        ragged += records.left_out
    return rows, ragged


def by_python(text: str, width: int) -> tuple[list[tuple[str | None, ...]], int]:
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    return [tuple(field or None for field in row) for row in rows if len(row) == width], sum(
        len(row) != width for row in rows
    )


def ends_in_quotes(text: str) -> bool:
    """Whether a field is open at the end of a text: then what is added to it is in that field."""
    rows = list(csv.reader(io.StringIO(f"{text}\nx", newline="")))
    return rows[-1] != ["x"]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_records_are_those_of_the_csv_module(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    width = chance.randrange(1, 4)
    alphabet = chance.choice(ALPHABETS)
    text = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 60)))
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    monkeypatch.setattr(csv_parts, "part_size", lambda columns: chance.choice([1, 5, 20, 1000]))
    header = Header(tuple("xyz"[:width]), 0)
    if ends_in_quotes(text):
        with pytest.raises(errors.SourceFormatError, match=r"^x.csv: line \d+: a quote opens a field here"):
            records_of(path, header)
    else:
        assert records_of(path, header) == by_python(text, width)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_header_is_the_first_record_that_is_not_blank(seed, tmp_path):
    chance = random.Random(seed)
    alphabet = chance.choice(ALPHABETS[:-1])
    text = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 20)))
    path = tmp_path / "x.csv"
    path.write_bytes((b"\xef\xbb\xbf" if chance.random() < 0.2 else b"") + text.encode())
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    try:
        header = read_header(path, UTF8, "x.csv")
    except errors.SourceFormatError as error:
        assert "\n" not in str(error)
        assert "a quoted name that does not end on it" in str(error)
        assert any(end in "".join(rows[0]) for end in "\r\n") or ends_in_quotes(text)
        return
    first = rows[0] if rows else []
    assert len(header.names) == len(first)
    assert all(name == field.strip() for name, field in zip(header.names, first, strict=True)
               if field.strip() and [other.strip() for other in first].count(field.strip()) == 1)  # fmt: skip
    rest = path.read_bytes()[header.size :].decode()
    assert [row for row in csv.reader(io.StringIO(rest, newline="")) if row] == rows[1:]


def test_columns_that_are_skipped_are_not_read(tmp_path):
    (tmp_path / "x.csv").write_bytes(b'1,"a ""b""",\n2,5" dish,c\n')
    header = Header(("x", "y", "z"), 0)
    (part,) = parts_of(tmp_path / "x.csv", header, "x.csv")
    records = read_part(tmp_path / "x.csv", part, header, "utf-8", "x.csv", exact=True)
    block = read_texts(records, header, np.array([SKIPPED, TEXT, TEXT]))
    assert {name: array.to_pylist() for name, array in block.texts.items()} == {
        "y": ['a "b"', '5" dish'],
        "z": [None, "c"],
    }
