"""The ome-arrow package reads crops that are made in its layout."""

import numpy as np
import pyarrow.parquet as pq

from cytotable_dagster import crops
from cytotable_dagster_tests.clients.environments import ask, interpreter
from cytotable_dagster_tests.core.images.test_image_crops import cells, pixels_of, table_of, write_images


def test_crops_have_their_pixels(tmp_path):
    interpreter("cosmicqc")
    write_images(tmp_path / "images")
    path = cells(tmp_path)
    pq.write_table(table_of(crops(path, size=8, crop_type="ome-arrow")), tmp_path / "crops.parquet")
    found = np.array(ask("cosmicqc", crops=tmp_path / "crops.parquet")["crops"])
    assert (found[:, 0, :, 0] == pixels_of(table_of(crops(path, size=8)))).all()
