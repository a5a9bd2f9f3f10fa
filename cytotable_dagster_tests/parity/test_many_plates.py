"""A folder of plates, by both tools: the same rows, and where CytoTable's are wrong, how."""

import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import EXPORT, OBJECTS, plate, sites, write_sqlite
from cytotable_dagster_tests.parity.peer import PeerError, run_peer

TABLES = ("Image", *OBJECTS)
PLATES = {"P1": (6, 3, 4), "P2": (5, 2)}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """CytoTable's files by kind of result, of the folder `plates` beside them."""
    folder = tmp_path_factory.mktemp("plates")
    for name, cells in PLATES.items():
        write_sqlite(folder / "plates" / f"{name}.sqlite", plate(EXPORT, sites(*cells)))
    common = {
        "source_path": folder / "plates",
        "source_datatype": "sqlite",
        "dest_datatype": "parquet",
        "preset": EXPORT,
        "add_tablenumber": True,
        "chunk_size": 30_000,
    }
    wanted = [{**common, "join": join, "dest_path": folder / f"theirs-{join}"} for join in (False, True)]
    try:
        found, _ = run_peer(wanted)
    except PeerError as error:
        pytest.skip(str(error))
    assert [answer.error for answer in found] == [None, None]
    return {"plates": [folder / "plates"], "tables": list(found[0].files), "joined": list(found[1].files)}


def test_tables_of_several_plates_have_the_same_rows_but_for_the_number_that_tells_plates_apart(answers, tmp_path):
    convert(answers["plates"][0], tmp_path / "ours", preset=EXPORT, add_tablenumber=True, names="cytotable")
    for name in TABLES:
        (file,) = [path for path in answers["tables"] if path.stem == f"per_{name.lower()}"]
        theirs, ours = pq.read_table(file), pq.read_table(tmp_path / "ours" / f"{name}.parquet")
        numbers = {zlib.crc32(path.read_bytes()) for path in answers["plates"][0].iterdir()}
        assert set(ours["Metadata_TableNumber"].to_pylist()) == numbers
        # CytoTable gives the plates the number of one of them.
        assert len(theirs[f"{name}_TableNumber"].unique()) == 1
        names = [own for own in theirs.schema.names if own != f"{name}_TableNumber"]
        assert set(ours.schema.names) - set(names) == {"Metadata_TableNumber", "Metadata_Plate"}
        assert _sorted(ours, names) == _sorted(theirs, names)


def test_joined_cells_of_several_plates_are_not_mixed_up(answers, tmp_path):
    ours = convert(answers["plates"][0], tmp_path / "ours.parquet", preset=EXPORT, add_tablenumber=True)
    assert ours.outputs[0].rows == sum(map(sum, PLATES.values()))
    # Joined by ImageNumber and object number alone, objects of one plate meet those of the other.
    assert pq.read_table(answers["joined"][0]).num_rows > ours.outputs[0].rows


def _sorted(table: pa.Table, names: list[str]) -> list[tuple[str, ...]]:
    return sorted(tuple(map(str, row.values())) for row in table.select(names).to_pylist())
