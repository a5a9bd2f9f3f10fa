"""What CytoTable wrote is a source: its joined file stays as it is, its compartments are joined as their source is."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.parity.peer import peer_python, run_peer

pytestmark = pytest.mark.skipif(
    peer_python() is None, reason="CytoTable's environment is not here: `make parity` makes it"
)


def test_what_cytotable_wrote_is_read(tmp_path: Path) -> None:
    source = write_sqlite(tmp_path / "P1.sqlite", plate(EXPORT, sites(3, 2)))
    jump = write_sqlite(tmp_path / "P2.sqlite", plate(JUMP, sites(3, 2)))
    common = {"source_path": source, "dest_datatype": "parquet", "preset": EXPORT}
    answers, _ = run_peer(
        [
            {**common, "dest_path": tmp_path / "theirs.parquet", "join": True},
            {**common, "dest_path": tmp_path / "files", "join": False},
            {**common, "dest_path": tmp_path / "chunks", "join": False, "concat": False, "chunk_size": 2},
            {**common, "source_path": jump, "preset": JUMP, "dest_path": tmp_path / "jump", "join": False},
        ]
    )
    assert [answer.error for answer in answers] == [None] * 4
    theirs = pq.read_table(tmp_path / "theirs.parquet")
    again = pq.read_table(convert(tmp_path / "theirs.parquet", tmp_path / "again.parquet", names="cytotable"))
    order = [("Metadata_ImageNumber", "ascending"), ("Cytoplasm_Number_Object_Number", "ascending")]
    assert again.select(theirs.column_names).equals(
        theirs.sort_by(order).cast(again.select(theirs.column_names).schema)
    )
    for dialect, plates, places in ((EXPORT, source, ("files", "chunks")), (JUMP, jump, ("jump",))):
        expected = pq.read_table(convert(plates, tmp_path / f"{dialect}.parquet"))
        for place in places:
            found = pq.read_table(convert(tmp_path / place, tmp_path / f"{place}.parquet"))
            same = [name for name in expected.column_names if name in found.column_names]
            assert found.select(same).equals(expected.select(same))
            assert set(expected.column_names) - set(same) <= {"Metadata_Plate"}
