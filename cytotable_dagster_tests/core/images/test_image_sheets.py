"""Pictures of cells and plates: every cell in its place, in its channels' colours, by the plate's contrast."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pictures

from cytotable_dagster import crops
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import (
    contact_sheet,
    extreme_cells,
    mosaic,
    plate_contrasts,
    png_of,
    status_picture,
    typical_cells,
)
from cytotable_dagster.core.images.cells import open_cells
from cytotable_dagster.core.images.colours import Contrast, colours_of, composite
from cytotable_dagster.core.images.files import File
from cytotable_dagster.core.images.image import Image
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.model.wells import layout_of, place_on_plate
from cytotable_dagster_tests.core.images.painted import phenix
from cytotable_dagster_tests.core.images.test_image_crops import cells, paint, tables, write_images


@pytest.fixture
def path(tmp_path):
    write_images(tmp_path / "images")
    return cells(tmp_path)


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Pictures.open(io.BytesIO(content)).convert("RGB"))


def test_a_tile_shows_its_cell_by_the_contrast_that_is_given(path):
    made = crops(path, size=8, rows=[0], channels=["DNA"])
    sheet = opened(contact_sheet(made, contrasts={"OrigDNA": Contrast(0, 4095)}))
    (batch,) = made
    shown = np.clip(batch.column("crop").to_numpy_ndarray()[0, 0] / 4095 * 255, 0, 255).astype(np.uint8)
    zoom = 12
    # The first tile begins below the legend; ticks are at the middle of its sides.
    tile = sheet[32 : 32 + 8 * zoom, 6 : 6 + 8 * zoom, 0][zoom // 4 :: zoom, zoom // 4 :: zoom]
    assert np.abs(tile.astype(int) - shown).max() <= 1


def test_contrast_is_the_plates_and_not_that_of_the_cells_shown(path):
    few, all_ = crops(path, size=8, rows=[0]), crops(path, size=8)
    assert plate_contrasts(few) == plate_contrasts(all_)
    black, full = np.percentile(np.concatenate([paint(10 * image + 1).ravel() for image in (1, 2, 3)]), (1, 99.7))
    assert plate_contrasts(few)["OrigDNA"] == Contrast(black, full)


def test_a_sheet_of_none_or_of_too_many_says_so_and_broken_images_are_marked(path, tmp_path):
    with pytest.raises(OptionError, match="0 cells"):
        contact_sheet(crops(path, where="false"))
    (tmp_path / "images" / phenix(1, 1)).write_bytes(b"II*\0broken")
    sheet = opened(contact_sheet(crops(path, size=8)))
    assert (np.abs(sheet.astype(int) - (200, 60, 60)).sum(axis=2) < 6).sum() > 300


def test_channels_have_colours_of_their_own():
    colours = colours_of(["OrigDNA", "OrigER", "OrigAGP", "OrigMito", "OrigRNA", "Other", "Another"])
    assert len(set(colours.values())) == 7 and colours["OrigDNA"][2] == 255
    assert colours_of(["OrigDNA"]) == {"OrigDNA": (255, 255, 255)}
    layers = np.array([[[0, 50, 100, 200]], [[100, 0, 0, 0]]], np.uint16)
    picture = composite(layers, ["OrigDNA", "OrigER"], {"OrigDNA": Contrast(0, 100), "OrigER": Contrast(0, 100)})
    assert picture[0, 0].tolist() == list(colours["OrigER"]) and picture[0, 2].tolist() == list(colours["OrigDNA"])
    assert (picture[0, 3] == picture[0, 2]).all()


def test_typical_cells_are_nearest_the_median_and_extremes_at_the_ends(tmp_path):
    write_images(tmp_path / "images")
    made = tables(tmp_path)
    areas = [10.0, 20.0, 30.0, 31.0, 40.0, None]
    for row, area in zip(made["Cells"].rows, areas, strict=True):
        row["Cells_AreaShape_Area"] = area
    table = open_cells(cells(tmp_path, made), {})
    by_row = crops(table.path, columns=["Cells_AreaShape_Area"]).cells
    value = dict(zip(by_row["row"].to_pylist(), by_row["Cells_AreaShape_Area"].to_pylist(), strict=True))
    wanted = ["Cells_AreaShape_Area"]
    assert [value[row] for row in typical_cells(table, 2, wanted)] == [30.0, 31.0]
    ends = extreme_cells(table, 2, wanted)
    assert [(heading.split()[0], [value[row] for row in rows]) for heading, rows in ends] == [
        ("largest", [40.0, 31.0]),
        ("smallest", [10.0, 20.0]),
    ]
    assert typical_cells(table, 2, []) == []


def test_typical_cells_are_not_all_of_one_well(tmp_path):
    areas = [10.0, 10.1, 10.2, 10.4, 9.0, 20.0]
    columns = {"Metadata_Well": list("AAAABB"), "Metadata_ImageNumber": [1] * 6, "Cells_AreaShape_Area": areas}
    columns |= {f"Nuclei_Location_Center_{axis}": [1.0] * 6 for axis in "XY"}
    pq.write_table(pa.table(columns), tmp_path / "cells.parquet")
    table = open_cells(tmp_path / "cells.parquet", Cache())
    assert [areas[row] for row in typical_cells(table, 5, ["Cells_AreaShape_Area"])] == [10.1, 10.2, 10.0, 9.0, 20.0]
    assert len(typical_cells(table, 6, ["Cells_AreaShape_Area"])) == 6


def test_wells_lie_where_they_are_on_the_plate(tmp_path, path):
    assert [place_on_plate(well) for well in ("A01", "p24", "AF48", "B2", "x", None)] == [
        (0, 0), (15, 23), (31, 47), (1, 1), None, None,
    ]  # fmt: skip
    assert layout_of([(0, 0)]) == (2, 3) and layout_of([(7, 12)]) == (16, 24) and layout_of([(40, 0)]) == (41, 1)
    image = Image((), "P1", "B02", 1, "DNA", "image", status="verified")
    worst = [image, replace(image, status="mismatch"), replace(image, well="A01")]
    picture = np.asarray(status_picture(worst, ""))
    found = [
        tuple(int(value) for value in picture[22 + row * 28 + 13, 26 + column * 28 + 13])
        for row, column in ((0, 0), (1, 1), (1, 2))
    ]
    assert found == [(0, 158, 115), (204, 121, 167), (52, 52, 58)]


def test_a_mosaic_has_the_sites_in_their_wells_and_nothing_where_a_file_is_broken(tmp_path, path):
    made = crops(path, size=8)
    dark = tmp_path / "dark.tif"
    Pictures.fromarray(np.zeros((30, 30), np.uint8)).save(dark)
    full = tmp_path / "full.tif"
    Pictures.fromarray(np.full((30, 30), 255, np.uint8)).save(full)
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    sites = [("A02", site, {"DNA": File(str(file))}) for site, file in enumerate((full, dark, full), start=1)]
    sites.append(("B01", 1, {"DNA": File(str(tmp_path / "broken.tif"))}))
    picture = np.asarray(mosaic(sites, ["DNA"], {"DNA": Contrast(0, 255)}, made.open_, "", edge=20))
    left, top = 26 + 22, 22
    quarters = [picture[top + y + 5, left + x + 5, 0] for y in (0, 10) for x in (0, 10)]
    assert quarters == [255, 0, 255, 52] and picture[top + 22 + 5, 26 + 5, 0] == 52
    assert opened(png_of(mosaic(sites, ["DNA"], {"DNA": Contrast(0, 255)}, made.open_, ""), 64)).shape[2] == 3


def test_the_command_makes_a_picture_or_a_dataset(tmp_path, path, capsys):
    plate = tmp_path / "lake" / "P1"
    plate.mkdir(parents=True)
    path.rename(plate / "single_cells.parquet")
    (path.parent / "_about").rename(plate / "_about")
    out = tmp_path / "cells.png"
    command = ["crops", str(plate), "--where", "Nuclei_Location_Center_X > 0", "--limit", "4", "--channels", "DNA,ER"]
    assert main([*command, "--size", "8", "--out", str(out)]) == 0
    assert opened(out.read_bytes()).shape[1] >= 420
    assert main([*command, "--out", str(out)]) == 1 and "overwrite" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "cells.jpg")]) == 1
    assert main(["crops", str(plate), "--where", "no", "--out", str(tmp_path / "b.png")]) == 1
    assert "--where no" in capsys.readouterr().err and not Path(tmp_path / "b.png").exists()
    pytest.importorskip("lance")
    assert main([*command, "--size", "8", "--out", str(tmp_path / "cells.lance")]) == 0


def test_the_command_tells_which_crops_lack_pixels(tmp_path, path, capsys):
    (tmp_path / "images" / phenix(1, 1)).write_bytes(b"II*\0broken")
    command = ["crops", str(path), "--size", "8", "--channels", "DNA"]
    out = tmp_path / "all.png"
    assert main([*command, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n" and f" of {len(crops(path))} crops not ok: " in told.err and phenix(1, 1) in told.err
    assert len(told.err.splitlines()) == 1
    assert main([*command, "--limit", "1", "--out", str(tmp_path / "one.png")]) == 1
    assert capsys.readouterr().err.startswith("cytotable-dagster: 1 of 1 crop not ok: 1 unreadable; such as ")
