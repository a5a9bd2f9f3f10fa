"""Mutated plates of NPZ files, with NumPy as the oracle (`allow_pickle=False` for numbers, the few names that metadata
may ask for in its pickle): cells, features, places, what is known of the sites."""

import io
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attacks.npz_files import plate, spoil
from attacks.outcome import DIFFERENT, RIGHT, Outcome, refused
from cytotable_dagster import ConversionResult, CytoTableError, convert

# The keys and the source, the two coordinates: what columns stand before and behind the metadata.
_BEFORE, _PLACES = 3, 2
_NAMED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


def attack(seed: str, folder: Path) -> Outcome:
    """A plate with something done to one file is converted as NumPy reads it, or refused in one line."""
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    root = plate(chance, folder)
    done = spoil(chance, root)
    try:
        result = convert(root, folder / "out", chunk_size=chance.choice([None, 2]))
    except CytoTableError as error:
        outcome = refused(error)
        return Outcome(outcome.kind, f"{done}: {outcome.detail}")
    assert isinstance(result, ConversionResult)
    wrong = _difference(root, pq.read_table(folder / "out" / "Cells.parquet"), result)
    return Outcome(DIFFERENT, f"{done}: {wrong}") if wrong else Outcome(RIGHT, done)


def _difference(root: Path, found: pa.Table, result: ConversionResult) -> str:
    sites = []
    for path in sorted(root.iterdir()):
        try:
            sites.append(_read(path))
        except Exception as error:
            return f"converted what NumPy cannot read: {type(error).__name__}: {error}".replace("\n", " / ")
    names = list(dict.fromkeys(name for _, _, known in sites for name in known))
    width = max((features.shape[1] for features, _, _ in sites if len(features)), default=0)
    if found.num_columns != _BEFORE + len(names) + _PLACES + width:
        return f"{found.num_columns} columns, where there are {names} and {width} features"
    columns = [column.to_pylist() for column in found.columns]
    if [len(column) for column in columns[:1]] != [sum(len(features) for features, _, _ in sites)]:
        return f"{found.num_rows} rows, NumPy has {sum(len(features) for features, _, _ in sites)}"
    numbers = [[_or_none(value) for features, places, _ in sites for value in measured(features, places, column)]
               for column in range(_PLACES + width)]  # fmt: skip
    if repr(numbers) != repr(columns[_BEFORE + len(names) :]):
        return "numbers are not NumPy's"
    lost = 0
    for at, name in enumerate(names, start=_BEFORE):
        # One value for all cells of a site.
        typed = [(_typed(known.get(name), found.schema.types[at]), len(features)) for features, _, known in sites]
        lost += sum(count for (_, is_lost), count in typed if is_lost)
        values = [value for (value, _), count in typed for _ in range(count)]
        if repr(values) != repr(columns[at]):
            return f"{name!r} is {columns[at][:3]}, NumPy has {values[:3]}"
    told = sum(coercion.count for part in result.report.compartments for coercion in part.coercions)
    return "" if told == lost else f"{told} coercions told, where there are {lost}"


def measured(features: np.ndarray, places: np.ndarray, column: int) -> list[float]:
    if not len(features):
        return []
    return (places[:, column] if column < _PLACES else features[:, column - _PLACES]).tolist()


def _or_none(value: float) -> float | None:
    return None if value != value else value


def _typed(value: Any, type: pa.DataType) -> tuple[Any, bool]:
    """A value of the metadata in its column's type, and whether it does not fit."""
    if value is None or value != value:
        return None, False
    if type == pa.string():
        return str(value), False
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None, value.strip().lower() not in ("", "null")
    if type == pa.float64():
        return float(value), isinstance(value, int) and int(float(value)) != value
    fits = value == int(value) and -(2**63) <= value < 2**63 if abs(value) != float("inf") else False
    return (int(value), False) if fits else (None, True)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        features, places = archive["features"].astype(np.float64), archive["locations"].astype(np.float64)
        member = "metadata.npy"
        with archive.zip.open(member) as file:
            data = file.read()
    head = io.BytesIO(data)
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    read(head)
    found = _Names(io.BytesIO(data[head.tell() :])).load()
    known = found.reshape(-1)[0] if isinstance(found, np.ndarray) else found
    return features, places, {name: _plain(value) for name, value in known.items()}


class _Names(pickle.Unpickler):
    """Names what an array of objects needs, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMED or (name in ("_reconstruct", "scalar") and module.startswith("numpy.")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value
