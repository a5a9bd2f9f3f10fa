"""CytoDataFrame 0.4 shows each picture of a joined table once."""

import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.clients.environments import ask, interpreter

CHANNELS = {
    "nf1_schwann/all_cellprofiler.sqlite": ("DAPI", "GFP", "RFP"),
    "examplehuman": ("DNA", "OrigOverlay", "PH3", "cellbody"),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_pictures_are_the_channels_and_have_their_folders(tmp_path, real_data, name):
    interpreter("cytodataframe")
    convert(real_data / name, tmp_path / "few.parquet")
    convert(real_data / name, tmp_path / "all.parquet", image_features=True)
    answers = ask("cytodataframe", tables={kind: tmp_path / f"{kind}.parquet" for kind in ("few", "all")})
    few, whole = answers["few"], answers["all"]
    pictures = {f"Image_FileName_{channel}" for channel in CHANNELS[name]}
    assert set(few["pictures"]) <= pictures and len(few["pictures"]) >= 3
    assert few["folders"] == {name: name.replace("FileName", "PathName") for name in few["pictures"]}
    # Addresses are there where all columns of images are asked for.
    assert {name for name in whole["pictures"] if "_URL_" in name}


def test_cells_are_shown_with_their_images(tmp_path, real_data):
    pytest.importorskip("scipy", reason="the demo's plate needs cytotable-dagster[demo]")
    from cytotable_dagster.demo.plate import write_plate

    interpreter("cytodataframe")
    demo = write_plate(tmp_path / "demo", wells=1, sites_per_well=1, image_size=128)
    images = {"demo": demo.images, "examplehuman": real_data / "examplehuman"}
    for name, source in (("demo", demo.sqlite), ("examplehuman", real_data / "examplehuman")):
        convert(source, tmp_path / name / "cells.parquet", provenance=True, image_dir=images[name], verify="md5")
    tables = {name: tmp_path / name / "cells.parquet" for name in images}
    answers = ask("cytodataframe", tables=tables, images=images)
    # Three channels of each of the rows that it shows.
    for name in images:
        assert answers[name]["shown"] >= 3 and answers[name]["shown"] % 3 == 0
