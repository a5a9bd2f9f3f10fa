"""A warehouse that follows a dataset: plates that are new, changed or gone, and no other; crops of what is still there."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets, read_table, warehouse
from cytotable_dagster.core.datasets.tables import (
    open_table,
)
from cytotable_dagster.core.sinks import Followed, follow_dataset
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster_tests.core.images.test_image_crops import tables, write_images
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite

CROPS, WHOLE = "images.image_crops", "images.source_images"


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "set", tmp_path / "warehouse"


def _follow(dataset: Path, root: Path) -> Followed:
    return follow_dataset(root, open_table(destination_of(dataset, Store()), "single_cells"))


def _add(dataset: Path, name: str, *cells: int) -> None:
    source = dataset.parent / f"{name}.sqlite"
    source.unlink(missing_ok=True)
    datasets.add([write_sqlite(source, plate(JUMP, sites(*cells)))], dataset, join=True)


def test_plates_come_change_and_go_and_others_are_not_touched(places):
    dataset, root = places
    _add(dataset, "A", 3, 2)
    _add(dataset, "B", 4)
    done = _follow(*places)
    assert (done.added, done.plates, done.rows) == (("A", "B"), 2, 9)
    before = {path.name for path in root.rglob("*.parquet")}
    _add(dataset, "B", 1)
    _add(dataset, "C", 2)
    datasets.remove(dataset, "A")
    done = _follow(*places)
    assert (done.added, done.replaced, done.removed, done.rows) == (("C",), ("B",), ("A",), 3)
    assert before < {path.name for path in root.rglob("*.parquet")}
    assert _follow(*places).snapshot == done.snapshot
    expected = pq.read_table(dataset / "single_cells", partitioning=None).num_rows
    assert warehouse.plates(root) == ["B", "C"]
    assert len(read_table(root)) == expected


def _by_id(root: Path, table: str, key: str) -> dict[str, str]:
    """Rows with their pixels, as text."""
    rows = read_table(root, table).to_json(orient="records", default_handler=list)
    return {row[key]: json.dumps(row, sort_keys=True) for row in json.loads(rows)}


def test_crops_of_objects_that_are_still_there_stay(places, tmp_path):
    dataset, root = places
    write_images(tmp_path / "images", images=2)
    for number, name in enumerate(("P1", "P2")):
        source = write_sqlite(tmp_path / f"{name}.sqlite", tables(tmp_path, 2, name=name))
        datasets.add([source], dataset, join=True)
        if number == 0:
            convert(source, root, dest_backend="iceberg", image_dir=tmp_path / "images", include_source_images=True)
    first = read_table(root, CROPS).set_index("Metadata_ImageCropID").sort_index()
    done = _follow(*places)
    assert (done.added, done.replaced, done.uncropped) == (("P2",), ("P1",), ())
    same = read_table(root, CROPS).set_index("Metadata_ImageCropID").sort_index()
    assert same.index.equals(first.index)
    assert set(read_table(root, "joined_profiles")["Metadata_ObjectID"]) > set(first["Metadata_ObjectID"])
    # Another box is another object.
    (tmp_path / "P1.sqlite").unlink()
    changed = tables(tmp_path, 2, name="P1")
    changed["Cytoplasm"].rows[0]["Cytoplasm_AreaShape_BoundingBoxMinimum_X"] += 1
    source = write_sqlite(tmp_path / "P1.sqlite", changed)
    datasets.add([source], dataset, join=True)
    done = _follow(*places)
    assert (done.replaced, done.uncropped) == (("P1",), (("P1", 1),))
    # As they are where all is made anew, of a file that has another TableNumber.
    options = {"image_dir": tmp_path / "images", "include_source_images": True}
    convert(source, tmp_path / "anew", dest_backend="iceberg", **options)
    expected, kept = (_by_id(place, CROPS, "Metadata_ImageCropID") for place in (tmp_path / "anew", root))
    assert len(kept) == len(expected) - 2 == len(first) - 2
    assert kept.items() <= expected.items()
    assert _by_id(root, WHOLE, "Metadata_ImageID") == _by_id(tmp_path / "anew", WHOLE, "Metadata_ImageID")
    convert(source, root, dest_backend="iceberg", overwrite=True, **options)
    done = _follow(*places)
    assert (done.replaced, done.uncropped) == (("P1",), ())
    assert _by_id(root, CROPS, "Metadata_ImageCropID") == expected
    datasets.remove(dataset, "P1")
    assert _follow(*places).removed == ("P1",)
    assert len(read_table(root, CROPS)) == len(read_table(root, WHOLE)) == 0


def test_what_plates_had_is_not_held_against_what_they_have(places, tmp_path):
    dataset, root = places
    keys = {"Metadata_ImageNumber": [1], "Metadata_ObjectNumber": [1]}

    def add(**values: object) -> Followed:
        for name, value in values.items():
            pq.write_table(pa.table({**keys, "Metadata_X": [value]}), tmp_path / f"{name}.parquet")
        sources = [tmp_path / f"{name}.parquet" for name in values]
        datasets.add(sources, dataset, join=True)
        return _follow(*places)

    add(A="a", B="b", C="c")
    for name in "ABC":
        datasets.remove(dataset, name)
    done = add(A=1, B=2)
    assert (done.replaced, done.removed, done.left_out) == (("A", "B"), ("C",), ())
    assert sorted(read_table(root)["Metadata_X"]) == [1, 2]
