"""The synthetic plate: what its tables say is what its images show."""

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.sources.sqlite.tables import detect_preset
from cytotable_dagster.demo.layout import sites_of
from cytotable_dagster.demo.painting import CHANNELS, Look, paint_site
from cytotable_dagster.demo.plate import DemoPlate, write_plate
from cytotable_dagster.demo.segmenting import Segmentation, segment
from cytotable_dagster_tests.digests import digest

pytest.importorskip("scipy")
tifffile = pytest.importorskip("tifffile")

COMPARTMENTS = ("Cells", "Cytoplasm", "Nuclei")


@pytest.fixture
def tables(plate: DemoPlate) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(plate.sqlite)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def images_of(plate: DemoPlate, row: sqlite3.Row) -> dict[str, np.ndarray]:
    """The images that a row of the image table names, as intensities."""
    return {c: tifffile.imread(plate.images / row[f"FileName_Orig{c}"]) / 65535 for c in CHANNELS}


def segmented(plate: DemoPlate, row: sqlite3.Row) -> Segmentation:
    return segment(images_of(plate, row))


def test_same_seed_same_bytes(plate: DemoPlate, tmp_path: Path) -> None:
    again = write_plate(tmp_path, wells=4, sites_per_well=2, image_size=128, seed=3)
    files = [path.relative_to(plate.folder) for path in plate.folder.rglob("*") if path.is_file()]
    assert len(files) == plate.image_files + 2
    for file in files:
        assert digest(again.folder / file) == digest(plate.folder / file), file


def test_other_seed_other_cells(plate: DemoPlate, tmp_path: Path) -> None:
    other = write_plate(tmp_path, wells=4, sites_per_well=2, image_size=128, seed=4)
    assert other.counts != plate.counts


def test_counts_are_the_rows_of_the_tables(plate: DemoPlate, tables: sqlite3.Connection) -> None:
    rows = {name: tables.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in plate.counts}
    assert rows == plate.counts
    assert plate.counts["Image"] == 8
    assert plate.counts["Nuclei"] > plate.counts["Cells"] > 10


def test_tables_hold_the_objects_that_are_in_the_image_files(plate: DemoPlate, tables: sqlite3.Connection) -> None:
    for row in tables.execute("SELECT * FROM Image"):
        found = segmented(plate, row)
        for compartment in COMPARTMENTS:
            labels = found.labels_of(compartment)
            sizes = tables.execute(
                f"SELECT ObjectNumber, {compartment}_AreaShape_Area FROM {compartment} "
                "WHERE TableNumber = ? AND ImageNumber = ? ORDER BY ObjectNumber",
                (row["TableNumber"], row["ImageNumber"]),
            ).fetchall()
            areas = np.bincount(labels.ravel())[1:]
            assert [tuple(pair) for pair in sizes] == list(enumerate(areas.tolist(), start=1))
            assert row[f"Count_{compartment}"] == len(areas)


def test_one_site_has_no_cells(tables: sqlite3.Connection) -> None:
    assert tables.execute("SELECT count(*) FROM Image WHERE Count_Nuclei = 0").fetchone()[0] == 1


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_every_object_has_one_image(compartment: str, tables: sqlite3.Connection) -> None:
    query = f"SELECT count(*) FROM {compartment} LEFT JOIN Image USING (TableNumber, ImageNumber) WHERE {{}}"
    assert tables.execute(query.format("Image.Metadata_Well IS NULL")).fetchone()[0] == 0
    counts = [tables.execute(f"SELECT count(*) FROM {compartment}").fetchone()[0]]
    assert counts == [tables.execute(query.format("1")).fetchone()[0]]


@pytest.mark.parametrize(
    ("child", "column", "parent"),
    [
        ("Cells", "Cells_Parent_Nuclei", "Nuclei"),
        ("Cytoplasm", "Cytoplasm_Parent_Cells", "Cells"),
        ("Cytoplasm", "Cytoplasm_Parent_Nuclei", "Nuclei"),
    ],
)
def test_parents_are_there(child: str, column: str, parent: str, tables: sqlite3.Connection) -> None:
    orphans = tables.execute(
        f"SELECT count(*) FROM {child} c LEFT JOIN {parent} p ON p.TableNumber = c.TableNumber "
        f"AND p.ImageNumber = c.ImageNumber AND p.ObjectNumber = c.{column} WHERE p.ObjectNumber IS NULL"
    ).fetchone()[0]
    assert orphans == 0


