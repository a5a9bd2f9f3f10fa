"""AnnData by both tools of the same plate: the same cells, and every value of theirs is in ours."""

import anndata
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import EXPORT, plate, sites, write_sqlite
from cytotable_dagster_tests.parity.anndata_tables import compare
from cytotable_dagster_tests.parity.peer import PeerError, run_peer

KINDS = {"anndata_h5ad": ("h5ad", anndata.read_h5ad), "anndata_zarr": ("zarr", anndata.read_zarr)}
KEYS = ["ImageNumber", "Cytoplasm_Parent_Cells"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The plate, and what CytoTable made of it by kind."""
    folder = tmp_path_factory.mktemp("anndata")
    source = write_sqlite(folder / "P1.sqlite", plate(EXPORT, sites(7, 4, 9)))
    common = {"source_path": source, "preset": EXPORT, "join": True, "chunk_size": 30_000}
    wanted = [
        {**common, "dest_datatype": kind, "dest_path": folder / f"theirs.{ending}"}
        for kind, (ending, _) in KINDS.items()
    ]
    try:
        found, _ = run_peer(wanted)
    except PeerError as error:
        pytest.skip(str(error))
    assert [answer.error for answer in found] == [None] * len(KINDS)
    return source, {kind: folder / f"theirs.{ending}" for kind, (ending, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_cytotable_exports_is_there(exported, tmp_path, kind):
    source, theirs = exported
    ending, read = KINDS[kind]
    # CytoTable leaves out what has no nucleus.
    options = {"names": "cytotable", "unmatched": "drop", "data_type_cast_map": {"float": "float64"}}
    ours = convert(source, tmp_path / f"ours.{ending}", **options)
    assert compare(read(ours.path), read(theirs[kind]), KEYS) > 0
