"""Files in which CellProfiler's ExportToSpreadsheet combined the measurements of all objects: `object.csv`, as
cytominer-database calls them.

They have two header rows, the first with the compartment of each column, the second with its name:
https://github.com/cytomining/cytominer-database. Records put the objects of all compartments side by side, so that one
with fewer objects has blank fields at the end. Each compartment becomes a CSV file of its own.
"""

import csv
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.kernels.csv_layout import TEXT
from cytotable_dagster.core.model.presets import IMAGE, Preset
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.exports import Export
from cytotable_dagster.core.sources.csv.header import Header, first_record, plain_file
from cytotable_dagster.core.sources.csv.names import OBJECT
from cytotable_dagster.core.sources.csv.parts import Records, count_records, parts_of, ragged_records, read_part

if TYPE_CHECKING:
    import polars as pl

# What CellProfiler calls an object's number; the first compartment has it as ObjectNumber too.
_NUMBER = "Number_Object_Number"


@dataclass(frozen=True)
class Split:
    """An export with a file for each compartment, what of the one for all of them was left out and why, and how many of
    its records were."""

    export: Export
    skipped: tuple[tuple[str, str], ...] = ()
    rows: int = 0


def with_split_objects(exports: Sequence[Export], preset: Preset, format: CsvFormat, folder: Path) -> Sequence[Split]:
    """The exports with a file for each compartment, made in `folder` where there is but one for all of them.

    Raises:
        SourceFormatError: one is no CSV file, or bytes of it are no text in this encoding.
    """

    def split(numbered: tuple[int, Export]) -> Split:
        number, export = numbered
        if OBJECT not in export.files:
            return Split(export)
        return _split(export, preset, format, folder / f"objects-{number}")

    if not any(OBJECT in export.files for export in exports):
        return [Split(export) for export in exports]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(split, enumerate(exports)))


def _split(export: Export, preset: Preset, format: CsvFormat, folder: Path) -> Split:
    files = dict(export.files)
    file = files.pop(OBJECT)
    rest = replace(export, files=files)

    def left_out(reason: str, rows: int = 0) -> Split:
        return Split(rest, ((str(file), reason),), rows)

    there = [compartment for compartment in preset.compartments if compartment in files]
    if there:
        return left_out(f"{files[there[0]].name} is there, whose rows it would repeat")
    if not file.stat().st_size:
        return left_out("empty (0 bytes)")
    path = plain_file(file, folder)
    owners, header = _two_rows(path, format, str(file))
    compartments = [name for name in preset.compartments if name in owners]
    if not compartments or len(owners) != len(header.names):
        rows = count_records(path, header, format.encoding, str(file))
        return left_out(f"its first row does not name the compartment of each column; {rows} records", rows)
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: _columns_of(name, owners, header, preset) for name in compartments}
    for name in compartments:
        files[name] = folder / f"{name}.csv"
        with files[name].open("w", encoding=format.encoding, newline="") as made:
            csv.writer(made, lineterminator="\n", delimiter=header.dialect.delimiter).writerow(
                [column for column, _ in columns[name]]
            )
    found = []
    for part in parts_of(path, header, str(file)):
        records = read_part(path, part, header, format.encoding, str(file), exact=True)
        found.append((part, records.left_out, records.ragged))
        frame = _frame(records, header)
        for name in compartments:
            own = [place for _, place in columns[name] if owners[place] == name]
            data = _records(columns[name], own, frame, header.dialect.delimiter)
            with files[name].open("ab") as made_of:
                made_of.write(data.encode(format.encoding))
    skipped = tuple(ragged_records(path, str(file), found, len(owners)))
    return Split(replace(export, files=files), skipped, sum(count for _, count, _ in found))


def _two_rows(path: Path, format: CsvFormat, where: str) -> tuple[list[str], Header]:
    """The compartment of each column, and the header that their names and the end of both rows make."""
    owners = first_record(path, format, where)
    names = first_record(path, replace(format, delimiter=owners.dialect.delimiter), where, owners.end)
    return [owner.strip() for owner in owners.fields], Header(names.fields, names.end, dialect=owners.dialect)


def _columns_of(compartment: str, owners: Sequence[str], header: Header, preset: Preset) -> list[tuple[str, int]]:
    """The columns of the compartment's file: what they are called there, and where they are."""
    number = preset.object_number_of(compartment) or ""
    placed = [(name, place) for place, name in enumerate(header.names)]
    image = [(name, place) for name, place in placed if owners[place] == IMAGE]
    own = [(name, place) for name, place in placed if owners[place] == compartment]
    numbers = [(number, place) for name, place in own if name == _NUMBER]
    if numbers:
        # The first compartment has a column of that name that counts the records.
        own = [(name, place) for name, place in own if name != number]
    return [*image, *numbers, *own]


def _frame(records: Records, header: Header) -> "pl.DataFrame":
    """Records as columns of text, called by their places."""
    import numpy as np
    import polars as pl

    from cytotable_dagster.core.sources.csv.block import read_texts

    places = replace(header, names=tuple(str(place) for place in range(len(header.names))))
    block = read_texts(records, places, np.full(len(places.names), TEXT))
    return pl.DataFrame({name: pl.from_arrow(array) for name, array in block.texts.items()})


def _records(columns: Sequence[tuple[str, int]], own: Sequence[int], frame: "pl.DataFrame", delimiter: str) -> str:
    """The records that have a value in the compartment's own columns, as CSV."""
    import polars as pl

    kept = frame.filter(pl.any_horizontal(pl.col(str(place)).is_not_null() for place in own))
    chosen = kept.select(kept[:, place].alias(str(number)) for number, (_, place) in enumerate(columns))
    return chosen.write_csv(include_header=False, separator=delimiter)
