"""The asset of a warehouse, which follows the dataset."""

import ast
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster import datasets, read_table, warehouse
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.resources import Dataset, Warehouse
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite

KEY = dg.AssetKey("warehouse")


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """`built(plate=cells, ...)` makes a dataset of such plates, and the asset of it; gives its metadata."""
    monkeypatch.setenv("CYTOTABLE_WAREHOUSE", str(tmp_path / "warehouse"))
    defs = build_defs(chunks=2, resources={"dataset": Dataset(folder=str(tmp_path / "set"))})
    (tmp_path / "plates").mkdir()

    def build(**cells: tuple[int, ...]) -> dict[str, object]:
        for name, own in cells.items():
            (tmp_path / "plates" / f"{name}.sqlite").unlink(missing_ok=True)
            write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(JUMP, sites(*own)))
        sources = [tmp_path / "plates" / f"{name}.sqlite" for name in cells]
        if sources:
            datasets.add(sources, tmp_path / "set", join=True)
        job = dg.define_asset_job("only", selection=dg.AssetSelection.assets(KEY))
        own = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
        with dg.instance_for_test() as instance:
            result = own.resolve_job_def("only").execute_in_process(instance=instance)
            (event,) = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    return build


def test_the_asset_follows_the_dataset_and_tells_of_it(built, tmp_path):  # type: ignore[no-untyped-def]
    root = tmp_path / "warehouse"
    shown = built(A=(3, 2), B=(4,))
    assert (shown["added"], shown["plates"], shown["dagster/row_count"]) == ("A, B", 2, 9)
    assert shown["tables"] == "profiles.joined_profiles"
    *made, read = ast.parse(str(shown["read it"]).removeprefix("```python").removesuffix("```")).body
    exec(compile(ast.Module(made, []), "made", "exec"), names := {})
    assert len(eval(ast.unparse(read), names)) == 9
    datasets.remove(tmp_path / "set", "A")
    shown = built(B=(1,), C=(2,))
    assert (shown["added"], shown["replaced"], shown["removed"]) == ("C", "B", "A")
    assert warehouse.plates(root) == ["B", "C"]
    assert len(read_table(root)) == 1 + 2


def test_there_is_no_such_asset_unless_a_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY not in build_defs(chunks=2).resolve_asset_graph().get_all_asset_keys()
    monkeypatch.setenv("CYTOTABLE_WAREHOUSE", "s3://bucket/warehouse")
    with pytest.raises(OptionError, match=r"CYTOTABLE_WAREHOUSE=s3://bucket/warehouse: .* a file of this machine"):
        build_defs(chunks=2)
    assert KEY in build_defs(chunks=2, warehouse=True).resolve_asset_graph().get_all_asset_keys()
    assert Warehouse(folder="/somewhere").root() == Path("/somewhere")
