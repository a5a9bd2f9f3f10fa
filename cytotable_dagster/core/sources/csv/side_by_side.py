"""CSV files that hold the objects of several compartments side by side, and how they are known.

Two header rows name, for each column, its compartment (`Image`, `Cells`) and what it is there (`ImageNumber`,
`AreaShape_Area`). CellProfiler's ExportToSpreadsheet calls such a file as its first object or as the user likes,
cytominer-database `object.csv`.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.header import Header, first_record, plain_file
from cytotable_dagster.core.support.leftovers import temporary_folder


def two_rows(path: Path, format: CsvFormat, where: str) -> tuple[list[str], Header]:
    """The compartment of each column, and the header that their names and the end of both rows make.

    Raises:
        SourceFormatError: as `header.first_record`.
    """
    owners = first_record(path, format, where)
    names = first_record(path, replace(format, delimiter=owners.dialect.delimiter), where, owners.end)
    return [owner.strip() for owner in owners.fields], Header(names.fields, names.end, dialect=owners.dialect)


def those_side_by_side(files: Iterable[Path], format: CsvFormat, image_number: str) -> set[Path]:
    """Those of some files that have two header rows: one that gives the image's number to the image, one that names
    it."""
    with temporary_folder("header") as scratch:
        return {file for file in files if _has_two_rows(file, format, image_number, scratch)}


def _has_two_rows(file: Path, format: CsvFormat, image_number: str, scratch: Path) -> bool:
    if not file.stat().st_size:
        return False
    try:
        path = plain_file(file, scratch)
        # Which the headers of thousands of other files have not.
        if IMAGE not in (field.strip() for field in first_record(path, format, str(file)).fields):
            return False
        owners, header = two_rows(path, format, str(file))
    except SourceFormatError:
        # Told where it is read, if it is.
        return False
    names = [name.strip() for name in header.names]
    return len(owners) == len(names) and (IMAGE, image_number) in zip(owners, names, strict=True)
