"""Chunk files become one file while they come, in order whatever the order of their coming."""

import gc
from concurrent.futures import Future
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.execution.runner import Runner
from cytotable_dagster.core.model.types import Coercion, FileFacts
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster.core.steps.chunk_files import chunk_path, file_facts, write_chunk
from cytotable_dagster.core.steps.collect import TableFile, results_of
from cytotable_dagster_tests.digests import digest

FACTS = {"version": "1", "plate": "P1"}


def _chunk(folder: Path, chunk: int, coercions: tuple[Coercion, ...] = (), *, in_memory: bool = False) -> FileFacts:
    table = pa.table({"x": [chunk, -chunk]})
    return write_chunk(chunk_path(folder, chunk), table.schema, [(table, coercions)], FACTS, in_memory)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_chunks_are_in_order_whatever_the_order_of_their_coming(tmp_path, order):
    with TableFile(tmp_path / "Cells", True) as table:
        done = [table.add([_chunk(tmp_path / "Cells", chunk)]) for chunk in order]
        facts = table.finish(FACTS)
    assert done == [1, 2, 3]
    assert pq.read_table(facts.path)["x"].to_pylist() == [0, 0, 1, -1, 2, -2]
    assert (facts.rows, facts.columns, facts.size) == (6, 1, facts.path.stat().st_size)
    assert read_facts(facts.path) == {**FACTS, "rows": "6"}


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1), (1, 3, 5, 0, 2, 4)])
def test_chunks_in_memory_give_the_same_file(tmp_path, order):
    made = []
    for in_memory in (False, True):
        folder = tmp_path / str(in_memory) / "Cells"
        folder.parent.mkdir()
        with TableFile(folder, True) as table:
            for chunk in order:
                table.add([_chunk(folder, chunk, in_memory=in_memory)])
            made.append(table.finish(FACTS))
        assert not folder.exists() or not list(folder.iterdir())
    assert digest(made[0].path) == digest(made[1].path)
    assert [facts.content for facts in made] == [None, None]


def test_few_chunks_wait_in_memory_the_others_in_files(tmp_path, monkeypatch):
    monkeypatch.setenv("CYTOTABLE_MAX_THREADS", "4")
    with TableFile(tmp_path / "Cells", True) as table:
        for chunk in range(1, 8):
            table.add([_chunk(tmp_path / "Cells", chunk, in_memory=True)])
        assert len(list((tmp_path / "Cells").iterdir())) == 5
        table.add([_chunk(tmp_path / "Cells", 0, in_memory=True)])
        facts = table.finish(FACTS)
    assert pq.read_table(facts.path)["x"].to_pylist() == [value for chunk in range(8) for value in (chunk, -chunk)]


def test_what_is_done_does_not_wait_in_memory_for_another_thread(tmp_path):
    """Of two tables and six chunks, all made before the calling thread looks at the first of them."""
    held: list[int] = []
    names = ("Cells", "Nuclei")

    def chunks(chunk: int) -> list[FileFacts]:
        # Of other types one may be a reference to what is gone, that raises when it is asked for its class.
        there = [one for one in gc.get_objects() if type(one) is FileFacts and one.content is not None]
        held.append(sum(one.path.is_relative_to(tmp_path) for one in there))
        return [_chunk(tmp_path / name, chunk, in_memory=True) for name in names]

    def at_once(function, *arguments) -> "Future[object]":
        future: Future[object] = Future()
        future.set_result(function(*arguments))
        return future

    run = Runner(at_once, 100, tmp_path / "stop", in_process=True)
    tables = {name: TableFile(tmp_path / name, True) for name in names}
    made = results_of(run, [(names, (chunks, (chunk,))) for chunk in range(6)], tables, lambda: FACTS)
    assert held == [0] * 6
    for name in names:
        assert pq.read_table(made[name].path)["x"].to_pylist() == [x for chunk in range(6) for x in (chunk, -chunk)]


def test_a_chunk_file_is_taken_only_once_its_task_gave_it_back(tmp_path):
    with TableFile(tmp_path / "Cells", True) as table:
        second = _chunk(tmp_path / "Cells", 1)
        table.add([_chunk(tmp_path / "Cells", 0)])
        assert second.path.exists()
        assert not chunk_path(tmp_path / "Cells", 0).exists()
        table.add([second])
        assert not second.path.exists()


def test_without_concatenation_the_chunk_files_stay(tmp_path):
    with TableFile(tmp_path / "Cells", False) as table:
        table.add([_chunk(tmp_path / "Cells", chunk) for chunk in (0, 1)])
        facts = table.finish(FACTS)
    assert sorted(path.name for path in facts.path.iterdir()) == ["00000.parquet", "00001.parquet"]
    assert facts.rows == 4


def test_coercions_of_all_chunks_are_added_up(tmp_path):
    with TableFile(tmp_path / "Cells", True) as table:
        table.add([_chunk(tmp_path / "Cells", chunk, (Coercion("x", 2, "'n/a'"),)) for chunk in (0, 1)])
        found = table.finish(FACTS)
    assert found.coercions == (Coercion("x", 4, "'n/a'"),)
    assert file_facts(found.path, 0).coercions == found.coercions, "the file itself tells of them"
