"""What convert() and datasets.add() are asked for: the same options, looked through in the same way, once."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import PRESETS, convert, datasets
from cytotable_dagster.core.errors import OptionError, PresetError
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite

DOORS = pytest.mark.parametrize("door", [convert, datasets.add])


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [write_sqlite(tmp_path / f"{name}.sqlite", plate(JUMP, sites(2, 1))) for name in "AB"]


@DOORS
@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"chunk_size": -5}, OptionError, "chunk_size=-5"),
        ({"chunk_size": 0}, OptionError, "chunk_size=0"),
        ({"chunk_size": 2.5}, OptionError, "chunk_size=2.5"),
        ({"chunk_size": "many"}, OptionError, "chunk_size='many'"),
        ({"schema": "nonsense"}, OptionError, "schema 'nonsense' is not known; there are: union, intersection"),
        ({"names": "ours"}, OptionError, "names 'ours'"),
        ({"unmatched": None}, OptionError, "unmatched None"),
        ({"encoding": "utf-99"}, OptionError, "encoding 'utf-99'"),
        ({"encoding": 8}, OptionError, "encoding 8"),
        ({"targets": 5}, OptionError, "targets: 5 is no name"),
        ({"metadata": [None]}, OptionError, "metadata: None is no name"),
        ({"compartments": [b"cells"]}, OptionError, "compartments: b'cells' is no name"),
        ({"identifying_columns": ["ImageNumber", 1]}, OptionError, "identifying_columns: 1 is no name"),
        ({"drop_null": "no"}, OptionError, "drop_null 'no'"),
        ({"image_features": None}, OptionError, "image_features None"),
        ({"strict": "yes"}, OptionError, "strict 'yes'"),
        ({"add_tablenumber": 7}, OptionError, "add_tablenumber 7"),
        ({"join": "no"}, OptionError, "join 'no'"),
        ({"data_type_cast_map": ["float"]}, OptionError, "data_type_cast_map ['float']"),
        ({"data_type_cast_map": {"float": "heavy"}}, OptionError, "'heavy'"),
        ({"progress": True}, OptionError, "progress=True"),
        ({"source_datatype": "tsv"}, OptionError, "source_datatype 'tsv'"),
        ({"preset": "cellprofiler"}, PresetError, "'cellprofiler'"),
        ({"preset": 5}, PresetError, "preset 5"),
        ({"preset": Path("nowhere.toml")}, PresetError, "nowhere.toml"),
        ({"preset": JUMP, "source_datatype": "npz"}, PresetError, "is for sqlite files, not for npz"),
        ({"preset": "in-carta", "source_datatype": "sqlite"}, PresetError, "is for csv files, not for sqlite"),
        ({"progress": dict}, OptionError, "progress=<class 'dict'>"),
        ({"delimiter": 9}, OptionError, "delimiter=9 is no text"),
        ({"decimal": ["."]}, OptionError, "decimal=['.'] is no text"),
        ({"plate_pattern": 5}, OptionError, "plate_pattern=5 is no text"),
        ({"site_pattern": Path("{site}")}, OptionError, "site_pattern=PosixPath('{site}') is no text"),
        ({"dest_cloud": "profile"}, OptionError, "dest_cloud='profile': give a dictionary"),
        ({"dest_cloud": {1: 2}}, OptionError, "dest_cloud={1: 2}: give a dictionary"),
        ({"no_such_option": 1}, TypeError, "no argument no_such_option"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_an_option_that_means_nothing_is_refused_before_anything_is_read(
    two, tmp_path, door, options, error, said, several
):
    there = names_in(tmp_path)
    with pytest.raises(error, match=re.escape(said)) as caught:
        door(two if several else two[0], tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == there


@DOORS
@pytest.mark.parametrize(
    "kind", [list, lambda names: (name for name in names), dict.fromkeys], ids=["list", "generator", "dict"]
)
def test_names_may_be_listed_in_any_way_for_every_plate(two, tmp_path, door, kind):
    given: dict[str, list[str]] = {
        "targets": ["Cells", "nuclei"],
        "metadata": ["image"],
        "compartments": ["Nuclei", "cells"],
        "identifying_columns": ["ImageNumber", "TableNumber", "Cells_AreaShape_Area"],
    }

    def columns(dest: str, listed: Callable[[list[str]], Any]) -> dict[str, list[str]]:
        result = door(
            listed([str(path) for path in two]),
            tmp_path / dest,
            **{name: listed(names) for name, names in given.items()},
        )
        files = {path for facts in result.files.values() for path in (facts.path, *facts.path.rglob("*.parquet"))}
        return {str(f.relative_to(tmp_path / dest)): pq.read_schema(f).names for f in files if f.is_file()}

    found = columns("out", kind)
    assert found == columns("expected", list)
    cells = [names for file, names in found.items() if file.startswith("Cells")]
    assert all("Metadata_Cells_AreaShape_Area" in names for names in cells)
    assert len(cells) == (2 if door is datasets.add else 1)


@DOORS
@pytest.mark.parametrize("source", [None, 5, [5], [None]])
def test_a_source_that_is_no_address_is_refused(tmp_path, door, source):
    with pytest.raises(OptionError, match="source_path: "):
        door(source, tmp_path / "out")


@DOORS
@pytest.mark.parametrize("option", ["targets", "compartments"])
def test_a_text_is_one_name(two, tmp_path, door, option):
    result = door(two[0], tmp_path / "out", **{option: "cells"})
    assert set(result.files) == {"Cells"} | ({"Image"} if option == "compartments" else set())


@DOORS
def test_a_preset_is_given_by_name_by_its_path_or_as_it_is(two, tmp_path, door):
    (tmp_path / "lab.toml").write_text(f'based_on = "{JUMP}"\ncompartments = ["nuclei"]\n')
    for number, preset in enumerate((PRESETS[JUMP], JUMP, str(tmp_path / "lab.toml"), tmp_path / "lab.toml")):
        assert "Nuclei" in door(two, tmp_path / str(number), preset=preset).files


def test_both_doors_take_the_same_options():
    of_files = {"dest_datatype", "dest_backend", "dest_path", "concat", "joins", "sort_output"}
    of_cytotable = {
        *("page_keys", "infer_common_schema", "bbox_column_map", "include_source_images", "image_crop_workers"),
    }
    of_images = {
        *("provenance", "image_dir", "mask_dir", "outline_dir", "segmentation_file_regex", "path_rules", "load_data"),
        "verify",
    }
    of_what_is_about = {"column_map"}
    doors = [inspect.signature(door).parameters for door in (convert, datasets.add)]
    assert set(doors[0]) - of_files - of_images - of_cytotable - of_what_is_about == set(doors[1]) - {"dataset_path"}
    differing = {
        name for name, option in doors[1].items() if name in doors[0] and option.default != doors[0][name].default
    }
    assert differing == {"join"}


@DOORS
@pytest.mark.parametrize("several", [False, True])
def test_the_result_is_of_one_kind_however_many_plates_there_are(two, tmp_path, door, several):
    result = door(two if several else two[0], tmp_path / "out")
    assert type(result).__name__ == "ConversionResult"
    assert [source.plate for source in result.sources] == (["A", "B"] if several else ["A"])
    assert [report.plate for report in result.report.plates] == (["A", "B"] if several else ["A"])
    assert result.preset == JUMP
    assert result["Cells"].name.startswith("Cells")
    if several:
        with pytest.raises(TypeError, match="2 plates"):
            _ = result.source
    else:
        assert result.source.plate == "A"


@DOORS
@pytest.mark.parametrize("place", [5, None, b"x", "", "a\0b", ["results"], object])
def test_a_place_that_is_no_address_is_refused_and_nothing_is_called_so(
    door: Callable[..., Any], place: Any, two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = names_in(tmp_path)
    for argument, addresses in (("dest", (two[0], place)), ("source", (place, tmp_path / "made"))):
        if (argument, place) != ("source", ["results"]):
            with pytest.raises(OptionError, match=rf"{argument}_path|dataset_path") as told:
                door(*addresses)
            assert "is no address" in str(told.value) and "\n" not in str(told.value)
    assert names_in(tmp_path) == before
