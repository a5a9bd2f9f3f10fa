"""Two small plates, made once: one as plates should be, one with the quirks."""

from pathlib import Path

import pytest

from cytotable_dagster.demo.plate import DemoPlate, write_plate

SMALL = {"wells": 4, "sites_per_well": 2, "image_size": 128, "seed": 3}


@pytest.fixture(scope="session")
def plate(tmp_path_factory: pytest.TempPathFactory) -> DemoPlate:
    _skip_without_extra()
    return write_plate(tmp_path_factory.mktemp("plate"), **SMALL)


@pytest.fixture(scope="session")
def odd_plate(tmp_path_factory: pytest.TempPathFactory) -> DemoPlate:
    _skip_without_extra()
    folder: Path = tmp_path_factory.mktemp("odd_plate")
    return write_plate(folder, **SMALL, indexes=False, nan_text=True, image_numbers_repeat=True)


def _skip_without_extra() -> None:
    for package in ("scipy", "tifffile"):
        pytest.importorskip(package)
