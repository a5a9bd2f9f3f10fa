"""A chunk's compartments and joined rows by one reading of the source: the files that are made one by one."""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.errors import SourceChangedError
from cytotable_dagster.core.intake.cache import fetched
from cytotable_dagster.core.model.types import SINGLE_CELLS, FileFacts
from cytotable_dagster.core.parquet.writing import facts_in
from cytotable_dagster.core.planning import cutting
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Plan
from cytotable_dagster.core.steps.chunk_files import chunk_path, write_chunks
from cytotable_dagster.core.steps.join import convert_chunk, join_chunk_files
from cytotable_dagster_tests.core.planning.test_links import as_csv, tables
from cytotable_dagster_tests.core.plates import JUMP, OBJECTS, Table, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.npz import test_npz


def _odd() -> dict[str, Table]:
    """A plate with rows gone, cells that two cytoplasms share or none has, and values that are none of their column's
    in all of them."""
    made, chance = plate(JUMP, sites(4, 3, 0, 5, 1, 2)), random.Random(4)
    for name in OBJECTS:
        for row in made[name].rows:
            if chance.random() < 0.3:
                row[f"{name}_AreaShape_Area"] = chance.choice(["n/a", 1e6, None])
    for row in made["Cytoplasm"].rows:
        row["Cytoplasm_Parent_Cells"] = chance.choice([1, 1, 2, None])
    made["Nuclei"].rows = [row for row in made["Nuclei"].rows if chance.random() < 0.8]
    made["Cells"].add_column("Cells_Name", "TEXT", [chance.choice(["a", "b", None]) for _ in made["Cells"].rows])
    return made


def _matched(*, turned: bool = False) -> dict[str, Table]:
    """A plate whose cytoplasms have the cells and nuclei of their image in this order, or in others."""
    made = plate(JUMP, sites(4, 3, 0, 5, 1, 2))
    made["Nuclei"].rows = [row for rows in _by_image(made["Nuclei"]) for row in rows[:-1]]
    for rows in _by_image(made["Cytoplasm"]):
        for place, row in enumerate(rows):
            row["Cytoplasm_Parent_Cells"] = len(rows) - place if turned else place + 1
            row["Cytoplasm_Parent_Nuclei"] = (place + 1) % len(rows) + 1 if turned else place + 1
    return made


def _by_image(table: Table) -> list[list[dict[str, Any]]]:
    images = [(row["TableNumber"], row["ImageNumber"]) for row in table.rows]
    return [[row for row, own in zip(table.rows, images, strict=True) if own == image] for image in {*images}]


def _without(*names: str, rows: bool = True) -> dict[str, Table]:
    """A plate without these tables, or without `rows` in them."""
    made = plate(JUMP, sites(4, 3, 0, 5))
    for name in names:
        if rows:
            made[name].rows = []
        else:
            del made[name]
    return made


PLATES: dict[str, Callable[[], dict[str, Table]]] = {
    "matched": _matched,
    "turned": lambda: _matched(turned=True),
    "no nucleus": lambda: _without("Nuclei"),
    "no cell, no nucleus": lambda: _without("Cells", "Nuclei"),
    "no cytoplasm": lambda: _without("Cytoplasm"),
    "base of cells": lambda: _without("Cytoplasm", rows=False),
    "base of nuclei": lambda: _without("Cytoplasm", "Cells", rows=False),
    "no images": lambda: _without("Image", rows=False),
}


def _sqlite(folder: Path, **how: bool) -> Path:
    return write_sqlite(folder / "P1.sqlite", _odd(), shuffled=1, **how)


def _parquet(folder: Path) -> Path:
    return Path(convert(_sqlite(folder), folder / "P1")["Cells"]).parent


def _csv(folder: Path) -> Path:
    return as_csv(folder / "P1", tables(Cytoplasm=("Cells", "Nuclei"), Cells=("Nuclei",), Nuclei=(), Foci=()))


def _npz(folder: Path) -> Path:
    for number in (1, 2):
        test_npz.site(folder / "P1" / f"A01_{number}.npz", 3, seed=number)
    return folder / "P1"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "sqlite": _sqlite,
    "views": lambda folder: _sqlite(folder, as_views=True),
    "parquet": _parquet,
    "csv": _csv,
    "npz": _npz,
    **{
        name: lambda folder, made=made: write_sqlite(folder / "P1.sqlite", made(), shuffled=1)
        for name, made in PLATES.items()
    },
}
OPTIONS: dict[str, Mapping[str, Any]] = {
    "usual": {},
    "fewer rows": {"unmatched": "drop", "drop_null": True},
    "more columns": {"image_features": True, "names": "cytotable"},
    "cast": {"data_type_cast_map": {"float": "float16"}, "targets": ["cells", "cytoplasm", "image"]},
    "other metadata": {"identifying_columns": ["ImageNumber", "ObjectNumber", "TableNumber", "Metadata_Well"]},
}
CASES = [*((source, "usual") for source in SOURCES), *(("sqlite", name) for name in OPTIONS if name != "usual")]
CASES += [("csv", "fewer rows"), ("npz", "fewer rows"), ("parquet", "fewer rows"), ("views", "cast")]


