"""coSMicQC 1.1 labels outliers of joined tables, which a single cytoplasm without nucleus or cell would spoil."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.clients.environments import ask, interpreter
from cytotable_dagster_tests.core.plates import DIALECTS, JUMP, plate, sites, table_name, write_sqlite

ASKED_FOR = ("AreaShape_FormFactor", "AreaShape_Eccentricity")


def with_shapes(folder: Path, dialect: str) -> Path:
    """A plate with what the default conditions are of; some cytoplasms have no nucleus."""
    tables = plate(dialect, sites(6, 5))
    nuclei = tables[table_name(dialect, "Nuclei")]
    for column in ASKED_FOR:
        nuclei.add_column(f"Nuclei_{column}", "FLOAT", [1 / (2 + number) for number in range(len(nuclei.rows))])
    return write_sqlite(folder / "P1.sqlite", tables)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict]:
    interpreter("cosmicqc")
    folder = tmp_path_factory.mktemp("cosmicqc")
    tables = {}
    for dialect in DIALECTS:
        source = with_shapes(folder / dialect, dialect)
        for unmatched in ("keep", "drop"):
            tables[f"{dialect} {unmatched}"] = folder / f"{dialect}-{unmatched}.parquet"
            convert(source, tables[f"{dialect} {unmatched}"], unmatched=unmatched)
    return tables, ask("cosmicqc", tables=tables)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_cell_has_a_score_where_unmatched_rows_are_dropped(answers, dialect):
    tables, found = answers
    rows = pq.read_metadata(tables[f"{dialect} drop"]).num_rows
    assert rows < pq.read_metadata(tables[f"{dialect} keep"]).num_rows
    scores = found[f"{dialect} drop"]["scores"]
    assert set(scores.values()) == {rows}
    assert {name.split("_AreaShape_")[1] for name in scores} == {"Area_zscore", *(f"{name.split('_')[1]}_zscore" for name in ASKED_FOR)}  # fmt: skip


def test_no_cell_has_a_score_where_they_are_kept(answers):
    """Which is why there is the option: the document on reports says so."""
    assert set(answers[1][f"{JUMP} keep"]["scores"].values()) == {0}


def test_a_real_plate_has_scores(tmp_path, real_data):
    interpreter("cosmicqc")
    convert(real_data / "nf1_schwann/all_cellprofiler.sqlite", tmp_path / "nf1.parquet", unmatched="drop")
    answer = ask("cosmicqc", tables={"nf1": tmp_path / "nf1.parquet"})["nf1"]
    assert answer["rows"] == 242
    assert set(answer["scores"].values()) == {242}
