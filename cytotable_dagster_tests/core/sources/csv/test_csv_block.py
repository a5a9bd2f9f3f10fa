"""The compiled reader of CSV records, compared with what Python makes of the same bytes."""

import csv
import io
import os
import random
import struct

import numpy as np
import pytest

from cytotable_dagster.core.kernels.csv_layout import COUNTED, INTEGER, MISSING, REAL, SKIPPED, TEXT
from cytotable_dagster.core.model.values import LED_MARK, is_rounded, marks_of, number_type
from cytotable_dagster.core.sources.csv.block import read_block
from cytotable_dagster.core.sources.csv.field_types import MISSING as MISSING_TEXTS
from cytotable_dagster.core.sources.csv.header import Header
from cytotable_dagster.core.sources.csv.parts import Records

ROUNDS = int(os.environ.get("CYTOTABLE_FUZZ", "300"))
ODDITIES = (
    *MISSING_TEXTS, "nAn", "-null", "+nan", "nul", "inf", "-inf", "Infinity", "0", "-0", "-0.0", "+5", "007", "1.", ".5",
    "-.5", ".", "-", "+", "e5", "1e", "1e+", "1e5", "1E-5", "1e400", "-1e-400", "1e0001", "4.9e-324", "2.2250738585072014e-308",
    "1.7976931348623157e308", "0x1F", "1_000", "12abc", " 7", "7 ", " ", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "18446744073709551616", "0.1234567890123456789012345", "123456789012345678901234567890",
    "0.00000000000000000000000000012345678901234567", "9007199254740993", "9007199254740993.0", "1.0000000000000002",
    "8.41e21", "5e-324", "179769313486231580793e289", "é", "٣",
)  # fmt: skip


def block_of(rows: list[list[str]], kinds: list[int], end: str = "\n", room: int | None = None):
    data = "".join(",".join(row) + end for row in rows).encode()
    header = Header(tuple(f"c{place}" for place in range(len(kinds))), 0)
    return read_block(Records(data), header, np.array(kinds), room)


def field(chance: random.Random) -> str:
    kind = chance.randrange(8)
    if kind == 0:
        return chance.choice(ODDITIES)
    if kind == 1:
        return str(chance.randrange(-(10 ** chance.randrange(1, 20)), 10 ** chance.randrange(1, 20)))
    if kind == 2:
        # Any double at all, as Python writes it.
        value = struct.unpack("d", chance.randbytes(8))[0]
        return repr(value)
    if kind == 3:
        return f"{chance.uniform(-1000, 1000):.{chance.randrange(0, 22)}f}"
    if kind == 4:
        return f"{chance.gauss(0, 1):.{chance.randrange(0, 22)}e}"
    return repr(chance.gauss(0, 10 ** chance.randrange(-6, 7)))


def bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little", signed=True)


