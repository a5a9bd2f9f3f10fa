"""What the tests of the converter share: a place for a plate, a conversion of it, and a look at what was left."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

from cytotable_dagster import convert
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster_tests.core.plates import JUMP, Table, plate, write_sqlite

# The machine may be busy: time is no property.
settings.register_profile(
    "cytotable",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("cytotable")

MakePlate = Callable[..., Path]
Converted = Callable[..., dict[str, pa.Table]]


@pytest.fixture
def make_plate(tmp_path: Path) -> MakePlate:
    """Write tables (or a JUMP plate) to `source/P1.sqlite`; options as `write_sqlite` takes them."""

    def make(tables: Mapping[str, Table] | None = None, name: str = "source/P1.sqlite", **options: Any) -> Path:
        return write_sqlite(tmp_path / name, plate(JUMP) if tables is None else tables, **options)

    return make


@pytest.fixture(params=["tables", "views"])
def storage(request: pytest.FixtureRequest) -> dict[str, bool]:
    """`write_sqlite` options by which a plate is read by each of the two readers."""
    return {"as_views": request.param == "views"}


@pytest.fixture
def converted(make_plate: MakePlate, tmp_path: Path) -> Converted:
    """Write tables, convert them, and give each result as an Arrow table by file name."""

    def run(
        tables: Mapping[str, Table] | None = None, storage: Mapping[str, bool] | None = None, **options: Any
    ) -> dict[str, pa.Table]:
        source = make_plate(tables, **(storage or {}))
        result = convert(source, options.pop("dest_path", tmp_path / "out"), **options)
        return {output.path.stem: pq.read_table(output.path) for output in result.outputs}

    return run


@dataclass(frozen=True)
class Results:
    """A place for results, in a folder or in a store: a test of `convert` is the same for both."""

    root: Destination
    options: dict[str, Any]

    def at(self, name: str = "out") -> str:
        return self.root.address(name)

    def names(self, name: str = "out") -> list[str]:
        """What is below, hidden files of a folder too."""
        if isinstance(self.root, LocalDestination):
            return names_in(Path(self.at(name)))
        return [stored.name.removeprefix(f"{name}/") for stored in self.root.list(name)]

    def content(self, path: Path) -> bytes:
        """Of an output, by its path or address."""
        with self.root.open(str(path).removeprefix(f"{self.root.address()}/")) as file:
            return file.read()

    def table(self, path: Path) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.content(path)))


@pytest.fixture(params=["folder", "store"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Results:
    if request.param == "folder":
        return Results(LocalDestination(tmp_path / "results"), {})
    place = request.getfixturevalue("in_store")
    return Results(place, {"dest_cloud": place.store.options})


def names_in(folder: Path) -> list[str]:
    """Everything below a folder, hidden files too, by relative name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
