"""Plans of several plates, whose columns memory holds once."""

from pathlib import Path

from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import Plan, load_plan
from cytotable_dagster.core.planning.shapes import Shapes
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster.core.steps.joined import joined_schema
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite


def _planned(folder: Path, name: str, *cells: int, column: str | None = None, **options: object) -> Plan:
    """The plan of a plate, whose cells have one column more."""
    tables = plate(JUMP, sites(*cells))
    if column is not None:
        tables["Cells"].columns[column] = "FLOAT"
    path = write_sqlite(folder / f"{name}.sqlite", tables)
    source = Source(name, str(path), path, path.stat().st_size, None, None, name)
    asked = Options(numbered=True, plate_name=name, joined=True, both=True, **options)
    return make_plan(source, resolved_preset(source, None), asked, folder / f"plan of {name}")


def test_plans_with_equal_columns_have_them_together_and_all_else_apart(tmp_path):
    shapes = Shapes()
    first, own = _planned(tmp_path, "A", 3, 2), _planned(tmp_path, "B", 1, 4, 2)
    assert shapes.kept(first) is first
    found = shapes.kept(own)
    assert found == own and found.number != first.number
    for part, one in zip(found.tables, first.tables, strict=True):
        assert part.columns is one.columns and part.table is one.table
    rows = [[part.rows for part in plan.tables] for plan in (found, own, first)]
    assert rows[0] == rows[1] != rows[2]
    assert all(found.schema(name) is first.schema(name) for name in found.results)
    assert joined_schema(found) is joined_schema(first)
    assert joined_schema(found).equals(joined_schema(own))


def test_plans_with_other_columns_are_kept_as_they_are_and_not_too_many(tmp_path):
    shapes = Shapes()
    plans = [_planned(tmp_path, f"P{n}", 1, column=f"Cells_New_{n}") for n in range(5)]
    assert [shapes.kept(plan) is plan for plan in plans] == [True] * 4 + [False]
    assert shapes.kept(plans[4]) is None
    assert shapes.kept(_planned(tmp_path, "Q", 2, column="Cells_New_3")).schema("Cells") is plans[3].schema("Cells")


def test_what_is_joined_otherwise_is_not_shared(tmp_path):
    shapes = Shapes()
    assert shapes.kept(_planned(tmp_path, "A", 2)) is not None
    own = _planned(tmp_path, "B", 2, image_features=True)
    assert shapes.kept(own) is own


def test_a_plan_that_is_read_again_is_the_one_that_was_kept(tmp_path):
    plan = _planned(tmp_path, "A", 3, 2)
    for other in "BC":
        _planned(tmp_path, other, 1)
    read = load_plan(plan.folder)
    assert read is not plan and read == plan
    assert read.schema("Cells").equals(plan.schema("Cells"))
