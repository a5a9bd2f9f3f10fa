"""How stores are spoken to, as values."""

import pickle
from pathlib import Path

import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of

SECRET = {"endpoint_url": "http://127.0.0.1:9", "aws_access_key_id": "me", "aws_secret_access_key": "secret"}


def test_values_are_equal_travel_and_keep_secrets(tmp_path: Path) -> None:
    cache = Cache.checked({"cache_limit": "2GB", "local_cache_dir": tmp_path / "copies", **SECRET})
    assert (cache.folder, cache.limit, cache.store) == (tmp_path / "copies", 2 * 10**9, Store.checked(SECRET))
    place = destination_of("s3://bucket/out", cache.store)
    for value in (cache, cache.store, place):
        assert pickle.loads(pickle.dumps(value)) == value
        assert "secret" not in repr(value)


def test_what_is_no_option_is_refused_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COPIES", raising=False)
    with pytest.raises(TypeError, match=r"endpoint.*local_cache_dir.*cache_limit"):
        Cache.checked({"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(OptionError, match="cache_limit 'much'"):
        Cache.checked({"cache_limit": "much"})
    with pytest.raises(OptionError, match="COPIES is not set"):
        Cache.checked({"local_cache_dir": tmp_path / "$COPIES"})


def test_results_are_signed_for_unless_their_own_options_say_else() -> None:
    public = Store.checked({"endpoint_url": "http://127.0.0.1:9", "no_sign_request": True})
    assert public.to_write() == Store.checked({"endpoint_url": "http://127.0.0.1:9"})
    assert public.to_write({"no_sign_request": True, "local_cache_dir": "x"}) == Store.checked(
        {"no_sign_request": True}
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("overwrit", "convert() has no argument overwrit; did you mean overwrite?"),
        ("endpoint_ulr", "convert() has no argument endpoint_ulr; did you mean endpoint_url?"),
        ("where", "convert() has no argument where; help(convert) lists those there are"),
    ],
)
def test_an_argument_that_is_not_there_is_told_in_a_short_line_with_the_one_that_was_meant(given, told, tmp_path):
    with pytest.raises(TypeError) as caught:
        convert(tmp_path / "none.sqlite", tmp_path / "out", **{given: True})
    assert str(caught.value) == told