def test_cell_is_nucleus_and_cytoplasm(tables: sqlite3.Connection) -> None:
    rows = tables.execute(
        "SELECT Cells_AreaShape_Area AS cell, Cytoplasm_AreaShape_Area AS cytoplasm, "
        "Nuclei_AreaShape_Area AS nucleus, Cells_Intensity_IntegratedIntensity_ER AS light, "
        "Cytoplasm_Intensity_IntegratedIntensity_ER + Nuclei_Intensity_IntegratedIntensity_ER AS parts "
        "FROM Cytoplasm y "
        "JOIN Cells c ON c.TableNumber = y.TableNumber AND c.ObjectNumber = Cytoplasm_Parent_Cells "
        "JOIN Nuclei n ON n.TableNumber = y.TableNumber AND n.ObjectNumber = Cytoplasm_Parent_Nuclei"
    ).fetchall()
    assert len(rows) > 10
    for row in rows:
        assert row["cell"] == row["cytoplasm"] + row["nucleus"]
        assert row["light"] == pytest.approx(row["parts"])


def test_some_object_numbers_differ_from_their_parents(tables: sqlite3.Connection) -> None:
    query = "SELECT count(*) FROM Cells WHERE ObjectNumber <> Cells_Parent_Nuclei"
    assert tables.execute(query).fetchone()[0] > 0


def test_intensities_are_those_of_the_pixels(plate: DemoPlate, tables: sqlite3.Connection) -> None:
    row = tables.execute("SELECT * FROM Image ORDER BY Count_Cells DESC").fetchone()
    labels, images = segmented(plate, row).cells, images_of(plate, row)
    for cell in tables.execute("SELECT * FROM Cells WHERE TableNumber = ?", (row["TableNumber"],)):
        pixels = images["AGP"][labels == cell["ObjectNumber"]]
        expected = {
            "Max": pixels.max(),
            "Mean": pixels.mean(),
            "Median": np.median(pixels),
            "Min": pixels.min(),
            "Std": pixels.std(),
            "UpperQuartile": np.quantile(pixels, 0.75),
            "MAD": np.median(np.abs(pixels - np.median(pixels))),
        }
        for name, value in expected.items():
            assert cell[f"Cells_Intensity_{name}Intensity_AGP"] == pytest.approx(value), name
        other = images["DNA"][labels == cell["ObjectNumber"]]
        correlation = np.corrcoef(pixels, other)[0, 1]
        assert cell["Cells_Correlation_Correlation_AGP_DNA"] == pytest.approx(correlation)


def test_files_have_the_digests_of_the_image_table(plate: DemoPlate, tables: sqlite3.Connection) -> None:
    files = set()
    for row in tables.execute("SELECT * FROM Image"):
        for channel in CHANNELS:
            path = plate.images / row[f"FileName_Orig{channel}"]
            assert md5(path.read_bytes(), usedforsecurity=False).hexdigest() == row[f"MD5Digest_Orig{channel}"]
            place = f"{row[f'PathName_Orig{channel}']}/{row[f'FileName_Orig{channel}']}"
            assert row[f"URL_Orig{channel}"] == f"file:{place}"
            assert place.endswith(path.relative_to(plate.folder).as_posix())
            files.add(path)
    assert files == set(plate.images.iterdir())
    assert len(files) == plate.image_files


def test_images_are_16_bit_and_show_something(plate: DemoPlate) -> None:
    for path in plate.images.iterdir():
        image = tifffile.imread(path)
        assert image.dtype == np.uint16
        assert image.shape == (128, 128)
    brightest = [int(tifffile.imread(path).max()) for path in plate.images.iterdir()]
    assert max(brightest) > 4000


