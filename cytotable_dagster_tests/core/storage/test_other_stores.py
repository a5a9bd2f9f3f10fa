"""Addresses of stores that are not read are one line at every door."""

import re

import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.intake.addresses import Pattern
from cytotable_dagster.core.intake.listing import listing
from cytotable_dagster.core.intake.patterns import find_by_pattern
from cytotable_dagster.core.storage.store import Store

DOORS = {
    "a source": lambda address, source, here: convert(f"{address}/P1.sqlite", here / "out"),
    "a folder of sources": lambda address, source, here: convert([f"{address}/plates/"], here / "out"),
    "a pattern": lambda address, source, here: convert(f"{address}/P*.sqlite", here / "out"),
    "a destination": lambda address, source, here: convert(source, f"{address}/out"),
    "a joined table": lambda address, source, here: convert(source, f"{address}/cells.parquet"),
    "inspect": lambda address, source, here: inspect_plate(f"{address}/P1.sqlite"),
    "a dataset's source": lambda address, source, here: datasets.add(f"{address}/P1.sqlite", here / "set"),
    "a dataset": lambda address, source, here: datasets.add(source, f"{address}/set"),
    "a plate that is looked for": lambda address, source, here: find_by_pattern(
        f"{address}/{{plate}}.sqlite", "P1", Store()
    ),
    "plates that arrive": lambda address, source, here: listing(
        Pattern(f"{address}/{{plate}}.sqlite"), Store()
    ).__enter__(),
}


@pytest.mark.parametrize("address", ["hdfs://bucket", "abfss://c@account.dfs.core.windows.net"])
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_other_stores_are_not_supported_at_any_door(make_plate, tmp_path, door, address):
    scheme = address.partition("://")[0]
    with pytest.raises(
        OptionError, match=re.escape(f"{scheme}:// addresses are not supported in this version")
    ) as caught:
        door(address, make_plate(), tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_no_plate_is_registered_at_such_an_address():
    dagster = pytest.importorskip("dagster")
    from cytotable_dagster.defs import plates

    with dagster.DagsterInstance.ephemeral() as instance:
        with pytest.raises(OptionError, match="not supported in this version"):
            plates.add(instance, "P1", "hdfs://bucket/P1.sqlite")
        assert plates.list_plates(instance) == []
