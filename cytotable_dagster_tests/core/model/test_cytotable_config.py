"""What programs written for CytoTable find under its names: presets as dictionaries, exceptions, the limit of threads."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import cytotable_dagster as cytotable
from cytotable_dagster import errors
from cytotable_dagster.core.environment import MAX_THREADS
from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster_tests.core.plates import DIALECTS, plate, write_sqlite


def test_presets_are_read_as_cytotables_dictionaries_and_cannot_be_written():
    assert set(cytotable.config) == set(PRESETS)
    jump = cytotable.config["cellprofiler_sqlite_cpg0016_jump"]
    assert jump["CONFIG_NAMES_COMPARTMENTS"] == ("cells", "cytoplasm", "nuclei")
    assert jump["CONFIG_PAGE_KEYS"]["cells"] == "ObjectNumber"
    with pytest.raises(TypeError):
        jump["CONFIG_CHUNK_SIZE"] = 1  # type: ignore[index]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_query_of_a_preset_makes_its_joined_table(dialect: str, tmp_path: Path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(dialect))
    query = cytotable.config[dialect]["CONFIG_JOINS"]
    asked = pq.read_table(cytotable.convert(source, tmp_path / "asked.parquet", joins=query))
    usual = pq.read_table(cytotable.convert(source, tmp_path / "usual.parquet", names="cytotable"))
    shared = [name for name in usual.column_names if name in asked.column_names]
    # Numbers of cells and nuclei stand in the cytoplasm's columns of parents too.
    left_out = set(usual.column_names) - set(shared)
    assert left_out <= {"Metadata_Cells_ObjectNumber", "Metadata_Nuclei_ObjectNumber"}
    keys = [(name, "ascending") for name in shared if name.startswith("Metadata_")]
    assert asked.select(shared).sort_by(keys).equals(usual.select(shared).sort_by(keys))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"dest_datatype": "xlsx"}, cytotable.DatatypeException),
        ({"source_datatype": "xlsx"}, cytotable.DatatypeException),
        ({"source_path": "nowhere"}, cytotable.NoInputDataException),
        ({"chunk_size": -1}, cytotable.CytoTableException),
    ],
)
def test_errors_are_caught_by_cytotables_names(wrong: dict, kind: type[Exception], tmp_path: Path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(DIALECTS[0]))
    with pytest.raises(kind):
        cytotable.convert(**{"source_path": source, "dest_path": tmp_path / "out", **wrong})
    assert not (tmp_path / "out").exists()


def test_a_limit_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch):
    free = cores()
    monkeypatch.setenv(MAX_THREADS, str(free + 3))
    assert cores() == free + 3
    for wrong in ("none", "0", "-2"):
        monkeypatch.setenv(MAX_THREADS, wrong)
        with pytest.raises(errors.OptionError, match=f"{MAX_THREADS}={wrong!r}: give a number from 1"):
            cores()


def test_a_limit_of_threads_that_is_none_is_told_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(MAX_THREADS, "many")
    doors = (
        cytotable.convert,
        cytotable.datasets.add,
        lambda source, _: cytotable.inspect_plate(source),
        cytotable.crops,
    )
    for door in doors:
        # Nor is there a source.
        with pytest.raises(errors.OptionError, match=f"{MAX_THREADS}='many': give a number from 1"):
            door(tmp_path / "P1.sqlite", tmp_path / "out")  # type: ignore[operator]
    assert not list(tmp_path.iterdir())
