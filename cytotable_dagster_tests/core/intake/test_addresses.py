"""Which addresses fit a pattern, and what its placeholders stand for."""

import random
import re

import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images.rules import rules_of
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.sources.csv.sites import check_site_pattern
from cytotable_dagster.core.sources.plate_folders import folder_of_plate
from cytotable_dagster.core.support.placeholders import ANGLES, template


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
        ("s3://b/{Run_2}/{plate}", "s3://b/x/P", {"Run_2": "x", "plate": "P"}),
        ("s3://b/{2}/<plate>", "s3://b/{2}/<plate>", {}),
    ],
)
def test_an_address_fits_a_pattern_or_not(pattern, address, places):
    assert template(pattern).match(address) == places


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
        assert template(text).match(address) == (alone and alone.groupdict()), (text, address)


def test_a_long_name_that_nearly_fits_is_looked_at_once():
    # Every way to divide it among six placeholders would take longer than anyone lives.
    assert template("s3://b/{a}_{b}_{c}_{d}_{e}_{plate}.sqlite").match(f"s3://b/{'_' * 1000}.sqlitf") is None


def test_values_are_put_in_as_they_are_and_levels_are_those_of_the_text():
    given = template("s3://b/{batch}_{plate}/{plate}.{end}").given({"plate": "{batch}/x"})
    assert str(given) == "s3://b/{batch}_{batch}/x/{batch}/x.{end}"
    assert given.names == ("batch", "end")
    assert [(str(level), level.names) for level in given.levels()] == [
        *(("s3:", ()), ("", ()), ("b", ()), ("{batch}_{batch}", ("batch",))),
        *(("x", ()), ("{batch}", ()), ("x.{end}", ("end",))),
    ]
    assert given.filled({"batch": "<end>", "end": "y"}) == "s3://b/<end>_{batch}/x/{batch}/x.y"
    assert str(template("/<a>/{a}", ANGLES).given({"a": "1"})) == "/1/{a}"


def test_a_text_that_lacks_a_placeholder_is_refused_in_the_same_words_wherever_it_is_given():
    for refused, lacks in (
        (lambda: Pattern("s3://b/{batch}/"), "{plate}"),
        (lambda: folder_of_plate("{site}/..."), "{plate}"),
        (lambda: check_site_pattern("site"), "placeholder"),
        (lambda: rules_of([{"from": "/a/<x>/", "to": "/b/<y>"}]), "<y>"),
    ):
        with pytest.raises(OptionError, match=f"no {lacks} in it; write it as '"):
            refused()
