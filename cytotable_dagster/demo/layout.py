"""Where a plate's files lie, in the Cell Painting Gallery's layout:
https://broadinstitute.github.io/cellpainting-gallery/data_structure.html
"""

from dataclasses import dataclass

PROJECT = "cpg-demo"
SOURCE = "source_1"
ROWS, COLUMNS = 16, 24
"""Of a 384-well plate: rows A to P, columns 1 to 24."""


@dataclass(frozen=True)
class Site:
    """One field of view. `index` counts the plate's sites from 0; row, column and site count from 1."""

    index: int
    row: int
    column: int
    site: int

    @property
    def well(self) -> str:
        return f"{chr(ord('A') + self.row - 1)}{self.column:02d}"

    def file_name(self, channel_number: int) -> str:
        """As the Opera Phenix names its images: row, column, field, plane, channel."""
        return f"r{self.row:02d}c{self.column:02d}f{self.site:02d}p01-ch{channel_number}.tiff"


def sites_of(wells: int, sites_per_well: int) -> list[Site]:
    """The sites of `wells` wells spread evenly over the plate, in the order A01, A02, ... P24."""
    places = [divmod(number * ROWS * COLUMNS // wells, COLUMNS) for number in range(wells)]
    wanted = [(row, column, site) for row, column in places for site in range(sites_per_well)]
    return [Site(index, row + 1, column + 1, site + 1) for index, (row, column, site) in enumerate(wanted)]


def images_key(batch: str, plate: str) -> str:
    return f"{PROJECT}/{SOURCE}/images/{batch}/images/{plate}/Images"


def sqlite_key(batch: str, plate: str) -> str:
    return f"{PROJECT}/{SOURCE}/workspace/backend/{batch}/{plate}/{plate}.sqlite"


def load_data_key(batch: str, plate: str) -> str:
    return f"{PROJECT}/{SOURCE}/workspace/load_data_csv/{batch}/{plate}/load_data.csv"
