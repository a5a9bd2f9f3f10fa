"""AnnData where the disk is full, the process is killed, a package is missing, or somebody reads what is replaced."""

import signal
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pytest
import zarr

from cytotable_dagster import convert
from cytotable_dagster.core.errors import OptionError, StrictError
from cytotable_dagster.core.sinks.anndata_hdf5 import hdf5_file
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites

KINDS = {"h5ad": anndata.read_h5ad, "zarr": anndata.read_zarr}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def _ran(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


# The tables that AnnData is made of find room, and what the sink writes does not.
_FULL = """
import resource, sys
from cytotable_dagster import convert, errors
from cytotable_dagster.core.sinks.anndata import AnnDataSink
write = AnnDataSink.write
def limited(*given):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    return write(*given)
AnnDataSink.write = limited
for dest in sys.argv[3:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        convert(sys.argv[2], dest)
    except errors.DiskFullError as error:
        print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(make_plate, tmp_path):
    source = make_plate(plate(JUMP, sites(*[200] * 4)))
    out = tmp_path / "out"
    ran = _ran(_FULL, 3000, source, *(out / f"cells.{kind}" for kind in KINDS))
    said = ran.stdout.splitlines()
    assert len(said) == 2 and all("the disk is full" in line for line in said), ran.stderr
    assert not out.exists()


_KILLED = """
import os, signal, sys
from cytotable_dagster import convert
def kill(step, done, total):
    if step == "rows written":
        os.kill(os.getpid(), signal.SIGKILL)
convert(*sys.argv[1:], progress=kill)
"""


def test_a_killed_process_leaves_nothing_and_the_next_goes_on(make_plate, tmp_path, kind):
    source, dest = make_plate(), tmp_path / "out" / f"cells.{kind}"
    assert _ran(_KILLED, source, dest).returncode == -signal.SIGKILL
    assert not dest.exists()
    convert(source, dest)
    assert KINDS[kind](dest).n_obs == 5
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]


@pytest.mark.parametrize("package", ["anndata", "h5py", "zarr"])
def test_a_package_that_is_not_installed_is_told_with_what_to_install(make_plate, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionError, match=rf"{package} is missing: pip install 'cytotable-dagster\[anndata\]'$"):
        convert(make_plate(), tmp_path / "out" / "cells.h5ad")
    assert names_in(tmp_path) == ["source", "source/P1.sqlite"]


def test_who_has_an_h5ad_open_reads_on_in_the_old_one(make_plate, tmp_path):
    source, dest = make_plate(), tmp_path / "cells.h5ad"
    convert(source, dest)
    expected = anndata.read_h5ad(dest).X
    held = anndata.read_h5ad(dest, backed="r")
    convert(make_plate(plate(JUMP, sites(4)), "other/P1.sqlite"), dest, overwrite=True)
    np.testing.assert_array_equal(held.X[:], expected)
    held.file.close()
    assert anndata.read_h5ad(dest).n_obs == 4


def test_who_has_a_zarr_open_reads_the_new_one_or_an_error(make_plate, tmp_path):
    """A store is a folder of files: what was read is the old one's, and of the old one there is nothing more to read."""
    source, dest = make_plate(), tmp_path / "cells.zarr"
    convert(source, dest)
    read, held = anndata.read_zarr(dest), zarr.open_group(dest, mode="r")["X"]
    old = held[:]
    tables = plate(JUMP)
    for row in tables["Cells"].rows:
        row["Cells_AreaShape_Area"] += 100_000
    convert(make_plate(tables, "same/P1.sqlite"), dest, overwrite=True)
    np.testing.assert_array_equal(read.X, old)
    new = anndata.read_zarr(dest).X
    np.testing.assert_array_equal(held[:], new)
    assert not np.array_equal(new, old, equal_nan=True)
    convert(make_plate(plate(JUMP, sites(4)), "smaller/P1.sqlite"), dest, overwrite=True)
    with pytest.raises(ValueError, match="reshape"):
        held[:]


@pytest.mark.parametrize("plates", [1, 2])
def test_numbers_of_a_query_that_float32_does_not_hold_are_counted(make_plate, tmp_path, plates):
    query = "SELECT Metadata_ObjectNumber, 1e300 AS Cells_Big, 2.5e0 AS Cells_Small, 2.5 AS Cells_Exact FROM 'cells.parquet'"
    tables = plate(JUMP, sites(2))
    # Nothing else is to be refused.
    tables["Nuclei"].rows[:] = [row for row in tables["Nuclei"].rows if row["ObjectNumber"] < 3]
    for number in range(plates):
        make_plate(tables, f"source/P{number}.sqlite")
    source = tmp_path / "source"
    result = convert(source, tmp_path / "cells.h5ad", joins=query)
    x = anndata.read_h5ad(result.path)
    assert np.isnan(x[:, "Cells_Big"].X).all() and (x[:, ["Cells_Small", "Cells_Exact"]].X == 2.5).all()
    said = f"Cells_Big of the query: {2 * plates} values beyond float32, NaN in the result"
    assert said in result.report.problems and said in str(result)
    with pytest.raises(StrictError, match="mend the query"):
        convert(source, tmp_path / "strict.h5ad", joins=query, strict=True)
    assert not (tmp_path / "strict.h5ad").exists()


def test_an_attribute_of_hdf5_holds_the_names_of_all_columns_of_obs(tmp_path):
    names = [f"Image_Intensity_MeanIntensity_Channel{number:04d}" for number in range(5000)]
    with hdf5_file(tmp_path / "cells.h5ad") as container:
        container.root.attrs["column-order"] = names
    with h5py.File(tmp_path / "cells.h5ad") as root:
        assert [*root.attrs["column-order"]] == names
