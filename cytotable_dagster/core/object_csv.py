"""Files in which CellProfiler's ExportToSpreadsheet combined the measurements of all objects: `object.csv`, as
cytominer-database calls them.

They have two header rows, the first with the compartment of each column, the second with its name:
https://github.com/cytomining/cytominer-database. Records put the objects of all compartments side by side, so that one
with fewer objects has blank fields at the end. Each compartment becomes a CSV file of its own.
"""

import csv
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.csv_files import OBJECT, Export
from cytotable_dagster.core.csv_parts import (
    Header,
    parts_of,
    plain_file,
    ragged_records,
    read_header,
    read_part,
)
from cytotable_dagster.core.presets import IMAGE, Preset

# What CellProfiler calls an object's number; the first compartment has it as ObjectNumber too.
_NUMBER = "Number_Object_Number"

Skipped = list[tuple[str, str]]


def with_split_objects(
    exports: Sequence[Export], preset: Preset, encoding: str, folder: Path
) -> tuple[tuple[Export, ...], Skipped]:
    """The exports with a file for each compartment, made in `folder` where there is but one for all of them; and what
    of that was left out, and why.

    Raises:
        SourceFormatError: one is no CSV file, or bytes of it are no text in this encoding.
    """

    def split(numbered: tuple[int, Export]) -> tuple[Export, Skipped]:
        number, export = numbered
        if OBJECT not in export.files:
            return export, []
        return _split(export, preset, encoding, folder / f"objects-{number}")

    if not any(OBJECT in export.files for export in exports):
        return tuple(exports), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(split, enumerate(exports)))
    return tuple(export for export, _ in found), [record for _, skipped in found for record in skipped]


def _split(export: Export, preset: Preset, encoding: str, folder: Path) -> tuple[Export, Skipped]:
    files = dict(export.files)
    file = files.pop(OBJECT)
    rest = replace(export, files=files)
    there = [compartment for compartment in preset.compartments if compartment in files]
    if there:
        return rest, [(str(file), f"{files[there[0]].name} is there, whose rows it would repeat")]
    if not file.stat().st_size:
        return rest, [(str(file), "empty (0 bytes)")]
    path = plain_file(file, folder)
    owners, header = _two_rows(path, encoding, str(file))
    compartments = [name for name in preset.compartments if name in owners]
    if not compartments or len(owners) != len(header.names):
        return rest, [(str(file), "its first row does not name the compartment of each column")]
    folder.mkdir(parents=True, exist_ok=True)
    columns = {name: _columns_of(name, owners, header, preset) for name in compartments}
    for name in compartments:
        files[name] = folder / f"{name}.csv"
        with files[name].open("w", encoding=encoding, newline="") as made:
            csv.writer(made, lineterminator="\n").writerow([column for column, _ in columns[name]])
    found = []
    for part in parts_of(path, header):
        records = read_part(path, part, header, encoding, str(file), exact=True)
        found.append((part, records.ragged))
        for name in compartments:
            own = [place for _, place in columns[name] if owners[place] == name]
            if records.data:
                _append(files[name], columns[name], own, records.data, encoding)
    return replace(export, files=files), list(ragged_records(path, file, found, len(owners)))


def _two_rows(path: Path, encoding: str, where: str) -> tuple[list[str], Header]:
    """The compartment of each column, and the header that their names and the end of both rows make."""
    first = read_header(path, encoding, where)
    with path.open("rb") as file:
        head = file.read(first.size)
        names = file.readline()
    owners = next(csv.reader(io.StringIO(head.decode(encoding).removeprefix("\ufeff"))), [])
    own = next(csv.reader(io.StringIO(names.decode(encoding))), [])
    return [owner.strip() for owner in owners], Header(tuple(own), first.size + len(names))


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


def _append(path: Path, columns: Sequence[tuple[str, int]], own: Sequence[int], data: bytes, encoding: str) -> None:
    """Write the records that have a value in the compartment's own columns."""
    import polars as pl

    frame = pl.read_csv(data, has_header=False, infer_schema=False, null_values="")
    kept = frame.filter(pl.any_horizontal(pl.col(frame.columns[place]).is_not_null() for place in own))
    chosen = kept.select(kept[:, place].alias(str(number)) for number, (_, place) in enumerate(columns))
    with path.open("ab") as file:
        file.write(chosen.write_csv(include_header=False).encode(encoding))
