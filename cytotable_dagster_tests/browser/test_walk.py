"""The demo in a browser, as a person goes through it: one plate from the graph to its datasets, and a bad upload."""

import re

import pyarrow.parquet as pq
import pytest

pytest.importorskip("selenium")

from cytotable_dagster.demo.plate import BUCKET
from cytotable_dagster_tests.browser.conftest import Demo
from cytotable_dagster_tests.browser.walker import Walk

LOCATION = "/locations/cytotable_dagster.definitions"
GROUPS = ("1_source", "2_chunks", "3_tables", "4_images", "5_datasets")
# A text file named as if it were a plate's.
BAD = "BadUpload"


@pytest.fixture(scope="module")
def converted(walk: Walk, demo: Demo) -> str:
    """The page of the plate's single cells, once they were made by clicking."""
    walk.go(f"{LOCATION}/jobs/convert_plate", "Materialize")
    # Dagster asks, as chunks are assets of their own that nothing has made yet; the run makes them.
    walk.launch("Materialize", "Confirm", "All", "Launch 1 run")
    page = f"/assets/single_cells?view=partitions&partition={demo.plate.plate}"
    walk.go(page, "Latest materialization", demo.plate.sqlite_key)
    return page


@pytest.fixture(scope="module")
def watched(walk: Walk, demo: Demo, converted: str) -> None:
    """The bucket, looked through by the sensor, which is turned on by its switch; a bad upload lies in it."""
    demo.upload(BAD, b"not a database")
    walk.go(f"{LOCATION}/sensors/new_plates_sensor", "Running", "CYTOTABLE_SOURCE")
    walk.switch()


def test_the_graph_has_its_groups_in_the_order_of_the_work(walk: Walk) -> None:
    # A name, and the same once more for the pointer that rests on it.
    walk.go("/asset-groups/", re.compile(r"\s+".join(rf"{group}\s+{group}" for group in GROUPS)))
    walk.keep("graph")


def test_a_plate_is_materialized_by_clicking(walk: Walk, demo: Demo, converted: str) -> None:
    rows, images = pq.read_metadata(demo.lake / "single_cells.parquet").num_rows, demo.plate.counts["Image"]
    assert rows == demo.plate.counts["Cytoplasm"] > 0
    shown = walk.go(converted, f"s3://{BUCKET}/{demo.plate.sqlite_key}", "pd.read_parquet(")
    assert re.search(rf"{rows:,} cells in {images} images of 4 wells", shown)
    assert all(width > 100 for width in walk.widths())
    walk.keep("plate")


def test_the_log_of_its_run_tells_how_far_it_is(walk: Walk, converted: str) -> None:
    walk.go("/runs", "convert_plate", "Success")
    walk.keep("runs")
    walk.click("View", "a[href*='/runs/']")
    walk.read("RUN_SUCCESS")
    walk.type("Filter", "to go")
    shown = walk.read(re.compile(r"chunk \d+ of \d+: \w+ \d+, [\d,]+ rows? in .* to go"))
    assert "STEP_SUCCESS" not in shown
    walk.keep("log")


def test_checks_are_sentences(walk: Walk, demo: Demo, converted: str) -> None:
    rows = f"{demo.plate.counts['Cells']:,} rows, as table Cells has; each has a key of its own"
    walk.go("/assets/cells?view=checks", "Latest execution", rows, "Passed")
    walk.keep("check")


def test_all_checks_are_executed_for_every_plate(walk: Walk, converted: str) -> None:
    walk.go("/assets/single_cells?view=checks", "Execute all")
    walk.click("Execute all")
    walk.read(re.compile("Running|plate checked"))
    walk.go("/assets/single_cells?view=checks", "1 plate checked: it passes")
    walk.keep("all_checks")


def test_a_dataset_has_its_picture(walk: Walk, demo: Demo, converted: str) -> None:
    walk.go("/assets/single_cells_dataset", "Materialize", "Never materialized")
    walk.click("Materialize")
    walk.read("Launched run")
    rows = demo.plate.counts["Cytoplasm"]
    walk.go("/assets/single_cells_dataset", f"{rows:,} rows of 1 plate")
    assert all(width > 100 for width in walk.widths())
    walk.keep("dataset")


def test_a_chunk_is_made_again_and_tells_its_images_and_wells(walk: Walk, demo: Demo, converted: str) -> None:
    page = f"/assets/cells_chunk?view=partitions&partition={demo.plate.plate}%7C00"
    walk.go(page, "View all historical events (1)", re.compile(r"of image 1 of 8, in 1 well: [A-P]\d\d"))
    walk.launch("Materialize", "Launch 1 run")
    walk.go(page, "View all historical events (2)")
    walk.keep("chunk")
    # The bytes are equal: nothing that is made of them is out of date.
    assert "Outdated" not in walk.go(converted, "Latest materialization")


def test_the_way_back_leads_to_the_source(walk: Walk, converted: str) -> None:
    walk.go(
        "/assets/single_cells?view=lineage&lineageScope=upstream&lineageDepth=5",
        *("plate_source", "plate_sqlite", "cells_chunk", "image_chunk", "nuclei", "single_cells"),
    )
    walk.keep("lineage")


def test_the_sensor_leaves_the_plate_alone_and_a_bad_upload_is_found_until_it_is_replaced(
    walk: Walk, demo: Demo, watched: None
) -> None:
    page = "/assets/plate_source?view=checks"
    shown = walk.go(page, "uploads_accepted", "Failed", f"{BAD}.sqlite: no SQLite file")
    assert "1 file is refused" in shown
    walk.keep("refused")
    runs = walk.go("/runs", "convert_plate")
    assert runs.count("convert_plate") == 1
    demo.upload(BAD, demo.plate.sqlite.read_bytes())
    shown = walk.go(page, "uploads_accepted", "no file that was found is refused")
    assert f"{BAD}.sqlite" not in shown
    walk.keep("accepted")
