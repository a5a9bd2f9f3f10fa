"""Column names and their order: DESIGN, "Column names", row by row."""

import pytest

from cytotable_dagster.core.model.names import is_identity, joined_order, partner_name, result_name, selects
from cytotable_dagster.core.model.presets import IMAGE_COLUMNS, PRESETS
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP


@pytest.mark.parametrize(
    ("column", "compartment", "identifying", "name"),
    [
        ("AreaShape_Area", "Cells", (), "Cells_AreaShape_Area"),
        ("Metadata_Well", "Image", (), "Image_Metadata_Well"),
        ("TableNumber", "Cells", (), "Cells_TableNumber"),
        ("Cells_AreaShape_Area", "Cells", (), "Cells_AreaShape_Area"),
        ("ImageQuality_Focus", "Image", (), "ImageQuality_Focus"),
        ("Cells_Number_Object_Number", "Cells", ("Cells_Number_Object_Number",), "Metadata_Cells_Number_Object_Number"),
        ("ImageNumber", "Image", ("ImageNumber",), "Metadata_ImageNumber"),
        ("Metadata_Well", "Image", ("Metadata_Well",), "Metadata_Well"),
        ("Metadata_Well", "Cells", ("Metadata_Well",), "Metadata_Well"),
        ("ImageNumber", "Cells", ("ImageNumber",), "Metadata_ImageNumber"),
        ("ObjectNumber", "Cells", ("ObjectNumber",), "Metadata_ObjectNumber"),
        ("TableNumber", "Nuclei", ("TableNumber",), "Metadata_TableNumber"),
        ("Cells_ObjectNumber", "Cytoplasm", ("Cells_ObjectNumber",), "Metadata_Cells_ObjectNumber"),
        ("Parent_Cells", "Cytoplasm", ("Parent_Cells",), "Metadata_Cytoplasm_Parent_Cells"),
        ("Cytoplasm_Parent_Cells", "Cytoplasm", ("Cytoplasm_Parent_Cells",), "Metadata_Cytoplasm_Parent_Cells"),
    ],
)
def test_a_source_column_gets_the_name_of_the_table_in_the_design(column, compartment, identifying, name):
    assert result_name(column, compartment, identifying) == name


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        (JUMP, ["Metadata_TableNumber", "Metadata_ImageNumber", "Metadata_ObjectNumber", "Cells_X", "Cells_Parent"]),
        (EXPORT, ["Cells_TableNumber", "Metadata_ImageNumber", "Cells_ObjectNumber", "Cells_X", "Cells_Parent"]),
        (CYTOMINER, ["Metadata_TableNumber", "Metadata_ImageNumber", "Cells_ObjectNumber", "Cells_X", "Cells_Parent"]),
    ],
)
def test_the_keys_of_a_compartment_are_named_as_its_preset_says(preset, names):
    columns = ("TableNumber", "ImageNumber", "ObjectNumber", "X", "Cells_Parent")
    assert [result_name(c, "Cells", PRESETS[preset].identifying_columns) for c in columns] == names


def test_joined_columns_are_keys_then_metadata_then_image_cytoplasm_cells_nuclei_then_the_rest():
    ordered = [
        "Metadata_TableNumber",
        "Metadata_ImageNumber",
        "Metadata_ObjectNumber",
        "Image_Metadata_Plate",
        "Metadata_Cells_ObjectNumber",
        "Metadata_Well",
        "Image_FileName_DNA",
        "Cytoplasm_A",
        "Cytoplasm_B",
        "Cells_A",
        "Nuclei_A",
        "Organoid_A",
    ]
    assert joined_order(reversed(ordered)) == ordered
    assert joined_order(ordered[6:] + ordered[:6]) == ordered


@pytest.mark.parametrize(
    ("name", "taken", "renamed"),
    [
        ("Metadata_ObjectNumber", ("Metadata_ObjectNumber",), "Metadata_Cells_ObjectNumber"),
        ("Metadata_ObjectNumber", (), "Metadata_ObjectNumber"),
        ("Cells_Area", ("Cells_Area",), "Cells_Area"),
    ],
)
def test_a_partner_column_gives_way_to_the_base(name, taken, renamed):
    assert partner_name(name, "Cells", taken) == renamed


@pytest.mark.parametrize(
    ("name", "selected"),
    [
        ("Metadata_Well", True),
        ("Image_Metadata_Site", True),
        ("Image_FileName_OrigDNA", True),
        ("Image_URL_OrigDNA", False),
        ("Image_Metadata_Wellness", False),
        ("Image_Count_Cells", False),
        ("Cells_FileName_X", False),
    ],
)
def test_image_columns_of_the_joined_table_are_matched_by_their_whole_name(name, selected):
    assert selects(IMAGE_COLUMNS, name) is selected


@pytest.mark.parametrize(
    ("column", "identity"),
    [
        ("Metadata_Well", True),
        ("Image_Metadata_Site", True),
        ("FileName_OrigDNA", True),
        ("Image_MD5Digest_OrigDNA", True),
        ("Image_URL", True),
        ("Cells_AreaShape_Area", False),
        ("Image_CURL_X", False),
    ],
)
def test_columns_that_name_things_are_told_from_measurements(column, identity):
    assert is_identity(column) is identity
