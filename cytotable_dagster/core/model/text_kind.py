"""What text says when it is read as numbers, and whether it would say less so."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.names import is_identity
from cytotable_dagster.core.model.values import (
    BARE,
    BARE_MARK,
    KEPT,
    LED,
    LED_MARK,
    LONG,
    LONG_MARK,
    MOST_DIGITS,
    NO_DIGIT,
    POINT_MARK,
)

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TextKind:
    """What the values of a column that holds text say when read as numbers, missing values set aside.

    `fractional` means a number that no int64 holds, `padded` one that is written otherwise than an int64 is: 007, 7.0;
    `lossy` one that says less than its text where that is a name; `marks` are those of `values.marks_of`.
    """

    number: bool
    fractional: bool
    infinite: bool
    other: bool
    padded: bool = False
    lossy: bool = False
    marks: int = 0

    @property
    def whole(self) -> bool:
        return self.number and not (self.fractional or self.infinite or self.other)

    def stays_text(self, name: str) -> bool:
        """Whether a column that holds nothing else, but perhaps whole numbers, is text: where a value is no number, or
        loses something as one."""
        fractional = self.fractional or self.infinite
        if is_identity(name):
            return self.other or self.infinite or self.lossy or loses_as_name(self.marks, fractional)
        return self.other or loses_as_count(self.marks, fractional)


def loses_as_name(marks: int, fractional: bool) -> bool:
    """Whether numbers of these marks say less than their text where it names a thing; `fractional` if some are real."""
    return bool(marks & LONG_MARK and fractional) or (marks & (BARE_MARK | POINT_MARK)) == BARE_MARK


def loses_as_count(marks: int, fractional: bool) -> bool:
    """The same where they are no names: zeros and signs of a real say nothing."""
    return bool(marks & LED_MARK) and not fractional


# Text of which it is known that none of it is a number, or that it was written to stay as it is.
WORDS = TextKind(number=False, fractional=False, infinite=False, other=True)


def text_kind(values: "pa.ChunkedArray | pa.Array", *, may_stay: bool = True) -> TextKind:
    """The kind of a string column's values, numbers among them written out.

    Args:
        may_stay: whether the column may be text though all of it reads as numbers; else it is not looked at what they
            would lose (`lossy`, `marks`).
    """
    import pyarrow.compute as pc

    words = pc.utf8_lower(pc.utf8_trim_whitespace(values.unique().drop_null()))
    words = words.filter(pc.invert(pc.match_substring_regex(words, r"^([+-]?nan|null|)$")))
    infinite = pc.match_substring_regex(words, r"^[+-]?inf(inity)?$")
    number = pc.match_substring_regex(words, r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$")
    other = pc.invert(pc.or_(infinite, number))
    numbers = words.filter(number)
    fractional = not _fit_int64(numbers)
    lossy, marks = _losses(numbers) if may_stay and not _any(other) else (False, 0)
    return TextKind(
        number=_any(number),
        fractional=fractional,
        infinite=_any(infinite),
        other=_any(other),
        padded=_any(pc.invert(pc.match_substring_regex(values.unique().drop_null(), r"^(0|-?[1-9]\d*)$"))),
        lossy=lossy,
        marks=marks,
    )


def _losses(numbers: "pa.StringArray") -> tuple[bool, int]:
    """`TextKind.lossy` and `TextKind.marks` of numbers as they are written."""
    import pyarrow.compute as pc

    real = numbers.filter(pc.match_substring_regex(numbers, r"[.e]"))
    digits = pc.utf8_ltrim(pc.replace_substring_regex(real, NO_DIGIT, ""), "0")
    # Compared here, for Arrow imports pandas to compare with a number of Python's.
    longest = pc.max(pc.utf8_length(digits)).as_py() or 0
    lossy = _any(pc.invert(_all_of(numbers, KEPT))) or longest > MOST_DIGITS
    marks = sum(
        mark * _any(_all_of(numbers, pattern))
        for mark, pattern in ((LED_MARK, LED), (LONG_MARK, LONG), (BARE_MARK, BARE), (POINT_MARK, r".*\..*"))
    )
    return lossy, marks


def _all_of(words: "pa.StringArray", pattern: str) -> "pa.BooleanArray":
    import pyarrow.compute as pc

    return pc.match_substring_regex(words, f"^({pattern})$")


def _any(mask: "pa.BooleanArray") -> bool:
    return bool(mask.true_count)


def _fit_int64(words: "pa.StringArray") -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(words, r"^[+-]?\d+$"), min_count=0).as_py():
        return False
    try:
        pc.utf8_ltrim(words, "+").cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True
