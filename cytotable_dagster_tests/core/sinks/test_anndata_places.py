"""AnnData in a store."""

import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import DestinationExistsError
from cytotable_dagster_tests.core.conftest import names_in

KINDS = ("h5ad", "zarr")


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_gets_what_a_folder_gets(make_plate, tmp_path, in_store, kind):
    # Each column is some objects of a store.
    source, name, one = make_plate(), f"cells.{kind}", {"targets": ["nuclei"]}
    to_store = {"dest_cloud": in_store.store.options, **one}
    convert(source, tmp_path / "local" / name, **one)
    convert(source, in_store.address(name), **to_store)
    with pytest.raises(DestinationExistsError):
        convert(source, in_store.address(name), **to_store)
    convert(source, in_store.address(name), overwrite=True, **to_store)
    found = {}
    for file in in_store.there(""):
        with in_store.open(file.removeprefix("/")) as opened:
            found[file.removeprefix("/")] = opened.read()
    local = {path: tmp_path / "local" / path for path in names_in(tmp_path / "local")}
    assert found == {path: file.read_bytes() for path, file in local.items() if file.is_file()}
