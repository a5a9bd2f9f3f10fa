"""Crops kept in Lance: whole or not there, gone on with after a kill, and read by condition or one by one."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

from cytotable_dagster import CropDataset, crops, read_crops, save_crops
from cytotable_dagster.core.errors import (
    DestinationExistsError,
    DownloadError,
    OptionError,
    SourceAccessError,
    SourceNotFoundError,
    StoppedError,
    UploadError,
)
from cytotable_dagster.core.images import cropping
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.images.test_image_crops import cells, pixels_of, table_of, tables, write_images
from cytotable_dagster_tests.stores.servers import PROVIDERS

lance = pytest.importorskip("lance", reason="crops in Lance need cytotable-dagster[lance]")

# Kills itself when so many crops are kept.
KILLED = """
import json, os, signal, sys
from cytotable_dagster import crops, save_crops
def stop(step, done, total):
    if done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
save_crops(crops(sys.argv[1], size=8), sys.argv[2], progress=stop, keep=1, **json.loads(sys.argv[3]))
"""


def killed(path: Path, target: str | Path, **cloud: str) -> int:
    command = [sys.executable, "-c", KILLED, str(path), str(target), json.dumps(cloud)]
    return subprocess.run(command, env=os.environ.copy()).returncode


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
    for place in ("s3://bucket/cells", tmp_path / "cells.parquet", tmp_path / ".lance"):
        with pytest.raises(OptionError, match=r"\.lance"):
            save_crops(made, place)


def test_a_killed_run_goes_on_with_the_images_that_are_missing(path, tmp_path):
    target = tmp_path / "cells.lance"
    assert killed(path, target) == -signal.SIGKILL and not target.exists()
    seen: list[int] = []
    save_crops(crops(path, size=8), target, progress=lambda step, done, total: seen.append(done))
    assert seen[0] == 4 and seen[-1] == 10
    dataset = lance.dataset(str(target)).to_table()
    assert sorted(dataset["row"].to_pylist()) == list(range(10))
    # Of other crops nothing is taken over.
    assert killed(path, tmp_path / "b.lance") == -signal.SIGKILL
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


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_store_has_a_dataset_when_it_is_whole_and_a_killed_run_goes_on(path, tmp_path, in_store, store_options):
    options = {**store_options, "local_cache_dir": str(tmp_path / "cache" / "plates")}
    target = in_store.address("a plate, 100%, ü.lance")
    assert killed(path, target, **options) == -signal.SIGKILL
    with pytest.raises(SourceNotFoundError, match="no Lance dataset"):
        read_crops(target, **options)
    begun = len(in_store.list())
    seen: list[int] = []
    save_crops(crops(path, size=8), target, progress=lambda step, done, total: seen.append(done), **options)
    whole = pixels_of(table_of(crops(path, size=8)))
    pixels, rest = read_crops(target, **options)
    assert seen[0] == 4 and (pixels == whole).all() and rest.num_rows == 10
    assert begun >= 2 and names_in(tmp_path / "cache") == ["crops"]
    dataset = pickle.loads(pickle.dumps(CropDataset(target, where="row > 6", cloud=options)))
    assert len(dataset) == 3 and (dataset[2]["crop"] == whole[9]).all()
    with pytest.raises(DestinationExistsError, match="overwrite"):
        save_crops(crops(path, size=8), target, **options)
    saved = save_crops(crops(path, size=4, limit=2, **options), target, overwrite=True, keep=1)
    assert str(saved) == target and read_crops(target, **options)[0].shape == (2, 2, 4, 4)
    none = save_crops(crops(path, where="false", **options), in_store.address("none.lance"))
    assert read_crops(str(none), **options)[0].shape == (0, 2, 96, 96)
    # Nothing is left of the dataset that it replaced.
    assert sum(file.name.endswith(".lance") for file in in_store.list()) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_store_that_refuses_or_breaks_off_is_one_line(path, tmp_path, in_store, store_options, passing):
    target = in_store.address("cells.lance")
    store_options["local_cache_dir"] = str(tmp_path / "cache" / "plates")

    def fails(expected: type[Exception], door: Callable[[], object]) -> None:
        with pytest.raises(expected, match=f"^{target}: ") as said:
            door()
        assert "\n" not in str(said.value) and len(str(said.value)) < 500
        passing.clear()

    passing.refused["PutObject"] = (403, "AccessDenied")
    fails(SourceAccessError, lambda: save_crops(crops(path, size=8), target, **store_options))
    # The store breaks off where the dataset's own files come, after the lock of ours.
    passing.refused = {"PutObject": (400, "Broken")}
    passing.refused_from = {"PutObject": 2}
    fails(UploadError, lambda: save_crops(crops(path, size=8), target, **store_options))
    save_crops(crops(path, size=8), target, **store_options)
    dataset = CropDataset(target, cloud=store_options)
    passing.clear()
    for door in (lambda: read_crops(target, **store_options), lambda: dataset[0]):
        passing.refused["GetObject"] = (403, "AccessDenied")
        fails(SourceAccessError, door)
        passing.altered["GetObject"] = lambda answer: setattr(answer, "cut", 10)
        fails(DownloadError, door)


@pytest.mark.parametrize("fault", [StoppedError("called off"), KeyboardInterrupt()])
def test_what_stops_the_crops_comes_out_as_it_is(path, tmp_path, fault, monkeypatch):
    def stop() -> None:
        raise fault

    monkeypatch.setattr(cropping, "check_stopped", stop)
    with pytest.raises(type(fault)):
        save_crops(crops(path, size=8), tmp_path / "cells.lance")
    assert not (tmp_path / "cells.lance").exists()


def test_what_is_saved_where_is_checked_and_paths_are_written_as_in_a_shell(path, tmp_path, monkeypatch):
    made = crops(path, size=8, limit=1)
    for arguments, said in (
        ((5, tmp_path / "a.lance", {}), "made 5"),
        ((made, 5, {}), "path: 5 is no address"),
        ((made, tmp_path / "a.lance", {"overwrite": "no"}), "overwrite 'no'"),
        ((made, tmp_path / "a.lance", {"progress": 1}), "progress=1"),
        ((made, tmp_path / "a.lance", {"keep": 0}), "keep=0"),
    ):
        with pytest.raises(OptionError, match=said):
            save_crops(*arguments[:2], **arguments[2])
    assert not (tmp_path / "a.lance").exists()
    monkeypatch.setenv("CROPS_OF_TEST", str(tmp_path))
    monkeypatch.setenv("CELLS_OF_TEST", str(path))
    written = save_crops(crops("$CELLS_OF_TEST", size=8, limit=1), "$CROPS_OF_TEST/a.lance")
    assert written == tmp_path / "a.lance" and len(read_crops("$CROPS_OF_TEST/a.lance", columns="row")[0]) == 1
    with pytest.raises(OptionError, match="where=5 is no text"):
        read_crops(written, 5)  # type: ignore[arg-type]


def test_ome_arrow_is_kept_too(path, tmp_path):
    saved = save_crops(crops(path, size=8, crop_type="ome-arrow"), tmp_path / "cells.lance")
    found = lance.dataset(str(saved)).to_table(columns=["crop"])["crop"].to_pylist()
    assert len(found) == 10 and len(found[0]["planes"]) == 2
