"""Image files as pixels: what is no image, or claims to be a larger one than there is, ends in one line."""

import io
import random
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from cytotable_dagster import crops, save_crops
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import pixels
from cytotable_dagster.core.images.pixels import ImageError, look_at, opener, read
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.core.images.test_image_crops import (
    HEIGHT,
    WIDTH,
    cells,
    paint,
    table_of,
    tables,
    write_images,
)

OPEN = opener(Store())


def tiff(**options: Any) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, paint(1), **options)
    return content.getvalue()


def test_twelve_bits_that_are_packed_are_read(tmp_path):
    values = paint(1)
    # Two values in three bytes, the high bits first.
    first, second = values.ravel()[::2], values.ravel()[1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    (tmp_path / "plain.tif").write_bytes(tiff())
    with tifffile.TiffFile(tmp_path / "plain.tif", mode="r+b") as file:
        tags = file.pages.first.tags
        tags["BitsPerSample"].overwrite(12)
        tags["StripByteCounts"].overwrite(len(packed))
        place = tags["StripOffsets"].value[0]
    with (tmp_path / "plain.tif").open("r+b") as out:
        out.seek(place)
        out.write(packed)
    assert (read(str(tmp_path / "plain.tif"), OPEN) == values).all()


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"ImageWidth": 100_000, "ImageLength": 100_000}, "100,000 x 100,000 pixels"),
        ({"ImageWidth": 16_000, "ImageLength": 16_000, "SamplesPerPixel": 8}, "bytes"),
        ({"TileWidth": 65_536, "TileLength": 65_536}, "65,536 x 65,536 pixels"),
        ({"ImageWidth": 0}, "no pixels"),
    ],
)
def test_what_a_tiff_claims_is_not_taken_as_memory(tmp_path, tags, said):
    path = tmp_path / "image.tif"
    path.write_bytes(tiff(tile=(32, 32)))
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages.first.tags[name].overwrite(value)
    with pytest.raises(ImageError, match=said):
        read(str(path), OPEN)


def test_what_a_png_claims_is_not_taken_as_memory(tmp_path):
    content = bytearray(imagecodecs.png_encode(np.zeros((4, 4, 4), np.uint16)))
    content[16:24] = (16_000).to_bytes(4, "big") * 2
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(ImageError, match="2,048,000,000 bytes"):
        read(str(tmp_path / "image.png"), OPEN)


def test_an_object_that_is_larger_than_an_image_is_not_fetched(tmp_path, in_store, store_options, monkeypatch):
    in_store.write("image.tif", tiff())
    open_ = opener(Store.checked(store_options))
    assert (read(in_store.address("image.tif"), open_) == paint(1)).all()
    monkeypatch.setattr(pixels, "MOST_BYTES", 1000)
    with pytest.raises(ImageError, match=r"image\.tif: says it takes .* bytes, more than 1,000"):
        read(in_store.address("image.tif"), open_)


def test_a_damaged_image_is_a_line_or_still_an_image(tmp_path):
    """Bytes changed, cut off or left out, a hundred times."""
    chance = random.Random(7)
    kinds = [
        tiff(),
        tiff(compression="lzw"),
        tiff(compression="zlib", predictor=True, tile=(32, 32)),
        tiff(bigtiff=True),
    ]
    kinds += [imagecodecs.png_encode(paint(1)), imagecodecs.png_encode(paint(1, np.uint8))]
    path, failed = tmp_path / "image.tif", 0
    for _ in range(100):
        content = bytearray(chance.choice(kinds))
        first = chance.randrange(len(content))
        change = chance.choice(("bytes", "head", "cut", "gap"))
        if change == "cut":
            del content[first:]
        elif change == "gap":
            del content[first : first + chance.randrange(1, 99)]
        else:
            for _ in range(chance.choice((1, 3, 20))):
                content[chance.randrange(300 if change == "head" else len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            found, looks = read(str(path), OPEN), look_at(str(path), OPEN)
            assert found.shape == (looks.height, looks.width)
        except ImageError as error:
            failed += 1
            assert "\n" not in str(error) and len(str(error)) < 400 and str(path) in str(error)
    assert 20 < failed < 95


def test_a_channel_that_some_sites_do_not_have_is_missing_there_only(tmp_path):
    write_images(tmp_path / "images")
    made = tables(tmp_path)
    for row in made["Image"].rows[:1]:
        row["FileName_OrigER"] = None
    table = table_of(crops(cells(tmp_path, made), size=8))
    found = {(row["Metadata_ImageNumber"], row["status"], row["detail"]) for row in table.to_pylist()}
    assert found == {(1, "incomplete", "OrigER: the image has no such channel"), (2, "ok", None), (3, "ok", None)}
    assert table_of(crops(tmp_path / "out" / "cells.parquet", size=8, channels="DNA"))[
        "status"
    ].unique().to_pylist() == ["ok"]


def test_boxes_outside_of_their_image_say_where_they_are(tmp_path):
    write_images(tmp_path / "images", images=1)
    made = tables(tmp_path, images=1)
    for compartment in ("Nuclei", "Cells", "Cytoplasm"):
        for row, left in zip(made[compartment].rows, (WIDTH + 5, WIDTH - 2), strict=False):
            row[f"{compartment}_AreaShape_BoundingBoxMinimum_X"] = left
            row[f"{compartment}_AreaShape_BoundingBoxMaximum_X"] = left + 8
    rows = table_of(crops(cells(tmp_path, made), size=16, around="box")).to_pylist()
    assert sorted(row["status"] for row in rows) == ["ok", "outside"] and {row["padded"] for row in rows} == {True}
    (said,) = [row["detail"] for row in rows if row["status"] == "outside"]
    assert f"x {WIDTH + 5} to {WIDTH + 13}" in said and f"{WIDTH} x {HEIGHT} pixels" in said


def test_without_the_lance_package_it_is_one_line(tmp_path, monkeypatch):
    write_images(tmp_path / "images")
    made = crops(cells(tmp_path), size=8)
    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(OptionError, match=r"pip install 'cytotable-dagster\[lance\]'"):
        save_crops(made, tmp_path / "cells.lance")
    assert not Path(tmp_path / "cells.lance").exists()
