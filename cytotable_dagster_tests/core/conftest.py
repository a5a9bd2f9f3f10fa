"""What the tests of the converter share: a place for a plate, a conversion of it, and a look at what was left."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

from cytotable_dagster import convert
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


def names_in(folder: Path) -> list[str]:
    """Everything below a folder, hidden files too, by relative name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
