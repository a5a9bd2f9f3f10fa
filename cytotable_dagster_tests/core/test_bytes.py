"""The bytes of twenty small conversions of all sources, against a record: what changes them is meant to.

`python -m cytotable_dagster_tests.core.test_bytes` writes the record anew.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import CYTOMINER, DIALECTS, EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_combined as test_object_csv
from cytotable_dagster_tests.core.sources.csv import test_csv, test_in_carta
from cytotable_dagster_tests.core.sources.npz import test_npz

RECORD = Path(__file__).with_name("bytes.json")
SIZES = (3, 2, 0, 4)
FACTS = ("plate", "preset", "compartment", "compartments", "rows", "coercions")


def _sqlite(folder: Path, dialect: str = JUMP, **how: bool) -> Path:
    return write_sqlite(folder / "P1.sqlite", plate(dialect, sites(*SIZES)), **how)


def _csv(folder: Path) -> Path:
    for number, well in enumerate(("A01", "A02", "B01"), start=1):
        test_csv.site(folder / "P1" / well, number, 3, well)
    return folder / "P1"


def _combined(folder: Path) -> Path:
    return test_object_csv.site(folder / "P1")


def _in_carta(folder: Path) -> Path:
    test_in_carta.write(folder / "P1" / "Day 0.csv", '2,"C",3,1,"C - 3",1,1,5.5', '1,"C",3,2,"C - 3",1,1,6')
    return folder / "P1"


def _npz(folder: Path) -> Path:
    for number in (1, 2):
        test_npz.site(folder / "P1" / f"A01_{number}.npz", 3, seed=number)
    return folder / "P1"


def _two(folder: Path) -> Path:
    for name, cells in (("A", (3, 2)), ("B", (1, 4))):
        write_sqlite(folder / "two" / f"{name}.sqlite", plate(JUMP, sites(*cells)))
    return folder / "two"


# By name: how the plate is written, where results go, and the options.
CASES: dict[str, tuple[Callable[[Path], Path], str, dict]] = {
    **{f"{name} tables": (lambda folder, d=name: _sqlite(folder, d), "out", {}) for name in DIALECTS},
    **{f"{name} joined": (lambda folder, d=name: _sqlite(folder, d), "out.parquet", {}) for name in DIALECTS},
    "names of CytoTable": (lambda folder: _sqlite(folder, EXPORT), "out.parquet", {"names": "cytotable"}),
    "views": (lambda folder: _sqlite(folder, as_views=True), "out", {}),
    "chunks": (_sqlite, "out", {"chunk_size": 3}),
    "chunks joined": (_sqlite, "out.parquet", {"chunk_size": 3}),
    "folders of chunks": (_sqlite, "out", {"chunk_size": 3, "concat": False}),
    "cast": (lambda folder: _sqlite(folder, CYTOMINER), "out", {"data_type_cast_map": {"float": "float32"}}),
    "some tables": (_sqlite, "out", {"targets": ["Cells", "Nuclei"]}),
    "csv": (_csv, "out", {}),
    "csv joined": (_csv, "out.parquet", {}),
    "in carta": (_in_carta, "out", {"preset": "in-carta", "source_datatype": "csv"}),
    "npz": (_npz, "out", {}),
    "two plates": (_two, "out", {}),
    "two plates joined": (_two, "out.parquet", {}),
    "combined csv": (_combined, "out", {}),
}


def _digests(folder: Path) -> dict[str, dict[str, str]]:
    found = {}
    for number, (name, (write, out, options)) in enumerate(CASES.items()):
        place = folder / str(number)
        place.mkdir()
        result = convert(write(place), place / out, **options)
        files = sorted(path for output in result.outputs for path in _files(output.path))
        found[name] = {str(path.relative_to(place)): _digest(path) for path in files}
    return found


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


def _digest(path: Path) -> str:
    """Of a file's pages, its schema and those of its facts that depend neither on a version nor on a folder."""
    data = path.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little")
    facts = {key.decode(): value.decode() for key, value in (pq.read_metadata(path).metadata or {}).items()}
    told = json.dumps({key: facts.get(f"cytotable_dagster:{key}") for key in FACTS})
    digest = hashlib.sha256(data[: -8 - footer])
    digest.update(f"{pq.read_schema(path).remove_metadata()}\n{told}".encode())
    return digest.hexdigest()[:32]


def test_twenty_conversions_have_the_bytes_on_record(tmp_path):
    assert _digests(tmp_path) == json.loads(RECORD.read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        RECORD.write_text(json.dumps(_digests(Path(os.path.realpath(name))), indent=1) + "\n")
    sys.exit()
