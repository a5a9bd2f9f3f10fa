"""Crops kept in Lance: whole or not there, gone on with after a kill, and read by condition or one by one."""

import os
import pickle
import signal
import subprocess
import sys

import duckdb
import numpy as np
import pytest

from cytotable_dagster import CropDataset, crops, read_crops, save_crops
from cytotable_dagster.core.errors import DestinationExistsError, OptionError, SourceNotFoundError
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.images.test_image_crops import cells, pixels_of, table_of, tables, write_images

lance = pytest.importorskip("lance", reason="crops in Lance need cytotable-dagster[lance]")

# Kills itself when so many crops are kept.
KILLED = """
import os, signal, sys
from cytotable_dagster import crops, save_crops
def stop(step, done, total):
    if done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
save_crops(crops(sys.argv[1], size=8), sys.argv[2], progress=stop, keep=1)
"""


@pytest.fixture
def path(tmp_path):
    write_images(tmp_path / "images", images=5)
    return cells(tmp_path, tables(tmp_path, images=5))


def test_a_dataset_has_all_crops_with_the_channels_in_its_schema(path, tmp_path):
    made = crops(path, size=8, columns=["Cells_AreaShape_Area"])
    saved = save_crops(made, tmp_path / "cells.lance")
    dataset = lance.dataset(str(saved))
    assert dataset.schema.metadata[b"channels"] == b'["OrigDNA", "OrigER"]'
    assert dataset.schema.field("crop").type == made.schema.field("crop").type
    assert (pixels_of(dataset.to_table()) == pixels_of(table_of(made))).all()
    assert [name for name in names_in(tmp_path) if "cells.lance" in name and name.startswith(".")] == []
    with pytest.raises(DestinationExistsError, match="overwrite"):
        save_crops(made, saved)
    save_crops(crops(path, size=8, limit=2), saved, overwrite=True)
    assert lance.dataset(str(saved)).count_rows() == 2
    for place in ("s3://bucket/cells.lance", tmp_path / "cells.parquet"):
        with pytest.raises(OptionError, match=r"\.lance"):
            save_crops(made, place)


def test_a_killed_run_goes_on_with_the_images_that_are_missing(path, tmp_path):
    target = tmp_path / "cells.lance"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(target)], env=os.environ.copy())
    assert done.returncode == -signal.SIGKILL and not target.exists()
    seen: list[int] = []
    save_crops(crops(path, size=8), target, progress=lambda step, done, total: seen.append(done))
    assert seen[0] == 4 and seen[-1] == 10
    dataset = lance.dataset(str(target)).to_table()
    assert sorted(dataset["row"].to_pylist()) == list(range(10))
    # Of other crops nothing is taken over.
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(tmp_path / "b.lance")], env=os.environ.copy())
    seen.clear()
    save_crops(crops(path, size=4), tmp_path / "b.lance", progress=lambda step, done, total: seen.append(done))
    assert seen[0] == 0 and lance.dataset(str(tmp_path / "b.lance")).count_rows() == 10


def test_crops_are_found_by_their_features(path, tmp_path):
    saved = save_crops(crops(path, size=8, columns=["Cells_AreaShape_Area"]), tmp_path / "cells.lance")
    table = table_of(crops(path, size=8, columns=["Cells_AreaShape_Area"]))
    least = sorted(table["Cells_AreaShape_Area"].to_pylist())[5]
    pixels, rest = read_crops(saved, f"Cells_AreaShape_Area >= {least}")
    assert (
        pixels.shape == (len(rest), 2, 8, 8)
        and len(rest) == 5
        and min(rest["Cells_AreaShape_Area"].to_pylist()) == least
    )
    query = f"SELECT file_row_number FROM read_parquet('{path}', file_row_number = true) WHERE Cells_AreaShape_Area >= {least}"
    rows = [row for (row,) in duckdb.sql(query).fetchall()]
    again, _ = read_crops(saved, rows=rows, columns=["row"])
    assert (again == pixels).all()
    with pytest.raises(OptionError, match="nothing"):
        read_crops(saved, "nothing > 1")
    with pytest.raises(SourceNotFoundError):
        read_crops(tmp_path / "none.lance")


def test_a_dataset_gives_crops_one_by_one_and_travels_to_other_processes(path, tmp_path):
    saved = save_crops(crops(path, size=8), tmp_path / "cells.lance")
    whole = pixels_of(table_of(crops(path, size=8)))
    plain = CropDataset(saved, columns=("Metadata_Well",))
    assert len(plain) == 10 and (plain[3]["crop"] == whole[3]).all() and plain[3]["Metadata_Well"] == "A01"
    assert (plain[-1]["crop"] == whole[-1]).all()
    assert [item["crop"].tolist() for item in plain.__getitems__([4, 0])] == [whole[4].tolist(), whole[0].tolist()]
    chosen = pickle.loads(pickle.dumps(CropDataset(saved, where="row > 6", transform=np.float32)))
    assert len(chosen) == 3 and chosen[0]["crop"].dtype == np.float32 and (chosen[2]["crop"] == whole[9]).all()
    with pytest.raises(IndexError):
        plain[10]
    assert "torch" not in sys.modules


def test_ome_arrow_is_kept_too(path, tmp_path):
    saved = save_crops(crops(path, size=8, crop_type="ome-arrow"), tmp_path / "cells.lance")
    found = lance.dataset(str(saved)).to_table(columns=["crop"])["crop"].to_pylist()
    assert len(found) == 10 and len(found[0]["planes"]) == 2
