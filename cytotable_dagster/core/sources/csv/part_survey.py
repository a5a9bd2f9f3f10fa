"""One part of a CSV file looked through: its rows, its keys, and of which classes the values of its columns are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cytotable_dagster.core.kernels.csv_layout import COUNTED, INTEGER, TEXT
from cytotable_dagster.core.model.names import is_identity
from cytotable_dagster.core.model.presets import TABLE_NUMBER
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.sources.csv.field_types import classes, of_type, without_missing
from cytotable_dagster.core.sources.csv.header import Header
from cytotable_dagster.core.sources.csv.parts import Ragged, read_part
from cytotable_dagster.core.sources.csv.table import CsvTable, TablePart
from cytotable_dagster.core.support.arrays import from_numpy

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class PartSurvey:
    """What looking through a part gave: its rows, its keys, how many values of each column are of which class and what
    marks numbers among them have (see `field_types.Classes`), and the records that were left out."""

    rows: int
    keys: "tuple[pa.Array, ...]"
    counts: "np.ndarray"
    marks: "np.ndarray"
    left_out: int
    ragged: tuple[Ragged, ...]


def kinds_of(header: Header, wanted: Sequence[str]) -> "np.ndarray":
    """What is kept of the columns: those that name things as they are written, and the keys."""
    import numpy as np

    return np.array([TEXT if is_identity(n) else INTEGER if n in wanted else COUNTED for n in header.names])


def survey_part(table: CsvTable, part: TablePart, wanted: Sequence[str], kinds: "np.ndarray") -> PartSurvey:
    """Look through a part; `kinds` as `kinds_of` gives them for its header."""
    import numpy as np
    import pyarrow as pa

    from cytotable_dagster.core.sources.csv.block import read_block, read_texts

    header = table.headers[part.header]
    records = read_part(Path(part.path), part.part, header, table.encoding, part.name)
    block = read_block(records, header, kinds)
    if block is None:
        records = read_part(Path(part.path), part.part, header, table.encoding, part.name, exact=True)
        block = read_texts(records, header, kinds)
    counts = block.counts.copy()
    marks = np.zeros(len(counts), np.int64)
    for name, array in block.texts.items():
        place = header.names.index(name)
        counts[place], marks[place] = classes(header.dialect.numbers_in(array), name)
    keys = []
    for name in wanted:
        if name in block.texts:
            keys.append(header.dialect.numbers_in(block.texts[name]))
        elif name in header.names:
            keys.append(block.whole_numbers(name))
        elif name == TABLE_NUMBER and part.table_number is not None:
            keys.append(from_numpy(np.full(block.rows, part.table_number, np.int64)))
        else:
            keys.append(pa.nulls(block.rows, pa.int64()))
    return PartSurvey(block.rows, tuple(keys), counts, marks, records.left_out, records.ragged)


def joined_key(pieces: "Sequence[pa.Array]", name: str) -> "pa.Array":
    """A key of all parts: int64 where every value is a whole number, else text."""
    import pyarrow as pa

    if not pieces:
        return pa.nulls(0, pa.int64())
    if all(pa.types.is_integer(piece.type) for piece in pieces):
        return pa.concat_arrays(pieces)
    texts = without_missing(pa.concat_arrays([piece.cast(pa.string()) for piece in pieces]))
    numbers = of_type(texts, pa.int64())
    if numbers is not texts:
        return numbers
    numbers, coercion = typed_array(texts.to_pylist(), name, pa.int64())
    return texts if coercion else numbers
