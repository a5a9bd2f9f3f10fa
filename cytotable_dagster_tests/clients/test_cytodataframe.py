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
