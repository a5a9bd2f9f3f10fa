"""Crops of single cells: the pixels of the images, each opened once, and what cannot be had told cell by cell."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tifffile

from cytotable_dagster import convert, crops
from cytotable_dagster.core.errors import OptionError, SourceNotFoundError
from cytotable_dagster.core.images import pixels
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.images.painted import CHANNELS, image_tables, phenix
from cytotable_dagster_tests.core.plates import write_sqlite

HEIGHT, WIDTH = 60, 80
# Of the two nuclei that cytoplasms have on each of three images: middle, and at a corner.
CENTRES = ((40.0, 30.0), (3.0, 2.0))


def paint(place: int, dtype: Any = np.uint16) -> np.ndarray:
    top = 4095 if dtype == np.uint16 else 250
    return np.random.default_rng(place).integers(1, top, (HEIGHT, WIDTH)).astype(dtype)


def write_images(folder: Path, images: int = 3, dtype: Any = np.uint16, **options: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in range(1, images + 1):
        for number, _ in enumerate(CHANNELS, start=1):
            tifffile.imwrite(folder / phenix(image, number), paint(10 * image + number, dtype), **options)


def tables(folder: Path, images: int = 3, **options: Any) -> dict[str, Any]:
    made = image_tables(images=images, recorded=f"{folder}/images", digests=False, **options)
    for compartment, shift in (("Nuclei", 0.0), ("Cells", 0.25), ("Cytoplasm", 0.25)):
        table = made[compartment]
        spots = [CENTRES[(row["ObjectNumber"] - 1) % 2] for row in table.rows]
        for axis, place in (("X", 0), ("Y", 1)):
            table.add_column(f"{compartment}_Location_Center_{axis}", "FLOAT", [spot[place] + shift for spot in spots])
            for bound, by in (("Minimum", -3), ("Maximum", 5)):
                name = f"{compartment}_AreaShape_BoundingBox{bound}_{axis}"
                table.add_column(name, "BIGINT", [int(spot[place]) + by for spot in spots])
    return made


def cells(folder: Path, made: dict[str, Any] | None = None, **options: Any) -> Path:
    """The single cells of such a plate, with their provenance."""
    made = tables(folder) if made is None else made
    (folder / "P1.sqlite").unlink(missing_ok=True)
    source = write_sqlite(folder / "P1.sqlite", made)
    convert(source, folder / "out" / "cells.parquet", provenance=True, overwrite=True, **options)
    return folder / "out" / "cells.parquet"


def table_of(made: Any) -> pa.Table:
    return pa.Table.from_batches(list(made), made.schema)


def pixels_of(table: pa.Table, name: str = "crop") -> np.ndarray:
    return np.concatenate([chunk.to_numpy_ndarray() for chunk in table[name].chunks])


def expected(row: dict[str, Any], image: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((HEIGHT + 2 * size, WIDTH + 2 * size), image.dtype)
    padded[size : size + HEIGHT, size : size + WIDTH] = image
    return padded[row["y_min"] + size : row["y_max"] + size, row["x_min"] + size : row["x_max"] + size]


@pytest.mark.parametrize("size", [9, 16])
def test_crops_are_the_pixels_around_the_centre_with_what_lies_outside_filled_and_flagged(tmp_path, size):
    write_images(tmp_path / "images")
    made = crops(cells(tmp_path), size=size)
    table = table_of(made)
    assert json.loads(made.schema.metadata[b"channels"]) == list(CHANNELS) and len(made) == 6
    assert table.schema.field("crop").type == pa.fixed_shape_tensor(
        pa.uint16(), [2, size, size], dim_names=["channel", "y", "x"]
    )
    for row, crop in zip(table.drop_columns(["crop"]).to_pylist(), pixels_of(table), strict=True):
        image = row["Metadata_ImageNumber"]
        for number in (1, 2):
            assert (crop[number - 1] == expected(row, paint(10 * image + number), size)).all()
        x, y = row["centre_x"], row["centre_y"]
        assert (x, y) in CENTRES and (row["padded"], row["status"]) == ((x, y) == CENTRES[1], "ok")
        assert abs((row["x_min"] + row["x_max"]) / 2 - x) <= 0.5 and abs((row["y_min"] + row["y_max"]) / 2 - y) <= 0.5


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.uint8, {}),
        (np.uint16, {"compression": "lzw"}),
        (np.uint16, {"compression": "zlib", "predictor": True, "tile": (32, 32)}),
        (np.uint16, {"bigtiff": True}),
        (np.float32, {}),
    ],
)
def test_every_usual_kind_of_tiff_is_read(tmp_path, dtype, options):
    write_images(tmp_path / "images", images=1, dtype=dtype, **options)
    table = table_of(crops(cells(tmp_path, tables(tmp_path, images=1)), size=8))
    assert pixels_of(table).dtype == dtype and set(table["status"].to_pylist()) == {"ok"}
    assert (pixels_of(table)[0, 0] == expected(table.to_pylist()[0], paint(11, dtype), 8)).all()


def test_the_first_page_and_the_first_level_count_and_png_is_read_too(tmp_path):
    import imagecodecs

    write_images(tmp_path / "images", images=1)
    many = tmp_path / "images" / phenix(1, 1)
    with tifffile.TiffWriter(many, bigtiff=True) as tiff:
        tiff.write(np.stack([paint(11), paint(99)]), subifds=1, photometric="minisblack")
        tiff.write(paint(11)[::2, ::2], subfiletype=1)
    (tmp_path / "images" / phenix(1, 2)).write_bytes(imagecodecs.png_encode(paint(12)))
    table = table_of(crops(cells(tmp_path, tables(tmp_path, images=1)), size=8))
    row = table.to_pylist()[0]
    for place in (0, 1):
        assert (pixels_of(table)[0, place] == expected(row, paint(11 + place), 8)).all()


def test_colours_are_their_mean_and_rgb_planes_may_stand_first(tmp_path):
    write_images(tmp_path / "images", images=1)
    grey = paint(11, np.uint8)
    tifffile.imwrite(tmp_path / "images" / phenix(1, 1), np.stack([grey] * 3, axis=-1), photometric="rgb")
    tifffile.imwrite(
        tmp_path / "images" / phenix(1, 2), np.stack([grey] * 3), photometric="rgb", planarconfig="separate"
    )
    table = table_of(crops(cells(tmp_path, tables(tmp_path, images=1)), size=8))
    row = table.to_pylist()[0]
    assert [(pixels_of(table)[0, place] == expected(row, grey, 8)).all() for place in (0, 1)] == [True, True]


def test_each_file_is_opened_once_and_only_those_that_are_needed(tmp_path, monkeypatch):
    write_images(tmp_path / "images")
    path = cells(tmp_path)
    opened: Counter[str] = Counter()
    plain = Path.open

    def counting(self: Path, *arguments: Any, **options: Any) -> Any:
        opened[self.name] += self.suffix == ".tiff"
        return plain(self, *arguments, **options)

    made = crops(path, where="Metadata_ImageNumber = 2", channels=["ER"], size=8)
    monkeypatch.setattr(pixels.Path, "open", counting)
    assert table_of(made).num_rows == 2 and +opened == {phenix(2, 2): 1}


def test_cells_are_chosen_by_sql_by_limit_and_by_well(tmp_path):
    write_images(tmp_path / "images")
    path = cells(tmp_path)
    assert len(crops(path, where="Nuclei_Location_Center_X > 10")) == 3
    assert table_of(crops(path, limit=3, size=4))["row"].to_pylist() == [0, 1, 2]
    assert len(crops(path, per_well=2)) == 2 == len(crops(path, per_well=2, limit=5))
    assert crops(path, per_well=2).cells == crops(path, per_well=2).cells
    assert len(set(crops(path, per_well=2).cells["Metadata_ImageNumber"].to_pylist())) == 1
    assert crops(path, rows=[4, 1]).cells["row"].to_pylist() == [1, 4]
    assert len(crops(path, where="false")) == 0 and table_of(crops(path, where="false")).num_rows == 0
    assert "Cells_AreaShape_Area" in crops(path, columns=["Cells_AreaShape_Area"]).schema.names
    for options, said in (
        ({"where": "no_such_column > 1"}, "there is no column no_such_column"),
        ({"where": "Cells_AreaShape_Aera > 1"}, r"Aera; did you mean Cells_AreaShape_Area\?"),
        ({"where": "1 = 'a'"}, "where="),
        ({"limit": 0}, "limit"),
        ({"channels": ["GFP"]}, "OrigDNA, OrigER"),
        ({"columns": ["nothing"]}, "nothing"),
        ({"size": 0}, "size"),
        ({"around": "box", "bbox_column_map": {"x_min": "a"}}, "y_max"),
        ({"dtype": "int3"}, "uint8"),
        ({"size": True}, "size=True"),
        ({"limit": "3"}, "limit='3'"),
        ({"where": 5}, "where=5 is no text"),
        ({"channels": 5}, "channels: 5 is no name"),
        ({"segmentations": [1]}, "segmentations: 1 is no name"),
        ({"columns": 5}, "columns: 5 is no name"),
        ({"rows": 5}, "rows: 5 is no list"),
        ({"rows": ["1"]}, "is no list of rows"),
        ({"bbox_column_map": 5}, "bbox_column_map=5"),
        ({"provenance": 5}, "provenance: 5 is no address"),
        ({"image_dir": 5}, "image_dir: 5 is no address"),
        ({"load_data": b"x"}, "load_data: b'x' is no address"),
        ({"path_rules": 5}, "path_rules 5"),
        ({"segmentation_file_regex": "x"}, "segmentation_file_regex='x'"),
    ):
        with pytest.raises(OptionError, match=said):
            crops(path, **options)
    with pytest.raises(SourceNotFoundError, match="no such file"):
        crops(tmp_path / "none.parquet")
    with pytest.raises(OptionError, match="single_cells: 5 is no address"):
        crops(5)  # type: ignore[arg-type]


def test_what_is_listed_may_be_a_generator_a_name_or_of_numpy(tmp_path):
    write_images(tmp_path / "images")
    path, area = cells(tmp_path), "Cells_AreaShape_Area"
    for columns in (area, iter([area])):
        made = crops(path, rows=iter(np.array([4, 1])), size=np.int64(4), channels=iter(["ER"]), columns=columns)
        assert made.schema.get_field_index(area) >= 0 and made.cells["row"].to_pylist() == [1, 4]
        assert pixels_of(table_of(made)).shape == (2, 1, 4, 4)


def test_boxes_are_padded_or_resized(tmp_path):
    write_images(tmp_path / "images")
    path = cells(tmp_path)
    table = table_of(crops(path, around="box", size=12, limit=2))
    row, crop = table.to_pylist()[0], pixels_of(table)[0]
    assert (row["x_min"], row["x_max"], row["y_min"], row["y_max"]) == (37, 45, 27, 35) and row["scale"] == 1
    assert (crop[0, 2:10, 2:10] == paint(11)[27:35, 37:45]).all() and not crop[0, :2].any() and not crop[0, 10:].any()
    larger = table_of(crops(path, around="box", size=16, fit="resize", limit=1))
    assert larger["scale"].to_pylist() == [2.0] and pixels_of(larger)[0, 0].all()
    smaller = table_of(crops(path, around="box", size=4, limit=1))
    assert smaller["scale"].to_pylist() == [0.5]
    sides = {"x_min": "Cells_AreaShape_BoundingBoxMinimum_X", "x_max": "Cells_AreaShape_BoundingBoxMaximum_X"}
    sides |= {"y_min": "Cells_AreaShape_BoundingBoxMinimum_Y", "y_max": "Cells_AreaShape_BoundingBoxMaximum_Y"}
    assert table_of(crops(path, around="box", bbox_column_map=sides, size=12, limit=1))["x_min"].to_pylist() == [37]


def test_the_centre_is_the_nucleus_then_the_cells_then_the_boxs_and_nan_is_none(tmp_path):
    write_images(tmp_path / "images", images=1)
    made = tables(tmp_path, images=1)
    # The cytoplasm that is the first has the nucleus that is the second.
    for compartment, place in (("Nuclei", 1), ("Cells", 0), ("Cytoplasm", 0)):
        made[compartment].rows[place][f"{compartment}_Location_Center_X"] = "nan"
    by_box = table_of(crops(cells(tmp_path, made), size=8)).to_pylist()
    assert [row["centre_x"] for row in by_box] == [40.5, 40.0] and {row["status"] for row in by_box} == {"ok"}
    for row in made["Cells"].rows:
        row["Cells_Location_Center_X"] = 7.0
    assert table_of(crops(cells(tmp_path, made), size=8))["centre_x"].to_pylist() == [7.0, 40.0]
    for name in [name for table in made.values() for name in table.columns if "BoundingBox" in name]:
        for table in made.values():
            table.columns.pop(name, None)
    for row in made["Cells"].rows:
        row["Cells_Location_Center_X"] = None
    rows = table_of(crops(cells(tmp_path, made), size=8)).to_pylist()
    assert [row["status"] for row in rows] == ["no centre", "ok"] and "NaN" in rows[0]["detail"]


def test_a_place_that_lies_in_no_image_is_told_as_it_is(tmp_path):
    write_images(tmp_path / "images", images=1)
    made = tables(tmp_path, images=1)
    for compartment in ("Nuclei", "Cells", "Cytoplasm"):
        for row in made[compartment].rows:
            row[f"{compartment}_Location_Center_X"] = 1e18
            row[f"{compartment}_AreaShape_BoundingBoxMaximum_X"] = -7
    path = cells(tmp_path, made)
    for row in table_of(crops(path, size=8)).to_pylist():
        assert row["status"] == "outside" and "x 1e+18" in row["detail"]
    for row in table_of(crops(path, size=8, around="box")).to_pylist():
        assert row["status"] == "no centre" and "its box is unknown, empty" in row["detail"]


def test_what_is_wrong_with_images_is_told_of_their_cells_and_the_rest_goes_on(tmp_path):
    write_images(tmp_path / "images", images=9)
    place = tmp_path / "images"
    whole = (place / phenix(1, 1)).read_bytes()
    (place / phenix(1, 1)).write_bytes(whole[: len(whole) // 2])
    (place / phenix(2, 1)).write_bytes(b"no image")
    (place / phenix(3, 1)).write_bytes(b"")
    # The page says that it has 100,000 x 100,000 pixels.
    tifffile.imwrite(place / phenix(4, 1), paint(1), shape=None)
    with tifffile.TiffFile(place / phenix(4, 1), mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[tag].overwrite(100_000)
    (place / phenix(5, 1)).unlink()
    for number in (1, 2):
        (place / phenix(6, number)).unlink()
    tifffile.imwrite(place / phenix(7, 1), paint(1)[:20, :20])
    made = tables(tmp_path, images=9)
    for compartment in ("Nuclei", "Cells", "Cytoplasm"):
        for row in made[compartment].rows:
            if row["ImageNumber"] == 8:
                row[f"{compartment}_Location_Center_X"] = 5000.0
    rows = table_of(crops(cells(tmp_path, made), size=8)).to_pylist()
    told = {row["Metadata_ImageNumber"]: (row["status"], row["detail"] or "") for row in rows}
    assert {image: status for image, (status, _) in told.items()} == {
        1: "unreadable",
        2: "unreadable",
        3: "unreadable",
        4: "unreadable",
        5: "incomplete",
        6: "no image",
        7: "ok",
        8: "outside",
        9: "ok",
    }
    said = {1: "truncated", 2: "neither TIFF nor PNG", 3: "empty", 4: "100,000 x 100,000", 5: "recorded", 8: "5004"}
    for image, words in said.items():
        assert words in told[image][1] and "\n" not in told[image][1]
    assert len(rows) == 18


def test_two_objects_of_one_key_are_told(tmp_path):
    import pyarrow.parquet as pq

    write_images(tmp_path / "images")
    path = cells(tmp_path)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    rows = table_of(crops(path, size=8)).to_pylist()
    assert Counter(row["status"] for row in rows) == {"ok": 5, "duplicate key": 2}


def test_images_are_read_from_a_store(tmp_path, results_server, store_options, passing):
    from cytotable_dagster.demo.s3_server import upload_tree

    write_images(tmp_path / "tree" / tmp_path.name / "images")
    upload_tree(results_server, tmp_path / "tree", BUCKET)
    prefix = f"s3://{BUCKET}/{tmp_path.name}/images"
    path = cells(tmp_path, path_rules=[{"from": f"{tmp_path}/images", "to": prefix}], **store_options)
    passing.keys.clear()
    table = table_of(crops(path, size=8, limit=2, dtype="uint16", **store_options))
    assert set(table["status"].to_pylist()) == {"ok"}
    assert sum(operation == "GetObject" for operation, _ in passing.keys) == 2
    assert (pixels_of(table)[0, 0] == expected(table.to_pylist()[0], paint(11), 8)).all()
    passing.refused["GetObject"] = (403, "AccessDenied")
    refused = table_of(crops(path, size=8, limit=2, dtype="uint16", **store_options)).to_pylist()
    assert {row["status"] for row in refused} == {"unreadable"} and "refused" in refused[0]["detail"]


def test_outlines_are_one_more_tensor(tmp_path):
    write_images(tmp_path / "images")
    (tmp_path / "outlines").mkdir()
    for image in (1, 2, 3):
        tifffile.imwrite(tmp_path / "outlines" / phenix(image, 1), paint(image).astype(np.int32))
    made = crops(cells(tmp_path, outline_dir=tmp_path / "outlines"), size=8, segmentations="DNA")
    table = table_of(made)
    assert json.loads(made.schema.metadata[b"segmentations"]) == ["OrigDNA"]
    assert (pixels_of(table, "segmentation")[0, 0] == expected(table.to_pylist()[0], paint(1), 8)).all()


def test_without_a_provenance_the_cells_own_columns_say_where_images_are(tmp_path, real_data):
    folder = real_data / "jump_br00117006"
    options = {"image_dir": folder / "images" / "orig", "channels": ["DNA", "RNA", "AGP"], "segmentations": ["OrigRNA"]}
    options |= {"outline_dir": folder / "images" / "outlines"}
    options |= {"segmentation_file_regex": {r"_cell_outlines\.png$": r"(r\d+c\d+f\d+p\d+-ch3)"}}
    table = table_of(crops(folder / "BR00117006_shrunken.parquet", **options))
    assert set(table["status"].to_pylist()) == {"ok"} and table.num_rows == 5
    dna = tifffile.imread(folder / "images" / "orig" / "r01c01f01p01-ch5sk1fk1fl1.tiff")
    for row, crop in zip(table.to_pylist(), pixels_of(table), strict=True):
        top, left = max(row["y_min"], 0), max(row["x_min"], 0)
        inside = dna[top : row["y_max"], left : row["x_max"]]
        at = crop[0, top - row["y_min"] :, left - row["x_min"] :][: inside.shape[0], : inside.shape[1]]
        assert (at == inside).all()
    assert pixels_of(table, "segmentation").max() == 255


def test_cells_that_name_no_image_say_so(tmp_path):
    import pyarrow.parquet as pq

    columns = {"Metadata_ImageNumber": [1], "Nuclei_Location_Center_X": [1.0], "Nuclei_Location_Center_Y": [1.0]}
    pq.write_table(pa.table(columns), tmp_path / "cells.parquet")
    with pytest.raises(OptionError, match="provenance"):
        crops(tmp_path / "cells.parquet")
    pq.write_table(pa.table({"Metadata_ImageNumber": [1]}), tmp_path / "cells.parquet")
    with pytest.raises(OptionError, match="where cells are"):
        crops(tmp_path / "cells.parquet")


def test_ome_arrow_has_the_same_pixels(tmp_path):
    write_images(tmp_path / "images")
    path = cells(tmp_path)
    tensors, structs = crops(path, size=8), crops(path, size=8, crop_type="ome-arrow")
    for row, crop in zip(table_of(structs)["crop"].to_pylist(), pixels_of(table_of(tensors)), strict=True):
        assert row["type"] == "ome.arrow" and row["pixels_meta"]["size_c"] == 2
        assert [channel["name"] for channel in row["pixels_meta"]["channels"]] == list(CHANNELS)
        for plane in row["planes"]:
            assert (np.array(plane["pixels"]).reshape(8, 8) == crop[plane["c"]]).all()