@pytest.mark.parametrize("seed", range(max(ROUNDS // 30, 5)))
def test_numbers_are_what_python_makes_of_them(seed):
    chance = random.Random(seed)
    fields = [field(chance) for _ in range(500)]
    block = block_of([fields, fields], [REAL] * len(fields), chance.choice(["\n", "\r\n"]))
    assert block is not None
    assert block.rows == 2
    valid = block.valid(np.arange(len(fields)))
    for column, text in enumerate(fields):
        (found,) = np.flatnonzero(block.counts[column]).tolist()
        assert found == class_of(text) or (found == TEXT and is_extreme(text)), text
        assert valid[column].tolist() == [text not in MISSING_TEXTS] * 2
        if found in (INTEGER, REAL):
            assert block.words[column].tolist() == [bits(float(text))] * 2, text


@pytest.mark.parametrize("lead", ["0", "9", "any"])
def test_numbers_of_all_lengths_are_read(lead):
    """So many digits before the point and so many behind it; they start with zeros, nines or any."""
    chance = random.Random(lead)

    def digits(count: int) -> str:
        kept = chance.randrange(count + 1)
        return "".join(chance.choice("0123456789") if lead == "any" or n >= kept else lead for n in range(count))

    fields = [
        f"{sign}{digits(before)}{point}{digits(after) if point else ''}"
        for before in range(21)
        for after in range(28)
        for point in (".", "") if before
        for sign in ("", "-")
    ]  # fmt: skip
    block = block_of([fields], [REAL] * len(fields))
    assert block is not None
    counted = block_of([fields], [COUNTED] * len(fields))
    assert counted is not None
    for column, text in enumerate(fields):
        expected = class_of(text)
        assert block.counts[column, expected] or (block.counts[column, TEXT] and is_extreme(text)), text
        # Of which the text is to be looked at.
        led = TEXT if expected == INTEGER and marks_of(text) & LED_MARK else expected
        assert counted.counts[column, led] or (counted.counts[column, TEXT] and is_extreme(text)), text
        if block.counts[column, expected]:
            assert block.words[column].tolist() == [bits(float(text))], text


def class_of(text: str) -> int:
    if text in MISSING_TEXTS:
        return MISSING
    return {int: INTEGER, float: REAL, str: TEXT}[number_type(text)]


def test_whole_numbers_that_no_double_equals_are_left_to_those_who_read_texts():
    rounded = [2**53 + 1, -(2**53) - 1, 2**62 + 1, 2**63 - 1]
    exact = [0, -1, 2**53, -(2**53), 2**53 + 2, 2**62, -(2**62) - 2**10]
    block = block_of([[str(number) for number in (*rounded, *exact)]], [REAL] * len(rounded + exact))
    assert block is not None
    assert block.counts[:, TEXT].tolist() == [1] * len(rounded) + [0] * len(exact)


def is_extreme(text: str) -> bool:
    """Whether a number may be left to those who read the text: more digits than fit, next to nothing, or huge."""
    if is_rounded(text):
        return True
    digits, _, exponent = text.lower().strip().partition("e")
    value = abs(float(text))
    normal = value == 0 or 2.3e-308 < value < 8e307
    whole = digits.lstrip("+-").partition(".")[0]
    return len(digits.lstrip("+-0.").replace(".", "")) > 18 or len(whole) > 18 or len(exponent) > 3 or not normal


@pytest.mark.parametrize("seed", range(max(ROUNDS // 30, 5)))
def test_whole_numbers_keep_every_digit(seed):
    chance = random.Random(seed)
    rows = [[str(chance.randrange(-(2**63) + 1, 2**63) >> chance.randrange(63)), ""] for _ in range(100)]
    block = block_of(rows, [INTEGER, COUNTED])
    assert block is not None
    assert block.whole_numbers("c0").to_pylist() == [int(row[0]) for row in rows]
    assert block.counts[1, MISSING] == 100


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_records_are_those_of_the_csv_module_or_refused(seed):
    """Bytes that hardly make sense: what is read is what Python's own reader finds, or it is left to others."""
    chance = random.Random(seed)
    width = chance.randrange(1, 4)
    alphabet = chance.choice(["01a,\n", '0,"\n', '0,"\r\n', "a,,\n\n", '"a",\n'])
    data = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 40))) + "\n"
    header = Header(tuple("xyz"[:width]), 0)
    block = read_block(Records(data.encode()), header, np.full(width, TEXT))
    if block is None:
        return
    expected = [row for row in csv.reader(io.StringIO(data, newline="")) if row]
    assert all(len(row) == width for row in expected)
    found = list(zip(*(block.texts[name].to_pylist() for name in header.names), strict=True))
    assert found == [tuple(text or None for text in row) for row in expected]


def test_plain_records_are_not_refused():
    rows = [['"a,b"', "1"], ['"line\nbreak"', "2"], ["", "3"], ["é", "-4"]]
    block = block_of(rows, [TEXT, INTEGER], "\r\n", room=4)
    assert block is not None
    assert block.texts["c0"].to_pylist() == ["a,b", "line\nbreak", None, "é"]
    assert block.whole_numbers("c1").to_pylist() == [1, 2, 3, -4]


@pytest.mark.parametrize(
    "data", ["1,2,3\n", "1\n", '1,"a""b"\n', '1,a"b\n', '1,"ab\n', "1,a\rb\n", '"1"2,3\n', "1,2\n3,4\n5\n"]
)
def test_what_is_not_plain_is_left_to_others(data):
    assert read_block(Records(data.encode()), Header(("x", "y"), 0), np.array([REAL, TEXT])) is None


def test_more_records_than_there_is_room_for_are_refused():
    assert block_of([["1"], ["2"], ["3"]], [INTEGER], room=2) is None


def test_columns_with_other_values_are_text_too():
    header = Header(("x", "y", "z"), 0)
    block = read_block(Records(b"007,1,1\nnan,2,2\n7.0,x,3\n"), header, np.array([INTEGER, COUNTED, SKIPPED]))
    assert block is not None
    assert {name: array.to_pylist() for name, array in block.texts.items()} == {
        "x": ["007", "nan", "7.0"],
        "y": ["1", "2", "x"],
    }
    assert block.lines.tolist() == [0, -1, -1]
