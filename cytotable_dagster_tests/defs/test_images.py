"""Images in Dagster: what became of them, pictures of cells, and a plate whose images nobody has."""

import re

import pyarrow.parquet as pq
import pytest
from PIL import Image as Pictures

from cytotable_dagster.defs.cell_pictures import _few, shown_channels
from cytotable_dagster.defs.image_files import ImageFiles
from cytotable_dagster_tests.core.images.painted import phenix
from cytotable_dagster_tests.core.images.test_image_crops import tables, write_images
from cytotable_dagster_tests.defs.deployment import Deployment, failures


def picture(deployment: Deployment, markdown: str) -> Pictures.Image:
    """What the web server has where a page says that a picture is."""
    assert len(markdown) < 1000
    (name,) = re.findall(r"!\[[^]]+\]\(/logs/pictures/(\w+)/png\)", markdown)
    local = deployment.instance.compute_log_manager
    return Pictures.open(local.get_captured_local_path(["pictures", name], "png"))  # type: ignore[attr-defined]


@pytest.fixture
def pictured(deployment: Deployment, tmp_path):
    """A plate with its images, converted."""
    write_images(tmp_path / "images")
    made = tables(tmp_path)
    for number, row in enumerate(made["Cells"].rows):
        row["Cells_AreaShape_Area"] = 100.0 + number
    deployment.add("Pictured", made)
    converted = deployment.convert("Pictured")
    assert converted.success, failures(converted)
    return tmp_path / "images"


def test_a_plates_images_are_counted_and_shown(deployment: Deployment, pictured) -> None:
    found = deployment._run("find_images", "Pictured", {})
    assert found.success, failures(found)
    shown = deployment.metadata("image_provenance", "Pictured")
    assert shown["present"] == 6 and shown["dagster/row_count"] == 6
    assert 100 < picture(deployment, shown["plate"]).width <= 510 and "6 present" in shown["summary"]
    assert pq.read_table(shown["path"]).num_rows == 6
    cells = deployment.metadata("cell_images", "Pictured")
    for name in ("typical cells", "extremes", "sites"):
        assert picture(deployment, cells[name]).height > 50 and picture(deployment, cells[name]).width <= 510
        assert Pictures.open(cells[f"{name}, file"]).width > 100
    if pytest.importorskip("lance"):
        assert cells["crops"] == 6 == cells["crops: ok"]
    assert "/assets/cell_images" in deployment.metadata("single_cells", "Pictured")["pictures"]


def test_a_check_names_what_is_missing(deployment: Deployment, pictured) -> None:
    name = phenix(2, 1)
    (pictured / name).unlink()
    # Where they are recorded is where nothing is: by a rule it is known what should be.
    rules = pictured.parent / "rules.toml"
    rules.write_text(f"[[rules]]\nfrom = '{pictured}'\nto = '{pictured}'\n")
    found = deployment._run("find_images", "Pictured", {"image_files": ImageFiles(path_rules=str(rules), per_well="0")})
    assert found.success, failures(found)
    (check,) = [c for (asset, _), c in deployment.checks(found).items() if asset == "image_provenance"]
    assert not check.passed and check.severity.value == "WARN"
    assert "1 of 6 image files are missing or not as measured" in (check.description or "")
    assert check.metadata["problems"].value == 1 and name in check.metadata["1"].value
    assert "none are kept" in deployment.metadata("cell_images", "Pictured")["crops"]


def test_a_plate_without_images_is_no_failure(deployment: Deployment) -> None:
    deployment.add("Blind")
    converted = deployment.convert("Blind")
    assert converted.success, failures(converted)
    found = deployment._run("find_images", "Blind", {})
    assert found.success, failures(found)
    assert "unmapped" in deployment.metadata("image_provenance", "Blind")
    note = deployment.metadata("cell_images", "Blind")["note"]
    assert "where cells are" in note and note.endswith("bbox_column_map= of the library")
    said = " ".join(deployment.metadata("plate_sqlite", "Blind")["summary"].split())
    assert "with 5 images, 10 cells, 10 cytoplasm, 14 nuclei; to be converted in 4 chunks" in said
    assert deployment.metadata("image", "Blind")["summary"].startswith("5 images")
    assert "image per image" not in deployment.metadata("image", "Blind")


def test_of_a_plate_of_many_sites_one_of_each_well_is_shown() -> None:
    sites = [(f"A{well}", site, {}) for well in range(101) for site in (1, 2, 3, 4)]
    assert [site for _, site, _ in _few(sites)] == [1] * 101 and _few(sites[:400]) == sites[:400]


def test_three_channels_that_go_together_are_shown() -> None:
    assert shown_channels(("OrigRNA", "OrigMito", "OrigER", "OrigDNA", "OrigAGP")) == ("OrigDNA", "OrigER", "OrigAGP")
    assert shown_channels(("GFP",)) == ("GFP",)