@pytest.fixture(params=[2, 1000], ids=["several batches", "one batch"])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Objects of a batch."""
    monkeypatch.setattr(cutting, "batch_size", lambda *_, **__: request.param)
    monkeypatch.setattr("cytotable_dagster.core.planning.make_plan.batch_size", cutting.batch_size)
    return request.param


def _planned(folder: Path, source: str, options: Mapping[str, Any]) -> Plan:
    request = Request.checked(**{**options, "chunks": 2})
    with fetched(request.plate_at(SOURCES[source](folder)), request.cache, False) as found:
        return make_plan(found, request.preset_of(found), request.options, folder / "plan")


def _separately(plan: Plan, folder: Path) -> Iterator[FileFacts]:
    for chunk in range(plan.chunk_count):
        for name in plan.compartments:
            yield from write_chunks(plan.folder, name, (chunk,), folder / name)
        yield from convert_chunk(plan.folder, chunk, {SINGLE_CELLS: folder / SINGLE_CELLS})


def _told(facts: FileFacts) -> tuple:
    """What is told of a file, but for where and how long."""
    return facts.path.parent.name, facts.path.name, facts.rows, facts.columns, facts.size, facts.coercions


@pytest.mark.parametrize(("source", "options"), CASES)
def test_files_are_to_the_byte_those_that_are_made_one_by_one(tmp_path, source, options, batch):
    plan = _planned(tmp_path, source, OPTIONS[options])
    alone = {_told(facts)[:2]: facts for facts in _separately(plan, tmp_path / "alone")}
    wanted = (*plan.compartments, SINGLE_CELLS)
    together = {}
    for chunk in range(plan.chunk_count):
        # In files where the source is looked at once more, and in memory where it is not.
        folders = {name: tmp_path / "together" / name for name in wanted}
        made = convert_chunk(plan.folder, chunk, folders, in_memory=batch > 2, checked=batch == 2)
        assert [facts.path.parent.name for facts in made] == list(wanted)
        together.update({_told(facts)[:2]: facts for facts in made})
    assert [_told(facts) for facts in together.values()] == [_told(facts) for facts in alone.values()]
    for name, facts in together.items():
        content = facts.path.read_bytes() if facts.content is None else facts.content.to_bytes()
        assert content == alone[name].path.read_bytes(), name
    if source in ("sqlite", "views") and options == "usual":
        lost = {name: [c.count for c in facts.coercions] for name, facts in alone.items()}
        assert sum(sum(own) for (table, _), own in lost.items() if table in OBJECTS) > 0
        assert sum(sum(own) for (table, _), own in lost.items() if table == SINGLE_CELLS) > 0


@pytest.mark.parametrize("source", ["matched", "turned"])
def test_what_is_matched_in_order_is_encoded_once(tmp_path, source):
    plan = _planned(tmp_path, source, {})
    made = convert_chunk(plan.folder, 0, {name: tmp_path / name for name in (*plan.compartments, SINGLE_CELLS)}, True)
    content = {facts.path.parent.name: facts.content for facts in made}
    shared = {
        name
        for name in plan.compartments
        for own in content[name].data[1:]
        for joined in content[SINGLE_CELLS].data[1:]
        if len(own) and len(joined) and np.shares_memory(np.frombuffer(own, np.uint8), np.frombuffer(joined, np.uint8))
    }
    assert shared == ({*OBJECTS} if source == "matched" else {"Cytoplasm"})


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "npz"])
@pytest.mark.parametrize("chunk_size", [2, 1000])
def test_both_results_have_the_rows_of_each_alone(tmp_path, source, chunk_size):
    path = SOURCES[source](tmp_path)
    both = convert(path, tmp_path / "both", join="both", chunk_size=chunk_size)
    files = convert(path, tmp_path / "files", chunk_size=chunk_size)
    joined = convert(path, tmp_path / "joined.parquet", join=True, chunk_size=chunk_size)
    assert {*both} == {*files, SINGLE_CELLS}
    for name in both:
        alone = pq.read_table(joined if name == SINGLE_CELLS else files[name])
        # Beside a joined table, tables tell their plate where no image table does.
        assert pq.read_table(both[name]).select(alone.column_names).equals(alone), name


def test_files_joined_are_to_the_byte_what_is_joined_of_the_source(tmp_path, batch):
    plan = _planned(tmp_path, "csv", {})
    for facts in _separately(plan, tmp_path / "alone"):
        assert not facts.coercions
    for chunk in range(plan.chunk_count):
        files = {name: chunk_path(tmp_path / "alone" / name, chunk) for name in plan.compartments}
        (joined,) = join_chunk_files(plan.folder, chunk, files, chunk_path(tmp_path / "of files", chunk))
        assert joined.path.read_bytes() == chunk_path(tmp_path / "alone" / SINGLE_CELLS, chunk).read_bytes()
        groups = pq.read_metadata(joined.path).num_row_groups
        assert groups == pq.read_metadata(files["Cytoplasm"]).num_row_groups
        assert groups > 1 or batch > 2


def test_compartments_that_are_not_asked_for_are_joined_and_left_out(tmp_path):
    plan = _planned(tmp_path, "sqlite", {})
    folders = {name: tmp_path / "some" / name for name in (SINGLE_CELLS, "Nuclei")}
    made = convert_chunk(plan.folder, 0, folders)
    assert [facts.path for facts in made] == [chunk_path(folder, 0) for folder in folders.values()]
    assert sorted(path.name for path in (tmp_path / "some").iterdir()) == ["Nuclei", SINGLE_CELLS]
    (alone,) = convert_chunk(plan.folder, 0, {SINGLE_CELLS: tmp_path / "alone"})
    assert made[0].path.read_bytes() == alone.path.read_bytes()
    assert facts_in(pq.read_metadata(alone.path))["compartment"] == SINGLE_CELLS


def test_nothing_appears_of_a_source_that_has_changed(tmp_path):
    plan = _planned(tmp_path, "sqlite", {})
    plan.source.path.write_bytes(plan.source.path.read_bytes())
    folders = {name: tmp_path / "made" / name for name in (*plan.compartments, SINGLE_CELLS)}
    with pytest.raises(SourceChangedError):
        convert_chunk(plan.folder, 0, folders, checked=True)
    assert not (tmp_path / "made").exists()
