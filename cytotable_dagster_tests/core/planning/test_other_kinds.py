"""Presets on sources of another type than theirs: the tables and names are the preset's, the keys the source's."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import PRESETS, convert, datasets, inspect_plate
from cytotable_dagster.core.errors import OptionError, PresetError, SourceNotFoundError
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_csv
from cytotable_dagster_tests.core.sources.npz import test_npz
from cytotable_dagster_tests.digests import digest

CSV = "cellprofiler_csv"


def _source(folder: Path, kind: str) -> Path:
    if kind != CSV:
        return write_sqlite(folder / "P1.sqlite", plate(kind, sites(3, 2)))
    for well in ("A01", "A02"):
        test_csv.site(folder / "P1" / well, well=well)
    return folder / "P1"


@pytest.mark.parametrize(
    ("kind", "preset"),
    [
        *((CSV, name) for name, preset in PRESETS.items() if preset.datatype == "sqlite"),
        *((kind, CSV) for kind in (JUMP, EXPORT, CYTOMINER)),
    ],
)
def test_a_preset_names_the_columns_of_another_type_of_source(tmp_path, kind, preset):
    source = _source(tmp_path, kind)
    wanted = PRESETS[preset]
    result = convert(source, tmp_path / "out.parquet", preset=preset)
    assert result.preset == f"{preset} (as {kind})"
    assert inspect_plate(source, preset=preset).plan.preset.name == result.preset
    keys = {"TableNumber"} if PRESETS[kind].table_number else set()
    own = convert(source, tmp_path / "own.parquet", identifying_columns=[*keys, *wanted.identifying_columns])
    assert pq.read_table(result).equals(pq.read_table(own))


def test_the_type_may_be_named_beside_the_preset(tmp_path):
    source = _source(tmp_path, CSV)
    write_sqlite(source / "other.sqlite", plate(JUMP))
    assert convert(source, tmp_path / "a", preset=CYTOMINER, source_datatype="csv").preset == f"{CYTOMINER} (as {CSV})"
    # The preset's own type is taken where it is there.
    assert convert(source, tmp_path / "b", preset=JUMP).preset == JUMP
    assert convert(source, tmp_path / "c", preset=CSV).preset == CSV


def test_plates_of_both_types_are_converted_by_one_preset(tmp_path):
    sources = [_source(tmp_path, CSV), write_sqlite(tmp_path / "P2.sqlite", plate(JUMP, sites(3, 2)))]
    result = datasets.add(sources, tmp_path / "set", preset=JUMP, targets=["cells"])
    assert [source.plate for source in result.sources] == ["P1", "P2"]


def test_tables_that_are_one_do_not_fit_presets_of_several(tmp_path):
    test_npz.site(tmp_path / "P1" / "1.npz")
    with pytest.raises(PresetError, match="deepprofiler, and cellprofiler_csv does not fit"):
        convert(tmp_path / "P1", tmp_path / "out", preset=CSV)
    with pytest.raises(SourceNotFoundError, match="holds no NPZ file"):
        convert(_source(tmp_path / "csv", CSV), tmp_path / "out", preset="deepprofiler")


def test_what_only_cytotable_needs_is_taken_with_a_warning(tmp_path):
    source = _source(tmp_path, JUMP)
    convert(source, tmp_path / "expected")
    with pytest.warns(UserWarning, match="page_keys= and infer_common_schema= and image_crop_workers=: not") as told:
        convert(
            source,
            tmp_path / "out",
            page_keys={"cells": "ObjectNumber", "join": "Cytoplasm_Number_Object_Number"},
            infer_common_schema=False,
            image_crop_workers=2,
            include_source_images=False,
        )
    with pytest.raises(OptionError, match="include_source_images= is for dest_backend='iceberg'"):
        convert(source, tmp_path / "images", include_source_images=True)
    assert [warning.filename for warning in told] == [__file__]
    for file in (tmp_path / "out").iterdir():
        assert digest(file) == digest(tmp_path / "expected" / file.name)
