"""No password of an address is shown, and no message has two lines."""

import pickle
from inspect import isclass

import pytest

from cytotable_dagster import errors
from cytotable_dagster.core.shown import one_line, shown

ERRORS = [found for found in vars(errors).values() if isclass(found) and issubclass(found, errors.CytoTableError)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://user:secret@host:9000/x", "http://host:9000/x"),
        ("http://secret@host", "http://host"),
        ("http://:secret@host", "http://host"),
        ("https://user:se/cr?et#1@host/a", "https://host/a"),
        ("https://user:1234@host/a", "https://host/a"),
        ("of http://a:b@c and http://d:e@f.", "of http://c and http://f."),
        ("http://127.0.0.1:5000/bucket/me@home", "http://127.0.0.1:5000/bucket/me@home"),
        ("s3://bucket/me@home.sqlite", "s3://bucket/me@home.sqlite"),
        ("nothing", "nothing"),
    ],
)
def test_an_address_is_shown_without_user_and_password(text, wanted):
    assert shown(text) == wanted


def test_a_text_is_one_line_of_a_length():
    assert one_line("a\r\n\r\n b\x85c\u2028d\0") == "a / b / c / d\\x00"
    assert one_line("a  b") == "a  b"
    assert one_line("x" * 50, 10) == "x" * 10 + "..."


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_are_one_line_without_passwords(kind):
    error = kind("http://user:secret@host/x:\nno such")
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert str(one) == "http://host/x: / no such"
        assert "secret" not in repr(one) + str(one.args)


def test_the_time_to_look_for_passwords_grows_with_the_text():
    # Half a megabyte of beginnings of addresses: a second pass over the rest for each would take minutes.
    assert len(shown("://a:b" * 80_000)) == 480_000
