"""Images in a warehouse: crops of objects and whole images, of the same pixels as the files, in one commit a plate."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pytest
import tifffile

from cytotable_dagster import convert, describe_iceberg_warehouse, list_tables, read_table, warehouse
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import cutting
from cytotable_dagster.core.images.ome import ome_arrow_struct
from cytotable_dagster_tests.core.images.painted import CHANNELS, phenix
from cytotable_dagster_tests.core.images.test_image_crops import HEIGHT, WIDTH, paint, tables, write_images
from cytotable_dagster_tests.core.plates import write_sqlite

CROPS, SOURCES, VIEW = "images.image_crops", "images.source_images", "profiles.profile_with_images"
SIDES = ("x_min", "x_max", "y_min", "y_max")


def _source(folder: Path, name: str = "P1", images: int = 2) -> Path:
    (folder / f"{name}.sqlite").unlink(missing_ok=True)
    return write_sqlite(folder / f"{name}.sqlite", tables(folder / "elsewhere", images, name=name))


def _painted(folder: Path) -> Path:
    write_images(folder / "images", images=2)
    return _source(folder)


def _pixels(struct: dict) -> np.ndarray:
    (plane,) = struct["planes"]
    # Beside nulls pandas has them as floats.
    return np.asarray(plane["pixels"]).reshape(*(int(struct["pixels_meta"][f"size_{axis}"]) for axis in "yx"))


def _of(name: str) -> np.ndarray:
    """The pixels of a file by its name."""
    (place,) = (10 * image + number for image in (1, 2) for number in (1, 2) if phenix(image, number) == name)
    return paint(place)


def test_crops_and_images_are_the_pixels_of_the_files(tmp_path):
    source, root = _painted(tmp_path), tmp_path / "warehouse"
    masks = tmp_path / "masks"
    masks.mkdir()
    label = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    tifffile.imwrite(masks / phenix(1, 1).replace(".tiff", ".tif"), label)
    options = {"image_dir": tmp_path / "images", "mask_dir": masks, "include_source_images": True}
    convert(source, root, dest_backend="iceberg", **options)
    assert list_tables(root) == [CROPS, SOURCES, "profiles.joined_profiles", VIEW]
    profiles, crops, sources = read_table(root, "joined_profiles"), read_table(root, CROPS), read_table(root, SOURCES)
    assert len(crops) == len(profiles) * len(CHANNELS) == crops["Metadata_ImageCropID"].nunique()
    assert set(crops["Metadata_ObjectID"]) == set(profiles["Metadata_ObjectID"])
    assert set(crops["source_image_column"]) == {f"Image_FileName_{channel}" for channel in CHANNELS}
    for crop in crops.to_dict("records"):
        left, right, top, bottom = (crop[f"source_bbox_{side}"] for side in SIDES)
        inside = slice(max(top, 0), bottom), slice(max(left, 0), right)
        assert np.array_equal(_pixels(crop["ome_arrow_image"]), _of(crop["source_image_file"])[inside])
        if crop["source_image_file"] == phenix(1, 1):
            assert np.array_equal(_pixels(crop["ome_arrow_mask"]), label[inside])
            assert crop["label_source_kind"] == "mask"
        else:
            assert crop["ome_arrow_mask"] is None
    assert crops["ome_arrow_mask"].notna().sum() == crops["ome_arrow_label"].notna().sum() == 2
    assert set(crops["ome_arrow_image"][0]) == {field.name for field in ome_arrow_struct()}
    assert len(sources) == sources["Metadata_ImageID"].nunique() == 4
    for whole in sources.to_dict("records"):
        assert np.array_equal(_pixels(whole["ome_arrow_image"]), _of(whole["source_image_file"]))
    view = read_table(root, "profile_with_images")
    assert len(view) == len(crops)
    assert sorted(view["Metadata_ImageCropID"]) == sorted(crops["Metadata_ImageCropID"])
    assert view["Cells_AreaShape_Area"].notna().any()


def test_each_image_is_read_once_for_crops_and_whole_images(tmp_path, monkeypatch):
    source = _painted(tmp_path)
    read: Counter[str] = Counter()
    plain = cutting.read

    def counting(uri: str, open_: Any) -> np.ndarray:
        read[uri] += 1
        return plain(uri, open_)

    monkeypatch.setattr(cutting, "read", counting)
    options = {"image_dir": tmp_path / "images", "include_source_images": True}
    convert(source, tmp_path / "warehouse", dest_backend="iceberg", **options)
    assert sorted(read.values()) == [1] * 4


def test_identifiers_are_cytotables(tmp_path):
    source, root = _painted(tmp_path), tmp_path / "warehouse"
    convert(source, root, dest_backend="iceberg", names="cytotable", image_dir=tmp_path / "images")
    profiles = read_table(root, "joined_profiles").set_index("Metadata_ObjectID")
    keys = [f"Metadata_{name}" for name in ("TableNumber", "ImageNumber", "ObjectNumber", "Well", "Plate")]
    keys += ["Cytoplasm_Parent_Cells", "Cytoplasm_Parent_Nuclei"]
    for crop in read_table(root, CROPS).to_dict("records"):
        row = profiles.loc[crop["Metadata_ObjectID"]]
        told = {
            "keys": {name: row[name].item() if isinstance(row[name], np.generic) else row[name] for name in keys},
            "bbox": {side: int(row[f"Metadata_SourceBBox{side[0].upper()}{side[2:].title()}"]) for side in SIDES},
        }
        assert crop["Metadata_ObjectID"] == f"obj-{uuid5(NAMESPACE_URL, _json(told))}"
        told |= {name: crop[name] for name in ("source_image_column", "source_image_file")}
        assert crop["Metadata_ImageCropID"] == f"obj-{uuid5(NAMESPACE_URL, _json(told))}"


def _json(told: dict) -> str:
    return json.dumps(told, sort_keys=True, default=str)


def test_a_plate_and_its_images_come_are_replaced_and_go_together(tmp_path):
    source, root = _painted(tmp_path), tmp_path / "warehouse"
    options = {"dest_backend": "iceberg", "image_dir": tmp_path / "images"}
    convert(source, root, **options)
    before = _digests(root)
    (tmp_path / "images" / phenix(2, 2)).write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"plate P1: 2 image crops are not made: .*ch2.*neither TIFF nor PNG"):
        convert(source, root, overwrite=True, **options)
    assert len(_digests(root)) == len(before) - 2
    view = read_table(root, VIEW)
    assert view["Metadata_ImageCropID"].isna().sum() == 2
    convert(source, root, dest_backend="iceberg", overwrite=True)
    assert _digests(root) == []
    convert(_source(tmp_path, "P2"), root, dest_backend="iceberg")
    warehouse.remove_plate(root, "P1")
    rows = dict(describe_iceberg_warehouse(root)[["table", "rows"]].values.tolist())
    assert (rows["profiles.joined_profiles"], rows[CROPS]) == (4, 0)


def _digests(root: Path) -> list[str]:
    images = read_table(root, CROPS)["ome_arrow_image"]
    return sorted(hashlib.sha1(_pixels(image).tobytes()).hexdigest() for image in images)


@pytest.mark.parametrize("there", [False, True])
def test_what_stops_crops_leaves_the_warehouse_as_it_was(tmp_path, monkeypatch, there):
    source, root = _painted(tmp_path), tmp_path / "warehouse"
    if there:
        convert(_source(tmp_path, "P0"), root, dest_backend="iceberg")
    options = {"dest_backend": "iceberg", "image_dir": tmp_path / "images"}

    class StoppedError(Exception):
        pass

    def progress(step: str, done: int, total: int) -> None:
        if step == "images cropped" and done == total - 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        convert(source, root, progress=progress, **options)
    assert root.exists() == there
    if there:
        assert list_tables(root) == ["profiles.joined_profiles"]
        assert warehouse.plates(root) == ["P0"]
    convert(source, root, **options)
    assert len(read_table(root, CROPS)) == 8


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"image_dir": "nowhere"}, "image_dir: .*nowhere is no folder"),
        ({"image_dir": "empty"}, "no crops of images can be made: .*"),
        ({"mask_dir": "images"}, "mask_dir= is of images; say where those are with image_dir="),
        ({"include_source_images": True}, "include_source_images= is of images"),
    ],
)
def test_images_that_cannot_be_had_are_one_line_and_leave_nothing(tmp_path, options, told):
    source = _painted(tmp_path)
    (tmp_path / "empty").mkdir()
    options = {name: tmp_path / value if isinstance(value, str) else value for name, value in options.items()}
    with pytest.raises(OptionError, match=told) as caught:
        convert(source, tmp_path / "warehouse", dest_backend="iceberg", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "warehouse").exists()


def test_an_image_that_two_plates_could_own_is_refused(tmp_path):
    sources = [_painted(tmp_path), _source(tmp_path, "P2")]
    with pytest.raises(OptionError, match=r"found for plates P1 and P2; put \{plate\} into image_dir="):
        convert(sources, tmp_path / "warehouse", dest_backend="iceberg", image_dir=tmp_path / "images")
    for name in ("P1", "P2"):
        write_images(tmp_path / "by_plate" / name, images=2)
    convert(sources, tmp_path / "warehouse", dest_backend="iceberg", image_dir=tmp_path / "by_plate" / "{plate}")
    assert len(read_table(tmp_path / "warehouse", CROPS)) == 16
