"""The public face: all that it names is there, and nothing is loaded before it is asked for."""

import pytest

import cytotable_dagster
import cytotable_dagster.errors
from cytotable_dagster.core import errors


def test_the_public_face_has_what_it_names():
    for module in (cytotable_dagster, cytotable_dagster.errors):
        assert {name for name in module.__all__ if getattr(module, name, None) is None} == set()
        assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = cytotable_dagster.nothing_of_ours


def test_every_error_can_be_imported_by_name():
    own = {name for name, found in vars(errors).items() if isinstance(found, type)}
    of_cytotable = {name for name in cytotable_dagster.errors.__all__ if name.endswith("Exception")}
    assert set(cytotable_dagster.errors.__all__) - of_cytotable == own
    assert {getattr(cytotable_dagster.errors, name).__name__ for name in of_cytotable} < own
