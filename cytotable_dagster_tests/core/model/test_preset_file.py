"""Presets of the user's own, in TOML files."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import PresetError
from cytotable_dagster.core.model.preset_file import read_preset
from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.planning.plan import fingerprint
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate
from cytotable_dagster_tests.core.sources.csv.test_csv import site

DOCS = Path(__file__).parents[3] / "docs" / "presets.md"
BASED = f'based_on = "{JUMP}"\n'


def example() -> str:
    """The TOML that the documentation shows."""
    found = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def lab(tmp_path):
    """Write the text of a preset to my_lab.toml."""

    def write(text: str) -> Path:
        path = tmp_path / "lab" / "my_lab.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def with_cellpose() -> dict:
    """A plate whose nuclei are in a table of another name, and columns of that name."""
    tables = plate(JUMP)
    nuclei = tables.pop("Nuclei")

    def renamed(name: str) -> str:
        return re.sub(r"^Nuclei_", "Nuclei_Cellpose3_", name)

    nuclei.columns = {renamed(name): declared for name, declared in nuclei.columns.items()}
    nuclei.rows = [{renamed(name): value for name, value in row.items()} for row in nuclei.rows]
    cytoplasm = tables["Cytoplasm"]
    cytoplasm.columns["Cytoplasm_Parent_Nuclei_Cellpose3"] = cytoplasm.columns.pop("Cytoplasm_Parent_Nuclei")
    for row in cytoplasm.rows:
        row["Cytoplasm_Parent_Nuclei_Cellpose3"] = row.pop("Cytoplasm_Parent_Nuclei")
    return {**tables, "Nuclei_Cellpose3": nuclei}


def test_the_documented_example_joins_a_table_that_no_preset_knows(make_plate, lab, tmp_path):
    plain = convert(make_plate(), tmp_path / "plain.parquet")
    own = make_plate(with_cellpose(), name="other/P1.sqlite")
    result = convert(own, tmp_path / "own.parquet", preset=str(lab(example())))
    assert result.preset == "my_lab"
    assert pq.read_table(result).to_pylist() == [
        {name.replace("Nuclei", "Nuclei_Cellpose3"): value for name, value in row.items()}
        for row in pq.read_table(plain).to_pylist()
    ]


def test_without_a_base_the_file_says_all(make_plate, lab, tmp_path):
    preset = lab(
        'name = "ours"\ntable = "{compartment}"\nobject_number = "ObjectNumber"\ntable_number = "TableNumber"\n'
        'compartments = ["Nuclei"]\nmetadata = []\nidentifying_columns = ["ImageNumber", "TableNumber"]\n'
    )
    result = convert(make_plate(), tmp_path / "out", preset=str(preset))
    assert (result.preset, names_in(tmp_path / "out")) == ("ours", ["Nuclei.parquet"])
    assert pq.read_schema(tmp_path / "out" / "Nuclei.parquet").names == [
        "Metadata_ObjectNumber",
        "Metadata_TableNumber",
        "Metadata_ImageNumber",
        "Metadata_Nuclei_ObjectNumber",
        "Nuclei_AreaShape_Area",
        "Nuclei_Intensity_Mean",
    ]


def test_a_folder_of_csv_files_is_read_by_the_file(lab, tmp_path):
    folder = site(tmp_path / "P1")
    (folder / "Cells.csv").rename(folder / "Speckles.csv")
    preset = lab('based_on = "cellprofiler_csv"\ncompartments = ["Speckles", "Nuclei"]\nbase_order = ["Speckles"]\n')
    joined = pq.read_table(convert(folder, tmp_path / "out.parquet", preset=str(preset))).to_pylist()
    assert [(row["Speckles_AreaShape_Area"], row["Nuclei_AreaShape_Area"]) for row in joined] == [
        (10, 10),
        (20, 20),
        (30, 30),
    ]


def test_what_is_not_set_is_that_of_the_base(lab):
    assert read_preset(lab(f'{BASED}name = "{JUMP}"')) == PRESETS[JUMP]
    assert read_preset(lab(BASED)).name == "my_lab"


def test_a_changed_file_makes_other_results(lab, tmp_path):
    source = Source(
        plate="P1", uri="P1.sqlite", path=tmp_path / "P1.sqlite", size=1, etag=None, digest=None, fingerprint="f"
    )
    kept = [
        fingerprint(source, read_preset(lab(BASED + more)), Options())
        for more in ("", "metadata = []", "image_columns = []")
    ]
    assert len(set(kept)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("table = ", "not TOML"),
        (
            "compartment = ['Cells']",
            "no setting is called 'compartment'; did you mean compartments? there are: based_on, name, table",
        ),
        ("image_marker = 'Image_'", "no setting is called 'image_marker'"),
        ("name = 'ours'", "table is not set"),
        (
            "based_on = 'cellprofiler'",
            "based_on: no preset is named 'cellprofiler'; did you mean cellprofiler_csv? there are: cellprofiler_sqlite",
        ),
        ("based_on = 3", "based_on = 3"),
        (BASED + "compartments = 'Cells'", "compartments = 'Cells'"),
        (BASED + "compartments = ['Cells', 3]", "compartments.1 = 3"),
        (BASED + "compartments = []", "compartments names no table"),
        (BASED + "compartments = ['Cells', 'Cells']", "twice"),
        (BASED + "metadata = ['Experiment']", "metadata: Experiment"),
        (BASED + "table_number = 1", "table_number = 1"),
        (BASED + "table = 'Cells'", "table = 'Cells' is the same for all tables"),
        (BASED + "table = 'Per_{Compartment}'", "only {compartment} can be in braces"),
        (BASED + "table = 'Per_{'", "only {compartment} can be in braces"),
        (BASED + "parent = '{compartment}_Parent_{0}'", "only {compartment} and {partner} can be in braces"),
        (BASED + "image_columns = ['Image_(']", "'Image_(' is no regular expression"),
        (BASED + "datatype = 'csv'\nobject_table = 'A'", "object_table is a table of a SQLite file"),
        (BASED + "datatype = 'excel'", "datatype = 'excel'; there are: sqlite, csv"),
    ],
)
def test_what_means_nothing_is_refused_with_the_file_and_the_setting(make_plate, lab, tmp_path, text, told):
    path = lab(text)
    with pytest.raises(PresetError, match=re.escape(told)) as caught:
        convert(make_plate(), tmp_path / "out", preset=str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(PresetError, match=r"my\.toml: no preset can be read there"):
        read_preset(tmp_path / "my.toml")
    (tmp_path / "my.toml").write_bytes(b"table = '\xff'")
    with pytest.raises(PresetError, match=r"my\.toml: not TOML"):
        read_preset(tmp_path / "my.toml")


@pytest.mark.parametrize("table", ["cellpose3", "CELLPOSE3", "Cellpose3"])
def test_compartments_may_be_named_in_any_case(make_plate, lab, tmp_path, table):
    told = example().replace('"Cells"', '"cells"').replace('"Cytoplasm"', '"CYTOPLASM"')
    usual = make_plate(with_cellpose(), name="usual/P1.sqlite")
    expected = pq.read_table(convert(usual, tmp_path / "usual.parquet", preset=str(lab(example()))))
    preset = str(lab(told.replace("Nuclei_Cellpose3", f"nuclei_{table}")))
    assert pq.read_table(convert(usual, tmp_path / "any.parquet", preset=preset)).equals(expected)
    named = [output.path.name for output in convert(usual, tmp_path / "out", preset=preset).outputs]
    assert named == ["Image.parquet", "Cells.parquet", "Cytoplasm.parquet", "Nuclei_Cellpose3.parquet"]


def test_a_table_that_the_user_names_is_a_compartment_without_a_file(make_plate, lab, tmp_path):
    source = make_plate(with_cellpose())
    expected = pq.read_table(convert(source, tmp_path / "file.parquet", preset=str(lab(example()))))
    named = convert(source, tmp_path / "named.parquet", compartments=["cells", "cytoplasm", "nuclei_cellpose3"])
    assert pq.read_table(named).equals(expected)
