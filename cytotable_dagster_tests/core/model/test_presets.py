"""Presets, and which one a plate's tables show."""

from dataclasses import replace

import pytest

from cytotable_dagster.core.errors import PresetError, SourceFormatError, UnsafeNameError
from cytotable_dagster.core.model.presets import PRESETS, preset_named
from cytotable_dagster.core.sources.sqlite.tables import detect_preset
from cytotable_dagster_tests.core.plates import CYTOMINER, DIALECTS, EXPORT, JUMP, Table, plate


def _names(tables: dict[str, Table]) -> dict[str, list[str]]:
    return {name: list(table.columns) for name, table in tables.items()}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_is_detected(dialect):
    assert detect_preset(_names(plate(dialect)), "P1").name == dialect


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kept", ["Cells", "Cytoplasm", "Nuclei"])
def test_a_plate_with_one_compartment_is_detected(dialect, kept):
    tables = {name: columns for name, columns in _names(plate(dialect)).items() if name.endswith((kept, "Image"))}
    assert detect_preset(tables, "P1").name == dialect


def test_tables_beside_the_presets_do_not_matter():
    tables = _names(plate(EXPORT)) | {"Experiment": ["id"], "Per_Experiment": ["x"], "Cells_View": []}
    assert detect_preset(tables, "P1").name == EXPORT


def test_table_names_are_detected_in_any_case():
    tables = {name.upper(): columns for name, columns in _names(plate(EXPORT)).items()}
    assert detect_preset(tables, "P1").name == EXPORT


def test_without_an_image_table_the_cytominer_dialects_are_read_as_the_newer():
    tables = {name: columns for name, columns in _names(plate(CYTOMINER)).items() if name != "Image"}
    assert detect_preset(tables, "P1").name == JUMP


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"Wells": ["a"]},
        {"Image": ["TableNumber", "Metadata_Well"]},
        {"Cells": ["ImageNumber", "Area"]},
        {"Per_Cells": ["ObjectNumber"]},
    ],
)
def test_an_unknown_dialect_is_refused_with_the_tables_that_are_there(tables):
    with pytest.raises(SourceFormatError) as caught:
        detect_preset(tables, "folder/P1.sqlite")
    assert "folder/P1.sqlite" in str(caught.value)
    assert all(name in str(caught.value) for name in tables or ["none"])


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(PresetError, match="cellprofiler_sqlite_pycytominer") as caught:
        preset_named("cellprofiler")
    assert "'cellprofiler'" in str(caught.value)


def test_every_preset_has_the_name_it_is_kept_under():
    assert all(name == preset.name for name, preset in PRESETS.items())


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_options_replace_only_what_they_name(preset):
    assert preset.with_options() == preset
    changed = preset.with_options(metadata=[], compartments=["cells", "speckles"], identifying_columns=["A"])
    assert changed.metadata == ()
    assert changed.compartments == ("Cells", "Speckles")
    assert changed.identifying_columns == ("A",)
    assert changed.parent == preset.parent


def test_a_metadata_table_that_describes_no_images_is_refused():
    with pytest.raises(PresetError, match="Experiment"):
        PRESETS[EXPORT].with_options(metadata=["experiment"])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_keys_are_table_image_and_object_number_in_this_order(dialect):
    preset = PRESETS[dialect]
    image, cells = preset.keys_of("Image"), preset.keys_of("Cells")
    assert cells[:-1] == image
    assert image[-1] == "ImageNumber"
    assert cells[-1] == ("Cells_Number_Object_Number" if dialect == EXPORT else "ObjectNumber")


@pytest.mark.parametrize("name", ["single_cells", "Single_Cells", "_about", ".cells", "a/b"])
def test_a_compartment_whose_name_is_that_of_no_file_or_of_another_table_is_refused(name: str) -> None:
    with pytest.raises(UnsafeNameError, match=r"compartment .*; rename it"):
        replace(PRESETS[JUMP], compartments=("Cells", name))
