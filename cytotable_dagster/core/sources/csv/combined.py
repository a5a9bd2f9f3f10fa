"""Files in which CellProfiler combined the measurements of several objects, taken apart.

Records put the objects of all compartments side by side, so that one with fewer objects has fields at the end that are
blank or `nan`; see `side_by_side`. Each compartment becomes a CSV file of its own, with the numbers of its own
objects and their parents.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.kernels.csv_layout import TEXT
from cytotable_dagster.core.model.presets import IMAGE, Preset
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.exports import Export
from cytotable_dagster.core.sources.csv.field_types import without_missing
from cytotable_dagster.core.sources.csv.header import Header, plain_file, read_header
from cytotable_dagster.core.sources.csv.names import OBJECT
from cytotable_dagster.core.sources.csv.parts import Records, count_records, parts_of, ragged_records, read_part
from cytotable_dagster.core.sources.csv.side_by_side import two_rows
from cytotable_dagster.core.sources.sqlite.tables import SHARED_NUMBER, objects_in, owner_of
from cytotable_dagster.core.support.cores import cores

if TYPE_CHECKING:
    import pyarrow as pa

# What CellProfiler calls an object's number; the first compartment has it as ObjectNumber too.
_NUMBER = "Number_Object_Number"


@dataclass(frozen=True)
class Split:
    """An export with a file for each compartment, what of those for several of them was left out and why, and how many
    of their records were."""

    export: Export
    skipped: tuple[tuple[str, str], ...] = ()
    rows: int = 0


def with_split_objects(exports: Sequence[Export], preset: Preset, format: CsvFormat, folder: Path) -> Sequence[Split]:
    """The exports with a file for each compartment, made in `folder` where several lie in one.

    Raises:
        SourceFormatError: one is no CSV file, or bytes of it are no text in this encoding.
    """

    def split(numbered: tuple[int, Export]) -> Split:
        number, export = numbered
        return _split(export, preset, format, folder / f"objects-{number}")

    if not any(OBJECT in export.files or export.side_by_side for export in exports):
        return [Split(export) for export in exports]
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(split, enumerate(exports)))


def _split(export: Export, preset: Preset, format: CsvFormat, folder: Path) -> Split:
    files = dict(export.files)
    named = files.pop(OBJECT, None)
    split = Split(replace(export, files=files, side_by_side=()))
    if named is not None:
        there = [compartment for compartment in preset.compartments if compartment in files]
        repeats = f"{files[there[0]].name} is there, whose rows it would repeat" if there else ""
        split = _with(split, named, preset, format, folder, repeats)
    for number, file in enumerate(export.side_by_side):
        split = _with(split, file, preset, format, folder / str(number))
    return split


def _with(split: Split, file: Path, preset: Preset, format: CsvFormat, folder: Path, reason: str = "") -> Split:
    """With the compartments of one more file, those that have none; with nothing of it where there is a reason."""
    files = dict(split.export.files)

    def left_out(reason: str, rows: int = 0) -> Split:
        return replace(split, skipped=(*split.skipped, (str(file), reason)), rows=split.rows + rows)

    if reason or not file.stat().st_size:
        return left_out(reason or "empty (0 bytes)")
    path = plain_file(file, folder)
    owners, header = two_rows(path, format, str(file))
    # Objects are called as the preset has them, whatever the case.
    called = {name.lower(): name for name in preset.compartments}
    owners = [called.get(owner.lower(), owner) for owner in owners]
    compartments = [name for name in preset.compartments if name in owners and name not in files]
    pieces = {name: _piece(name, owners, header, preset) for name in compartments}
    if objects_in(owners):
        header = read_header(path, format, str(file))
        parts = {name: piece_of_whole(name, header, preset) for name in preset.compartments if name not in files}
        pieces = {name: piece for name, piece in parts.items() if piece}
    if not pieces or len(owners) != len(header.names):
        rows = count_records(path, header, format.encoding, str(file))
        return left_out(f"its first row does not name the compartment of each column; {rows} records", rows)
    made, ragged, count = take_apart(path, header, pieces, folder, format, str(file))
    return Split(replace(split.export, files={**files, **made}), (*split.skipped, *ragged), split.rows + count)


@dataclass(frozen=True)
class Piece:
    """A compartment's part of a file: what its columns are called and where they are, and the places by any of which
    a record has an object of it."""

    columns: tuple[tuple[str, int], ...]
    own: tuple[int, ...]


def take_apart(
    path: Path, header: Header, pieces: Mapping[str, Piece], folder: Path, format: CsvFormat, where: str
) -> tuple[dict[str, Path], tuple[tuple[str, str], ...], int]:
    """A file for each piece of a file, made in `folder`; the records that were left out and why, and how many.

    Raises:
        SourceFormatError: as `parts.read_part`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, piece in pieces.items():
        files[name] = folder / f"{name}.csv"
        with files[name].open("w", encoding=format.encoding, newline="") as made:
            csv.writer(made, lineterminator="\n", delimiter=header.dialect.delimiter).writerow(
                [column for column, _ in piece.columns]
            )
    found = []
    for part in parts_of(path, header, where):
        records = read_part(path, part, header, format.encoding, where, exact=True)
        found.append((part, records.left_out, records.ragged))
        texts = _texts(records, header)
        for name, piece in pieces.items():
            with files[name].open("ab") as made_of:
                made_of.write(_records(piece, texts, header.dialect.delimiter, format.encoding))
    ragged = tuple(ragged_records(path, where, found, len(header.names)))
    return files, ragged, sum(count for _, count, _ in found)


