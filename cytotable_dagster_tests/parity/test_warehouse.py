"""Warehouses: CytoTable's functions read ours, ours read CytoTable's, and an object has one identifier in both."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cytotable_dagster import convert, describe_iceberg_warehouse, list_tables, read_table
from cytotable_dagster_tests.core.images.test_image_crops import tables, write_images
from cytotable_dagster_tests.core.plates import EXPORT, plate, sites, write_sqlite
from cytotable_dagster_tests.parity.peer import peer_python, run_peer
from cytotable_dagster_tests.parity.processes import bare_environment

pytestmark = pytest.mark.skipif(
    peer_python() is None, reason="CytoTable's environment is not here: `make parity` makes it"
)

_READ = """
import json, sys, cytotable
table = cytotable.read_table(sys.argv[1], "joined_profiles")
told = cytotable.describe_iceberg_warehouse(sys.argv[1])
print(json.dumps({"tables": cytotable.list_tables(sys.argv[1]), "rows": int(told["rows"][0]),
                  "values": json.loads(table.to_json(orient="records"))}))
"""


def test_each_reads_the_others_warehouse(tmp_path: Path) -> None:
    source = write_sqlite(tmp_path / "P1.sqlite", plate(EXPORT, sites(3, 2)))
    (answer,), _ = run_peer(
        [{"source_path": source, "dest_path": tmp_path / "theirs", "preset": EXPORT, "dest_backend": "iceberg"}]
    )
    assert answer.error is None
    options = {"names": "cytotable", "unmatched": "drop", "add_tablenumber": False}
    convert(source, tmp_path / "ours", dest_backend="iceberg", **options)
    ours, theirs = read_table(tmp_path / "ours"), read_table(tmp_path / "theirs")
    assert list_tables(tmp_path / "theirs") == list_tables(tmp_path / "ours") == ["profiles.joined_profiles"]
    assert describe_iceberg_warehouse(tmp_path / "theirs")["rows"].tolist() == [len(theirs)]
    key = "Metadata_ObjectID"
    both = [name for name in theirs.columns if name in ours.columns]
    assert set(theirs.columns) == set(both)
    assert sorted(theirs[key]) == sorted(ours[key])
    one, two = (table[both].sort_values(key).reset_index(drop=True) for table in (ours, theirs))
    assert one.astype(two.dtypes).equals(two)
    told = _asked(_READ, tmp_path, tmp_path / "ours")
    assert told["tables"] == ["profiles.joined_profiles"]
    assert told["rows"] == len(ours)
    assert told["values"] == json.loads(ours.to_json(orient="records"))


_VIEW = """
import json, sys, cytotable
told = cytotable.read_table(sys.argv[1], "profiles.profile_with_images")
print(json.dumps([cytotable.list_tables(sys.argv[1]), sorted(told["Metadata_ImageCropID"]), sorted(told.columns)]))
"""


def test_the_view_of_profiles_with_crops_is_theirs(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    source = write_sqlite(tmp_path / "P1.sqlite", tables(tmp_path))
    convert(source, tmp_path / "ours", dest_backend="iceberg", image_dir=tmp_path / "images")
    ours = read_table(tmp_path / "ours", "profile_with_images")
    assert len(ours) == 12
    told = [list_tables(tmp_path / "ours"), sorted(ours["Metadata_ImageCropID"]), sorted(ours.columns)]
    assert _asked(_VIEW, tmp_path, tmp_path / "ours") == told


def _asked(program: str, home: Path, root: Path) -> Any:
    """What a program in CytoTable's environment prints."""
    run = subprocess.run(
        [str(peer_python()), "-c", program, str(root)],
        env=bare_environment(home),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(run.stdout.splitlines()[-1])
