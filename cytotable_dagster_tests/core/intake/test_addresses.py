"""Which addresses fit a pattern, and what its placeholders stand for."""

import random
import re

import pytest

from cytotable_dagster.core.support.placeholders import PLACEHOLDER, matcher


@pytest.mark.parametrize(
    ("pattern", "address", "places"),
    [
        ("s3://b/{batch}/{plate}/{plate}.sqlite", "s3://b/x/P/P.sqlite", {"batch": "x", "plate": "P"}),
        ("s3://b/{batch}/{plate}/{plate}.sqlite", "s3://b/x/P/Q.sqlite", None),
        ("s3://b/{batch}_{plate}/{plate}.sqlite", "s3://b/x_P_1/P_1.sqlite", {"batch": "x", "plate": "P_1"}),
        ("s3://b/{a}_{plate}.sqlite", "s3://b/x_y_z.sqlite", {"a": "x_y", "plate": "z"}),
        ("s3://b/{plate}.sqlite", "s3://b/x/P.sqlite", None),
        ("s3://b/{plate}.sqlite", "s3://b/.sqlite", None),
        ("s3://b/[x]*{plate}?", "s3://b/[x]*P?", {"plate": "P"}),
        ("s3://b/[x]*{plate}?", "s3://b/xyP1", None),
    ],
)
def test_an_address_fits_a_pattern_or_not(pattern, address, places):
    found = matcher(pattern).fullmatch(address)
    assert (found and found.groupdict()) == places


def test_what_fits_is_what_the_expression_alone_says():
    chance = random.Random(1)
    for _ in range(3000):
        text = "".join(
            chance.choice(["{a}", "{b}", "{c}", "_", "/", "x", "*", "["]) for _ in range(chance.randrange(1, 7))
        )
        address = "".join(chance.choice("_/x*[y") for _ in range(chance.randrange(8)))
        seen: set[str] = set()

        def group(place: re.Match, seen: set[str] = seen) -> str:
            name = place[1]
            return f"(?P={name})" if name in seen or seen.add(name) else f"(?P<{name}>[^/]+)"

        alone = re.compile(re.sub(r"\\{([abc])\\}", group, re.escape(text))).fullmatch(address)
        found = matcher(text).fullmatch(address)
        assert (found and found.groupdict()) == (alone and alone.groupdict()), (text, address)
    assert PLACEHOLDER.findall("{a}{b}") == ["a", "b"]


def test_a_long_name_that_nearly_fits_is_looked_at_once():
    # Every way to divide it among six placeholders would take longer than anyone lives.
    assert matcher("s3://b/{a}_{b}_{c}_{d}_{e}_{plate}.sqlite").fullmatch(f"s3://b/{'_' * 1000}.sqlitf") is None