def piece_of_whole(compartment: str, header: Header, preset: Preset) -> Piece | None:
    """A compartment's part of a table that ExportToDatabase makes of all objects, with one header row
    (`Cells_AreaShape_Area`); None where it has none."""
    objects = objects_in(header.names)
    owners = [owner_of(name, objects) for name in header.names]
    own = tuple(place for place, owner in enumerate(owners) if owner == compartment)
    keys = preset.keys_of(compartment)
    shared = [
        place
        for place, name in enumerate(header.names)
        if owners[place] is None and (name in keys or name != SHARED_NUMBER)
    ]
    return Piece(tuple((header.names[place], place) for place in (*shared, *own)), own) if own else None


def _piece(compartment: str, owners: Sequence[str], header: Header, preset: Preset) -> Piece:
    number = preset.object_number_of(compartment) or ""
    placed = [(name.strip(), place) for place, name in enumerate(header.names)]
    image = [(name, place) for name, place in placed if owners[place] == IMAGE]
    # What all compartments of a record have, and the first one as its own, counts the records of an image.
    counter = [(name, place) for name, place in placed if name == number][:1]
    own = [(name, place) for name, place in placed if owners[place] == compartment and name != number]
    numbers = [(number, place) for name, place in own if name == _NUMBER] or counter
    told = tuple(place for _, place in own) or tuple(place for _, place in numbers)
    return Piece((*image, *numbers, *own), told)


def _texts(records: Records, header: Header) -> "list[pa.Array]":
    """The columns of some records, as text."""
    import numpy as np

    from cytotable_dagster.core.sources.csv.block import read_texts

    places = replace(header, names=tuple(str(place) for place in range(len(header.names))))
    block = read_texts(records, places, np.full(len(places.names), TEXT))
    return [block.texts[name] for name in places.names]


def _records(piece: Piece, texts: "Sequence[pa.Array]", delimiter: str, encoding: str) -> bytes:
    """The records that have an object of the compartment, as CSV: shorter compartments are filled up with what says
    that a number is missing."""
    import pyarrow.compute as pc

    there = without_missing(texts[piece.own[0]]).is_valid()
    for place in piece.own[1:]:
        # Of nearly all records the first column tells.
        if there.false_count == 0:
            break
        there = pc.or_(there, without_missing(texts[place]).is_valid())
    fields = (texts[place] if there.false_count == 0 else texts[place].filter(there) for _, place in piece.columns)
    quoted = [_quoted(field, delimiter) for field in fields]
    lines = pc.binary_join_element_wise(*quoted, delimiter, null_handling="replace", null_replacement="")
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode(encoding)


def _quoted(field: "pa.Array", delimiter: str) -> "pa.Array":
    """Texts as CSV has them: in quotes where one would be taken for something else without, or is empty."""
    import pyarrow.compute as pc

    odd = pc.match_substring_regex(field, f'["\r\n{re.escape(delimiter)}]|^$')
    if not odd.true_count:
        return field
    whole = pc.binary_join_element_wise('"', pc.replace_substring(field, '"', '""'), '"', "")
    return pc.if_else(odd, whole, field)