def test_blank_channel_has_no_correlation(tables: sqlite3.Connection) -> None:
    column = "Cells_Correlation_Correlation_AGP_DNA"
    blank = tables.execute(f"SELECT DISTINCT TableNumber FROM Cells WHERE {column} IS NULL").fetchall()
    assert len(blank) == 1
    rest = f"SELECT count(*) FROM Cells WHERE TableNumber = ? AND {column} IS NOT NULL"
    assert tables.execute(rest, tuple(blank[0])).fetchone()[0] == 0


def test_table_numbers_exceed_31_bits(plate: DemoPlate, tables: sqlite3.Connection) -> None:
    numbers = [row[0] for row in tables.execute("SELECT TableNumber FROM Image")]
    assert len(set(numbers)) == plate.counts["Image"]
    assert max(numbers) > 2**31
    assert max(numbers) < 2**32


def test_types_are_declared_as_pandas_does(tables: sqlite3.Connection) -> None:
    types = {row["name"]: row["type"] for row in tables.execute("PRAGMA table_info(Nuclei)")}
    assert list(types)[:3] == ["TableNumber", "ImageNumber", "ObjectNumber"]
    assert types["Nuclei_AreaShape_Area"] == "BIGINT"
    assert types["Nuclei_Intensity_MeanIntensity_DNA"] == "FLOAT"
    names = {row["name"]: row["type"] for row in tables.execute("PRAGMA table_info(Image)")}
    assert names["Metadata_Well"] == names["MD5Digest_OrigDNA"] == "TEXT"


def test_dialect_is_found_to_be_jump(tables: sqlite3.Connection) -> None:
    columns = {
        table: [row["name"] for row in tables.execute(f"PRAGMA table_info({table})")]
        for table in ("Image", *COMPARTMENTS)
    }
    assert detect_preset(columns, "plate").name == "cellprofiler_sqlite_cpg0016_jump"


def test_indexes_are_those_of_the_gallery(tables: sqlite3.Connection) -> None:
    names = {row["name"] for row in tables.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    objects = {f"table_image_object_{name.lower()}_idx" for name in COMPARTMENTS}
    assert names == {"table_image_idx", "plate_well_image_idx", *objects}


def test_load_data_names_the_files(plate: DemoPlate) -> None:
    with plate.load_data.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["Metadata_Well"] for row in rows] == ["A01", "A01", "E01", "E01", "I01", "I01", "M01", "M01"]
    for row in rows:
        key = row["PathName_OrigER"].removeprefix("s3://cellpainting-demo/") + row["FileName_OrigER"]
        assert (plate.folder / key).is_file()


def test_odd_plate_has_its_quirks(odd_plate: DemoPlate) -> None:
    with closing(sqlite3.connect(odd_plate.sqlite)) as tables:
        texts = tables.execute(
            "SELECT Cells_Correlation_Correlation_AGP_DNA FROM Cells "
            "WHERE typeof(Cells_Correlation_Correlation_AGP_DNA) = 'text'"
        ).fetchall()
        assert texts == [("nan",), ("nan",)]
        assert tables.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone() == (0,)
        numbers = tables.execute("SELECT ImageNumber FROM Image ORDER BY rowid").fetchall()
        assert [number for (number,) in numbers] == [1, 2] * 4


def test_whole_plate_has_its_384_wells() -> None:
    wells = [site.well for site in sites_of(384, 1)]
    assert (wells[0], wells[1], wells[24], wells[-1]) == ("A01", "A02", "B01", "P24")
    assert len(set(wells)) == 384


@pytest.mark.parametrize("option", [{"wells": 0}, {"wells": 385}, {"sites_per_well": 0}, {"image_size": 8}])
def test_impossible_plate_is_refused(option: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=next(iter(option))):
        write_plate(tmp_path, **option)
    assert list(tmp_path.iterdir()) == []


def test_segmentation_finds_about_as_many_nuclei_as_were_drawn() -> None:
    drawn, found = 0, 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        images = {name: image / 65535 for name, image in paint_site(rng, 256, Look(cells=20)).items()}
        drawn += 20
        found += int(segment(images).nuclei.max())
    assert abs(found - drawn) <= 0.1 * drawn


def test_empty_field_has_no_objects() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        images = {name: image / 65535 for name, image in paint_site(rng, 128, Look(cells=0)).items()}
        found = segment(images)
        assert found.nuclei.max() == found.cells.max() == found.cytoplasm.max() == 0
