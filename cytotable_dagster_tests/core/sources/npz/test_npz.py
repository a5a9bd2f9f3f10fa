"""Plates of NPZ files as DeepProfiler writes them, one for each site."""

import io
import math
import pickle
import random
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import CytoTableError, convert
from cytotable_dagster.core import errors
from cytotable_dagster.core.execution.runner import thread_config
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.sources.npz.file import read_cells, read_site

MODEL = "efficientnet"


def site(path: Path, cells: int = 3, features: int = 4, *, seed: int = 0, model: str = MODEL, **metadata) -> Path:
    """A file as DeepProfiler writes it, by numpy itself."""
    chance = np.random.default_rng(seed)
    known = {"Metadata_Plate": "P1", "Metadata_Well": "A01", "Metadata_Site": 1, **metadata, "Metadata_Model": model}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        features=chance.normal(size=(cells, features)).astype(np.float32),
        metadata=np.array(known, dtype=object),
        locations=np.asfortranarray(chance.uniform(0, 1080, (cells, 2))),
    )
    return path


def read(folder: Path):
    return pq.read_table(folder / "Cells.parquet")


def replaced(path: Path, **members: bytes | None) -> Path:
    """The file with other members, or without them."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept |= {f"{name}.npy": content for name, content in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def pickled(content: bytes) -> bytes:
    """An array of one object with any pickle in the place of its own."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": ()})
    return out.getvalue() + content


def test_values_are_those_of_the_arrays(tmp_path):
    files = [site(tmp_path / "P1" / well / "1.npz", 2 + n, seed=n, Metadata_Well=well) for n, well in enumerate("AB")]
    result = convert(tmp_path / "P1", tmp_path / "out", preset="deepprofiler", source_datatype="npz")
    assert (result.source.plate, result.preset) == ("P1", "deepprofiler")
    table = read(tmp_path / "out")
    with np.load(files[0]) as first, np.load(files[1]) as second:
        expected = np.concatenate([first["features"], second["features"]])
        places = np.concatenate([first["locations"], second["locations"]])
    for number in range(4):
        assert table[f"Cells_{MODEL}_{number + 1}"].to_pylist() == expected[:, number].astype(float).tolist()
    assert table["Cells_Location_Center_X"].to_pylist() == places[:, 0].tolist()
    assert table["Cells_Location_Center_Y"].to_pylist() == places[:, 1].tolist()
    assert table["Metadata_Well"].to_pylist() == ["A"] * 2 + ["B"] * 3
    assert table["Metadata_Site"].to_pylist() == [1] * 5
    assert table["Metadata_NPZSource"].to_pylist() == ["1.npz"] * 5
    keys = zip(table["Metadata_ImageNumber"].to_pylist(), table["Metadata_ObjectNumber"].to_pylist(), strict=True)
    assert list(keys) == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]


def test_a_real_file_is_read_as_numpy_reads_it(tmp_path, real_data):
    folder = real_data / "deepprofiler"
    convert(folder, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    with np.load(folder / "SQ00014812" / "A01_5.npz", allow_pickle=True) as file:
        features, locations, metadata = file["features"], file["locations"], file["metadata"].item()
    assert table.num_rows == len(features) == 158
    names = [name for name in table.column_names if name.startswith("Cells_efficientnet_")]
    assert names == [f"Cells_efficientnet_{number}" for number in range(1, 6401)]
    assert np.array_equal(np.stack([table[name].to_numpy() for name in names], axis=1), features)
    assert np.array_equal(table["Cells_Location_Center_X"].to_numpy(), locations[:, 0])
    for name, value in metadata.items():
        named = name if name.startswith("Metadata_") else f"Metadata_{name}"
        assert table[named].unique().to_pylist() == [value]


def test_one_file_executors_chunks_and_casts_give_the_same(tmp_path):
    for number in range(5):
        site(tmp_path / "P1" / f"{number}.npz", cells=number, seed=number, Metadata_Site=number)
    convert(tmp_path / "P1", tmp_path / "default")
    convert(tmp_path / "P1", tmp_path / "other", chunk_size=1, parsl_config=thread_config(3))
    assert read(tmp_path / "other").equals(read(tmp_path / "default"))
    convert(tmp_path / "P1", tmp_path / "small", data_type_cast_map={"float": "float32"})
    assert (
        read(tmp_path / "small")[f"Cells_{MODEL}_1"]
        .cast("double")
        .equals(read(tmp_path / "default")[f"Cells_{MODEL}_1"])
    )
    convert(tmp_path / "P1" / "4.npz", tmp_path / "one")
    last = read(tmp_path / "default").filter(read(tmp_path / "default")["Metadata_Site"].to_numpy() == 4)
    assert read(tmp_path / "one").drop_columns("Metadata_ImageNumber").equals(
        last.drop_columns("Metadata_ImageNumber").combine_chunks()
    )  # fmt: skip
    assert "*.npz  Cells" in str(inspect_plate(tmp_path / "P1"))


def test_what_is_odd_is_told(tmp_path):
    site(tmp_path / "P1" / "a.npz", Concentration=0.5, Treatment=np.str_("DMSO"), Dose=np.float32(0.25))
    site(tmp_path / "P1" / "b.npz", Concentration="", Metadata_Site=2, Treatment="x", Dose=np.int64(4))
    site(tmp_path / "P1" / "c.npz", 0, Metadata_Site=3)
    site(tmp_path / "P1" / "d.npz", Metadata_Site=2, Concentration=float("nan"))
    (tmp_path / "P1" / "e.npz").write_bytes(b"")
    report = convert(tmp_path / "P1", tmp_path / "out").report
    assert report.skipped == (("e.npz", "empty (0 bytes)"),)
    assert report.notes == (
        "c.npz: no cells",
        "1 of 4 files do not tell Concentration, such as c.npz",
        "2 of 4 files do not tell Treatment, such as c.npz",
        "2 of 4 files do not tell Dose, such as c.npz",
        "b.npz and d.npz are of one site: P1, A01, 2",
    )
    table = read(tmp_path / "out")
    assert table["Metadata_Concentration"].to_pylist() == [0.5] * 3 + [None] * 6
    assert table["Metadata_Treatment"].to_pylist() == ["DMSO"] * 3 + ["x"] * 3 + [None] * 3
    assert table["Metadata_Dose"].to_pylist() == [0.25] * 3 + [4.0] * 3 + [None] * 3
    with pytest.raises(errors.StrictError, match=r"e\.npz"):
        convert(tmp_path / "P1", tmp_path / "strict", strict=True)


def test_what_is_no_number_is_missing(tmp_path):
    features = np.array([[1.5, np.nan], [np.inf, 2]], np.float32)
    replaced(site(tmp_path / "a.npz", 2, 2), features=npy(features))
    convert(tmp_path / "a.npz", tmp_path / "out")
    assert [read(tmp_path / "out")[f"Cells_{MODEL}_{n}"].to_pylist() for n in (1, 2)] == [
        [1.5, float("inf")],
        [None, 2.0],
    ]


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


class _System:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("protocol", range(6))
def test_metadata_may_be_pickled_by_any_numpy(tmp_path, protocol):
    known = {"Metadata_Plate": "Plåte", "Metadata_Well": np.str_("A01"), "Metadata_Site": np.int16(-7),
             "Metadata_Model": MODEL, "Dose": np.float32(0.25), "Nothing": None, "Flag": True}  # fmt: skip
    metadata = pickled(pickle.dumps(np.array(known, dtype=object), protocol=protocol))
    convert(replaced(site(tmp_path / "P1" / "a.npz"), metadata=metadata).parent, tmp_path / "out")
    row = read(tmp_path / "out").to_pylist()[0]
    names = [name if name.startswith("Metadata_") else f"Metadata_{name}" for name in known if name != "Metadata_Model"]
    assert [row[name] for name in names] == ["Plåte", "A01", -7, 0.25, None, 1]


@pytest.mark.parametrize(("attack", "asked"), [(_Touch, r"(io|__builtin__)\.open"), (_System, r"posix\.system")])
@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path, attack, asked, protocol):
    made = tmp_path / "made"
    hostile = pickle.dumps(np.array({"Metadata_Plate": attack(made)}, dtype=object), protocol=protocol)
    path = replaced(site(tmp_path / "P1" / "a.npz"), metadata=pickled(hostile))
    with pytest.raises(errors.SourceFormatError, match=rf"a\.npz: metadata is refused: it asks for {asked}") as caught:
        convert(path.parent, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not made.exists() and not (tmp_path / "out").exists()
    # It would have been, by what numpy does when it is allowed to.
    np.load(path, allow_pickle=True)["metadata"]
    assert made.exists()


REFUSED = {
    "a global of numpy": (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
    "a dotted global": (b"\x80\x04\x8c\x05numpy\x8c\x1cndarray.__init__.__globals__\x93.", "numpy.ndarray.__init__"),
    "code in __builtin__": (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
    "an encoding": (b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.", "as rot13"),
    "a persistent object": (b"Pid\n.", "an object from elsewhere"),
    "a memo of gigabytes": (b"\x80\x02Nr\xff\xff\xff\x7f.", "a memo of"),
    "an extension": (b"\x80\x02\x82\x01.", "damaged pickle"),
    "a stand-in that is changed": (b"cnumpy\ndtype\n(N}S'_make'\nS'x'\nstb.", "sets _make"),
    "a list of lists": (pickle.dumps({"a": [[1]]}), "a list"),
    "no dict": (pickle.dumps("text"), "no dict"),
    "a text that is none": (pickle.dumps({"a": "\udc80"}), "a text that is none"),
    "a number of any length": (pickle.dumps({"a": 10**5000}), "more than 64 bits"),
    "a megabyte": (pickle.dumps({"a": "x" * (1 << 20)}), "more than a megabyte"),
    "half a pickle": (pickle.dumps({"a": 1})[:-3], "damaged pickle"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_metadata_that_holds_more_than_plain_values_is_refused(tmp_path, name):
    content, words = REFUSED[name]
    path = replaced(site(tmp_path / "a.npz"), metadata=pickled(content))
    with pytest.raises(errors.SourceFormatError, match=words) as caught:
        convert(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


BAD = {
    "no zip": (lambda path: path.write_bytes(b"PK, says its name"), "not a whole NPZ file"),
    "half a zip": (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not a whole NPZ file"),
    "no features": (lambda path: replaced(path, features=None), "no array features"),
    "no metadata": (lambda path: replaced(path, metadata=None), "no array metadata"),
    "no npy": (lambda path: replaced(path, locations=b"1,2"), "not a whole NPZ file"),
    "fewer locations": (lambda path: replaced(path, locations=npy(np.zeros((2, 2)))), "3 cells in features, 2 in loc"),
    "a third coordinate": (lambda path: replaced(path, locations=npy(np.zeros((3, 3)))), "locations has shape"),
    "half an array": (lambda path: replaced(path, features=npy(np.zeros((3, 4)))[:-8]), "not as long as its shape"),
    "text": (lambda path: replaced(path, features=npy(np.full((3, 4), "x"))), "where numbers are expected"),
    "objects": (lambda path: replaced(path, features=npy(np.full((3, 4), None))), "where numbers are expected"),
    "numbers as metadata": (lambda path: replaced(path, metadata=npy(np.zeros(3))), "pickled dict is expected"),
    "own number": (lambda path: site(path, ImageNumber=4), "has a ImageNumber"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_file_is_one_clear_line_and_leaves_nothing(tmp_path, name):
    spoil, words = BAD[name]
    site(tmp_path / "P1" / "good.npz", Metadata_Site=7)
    spoil(site(tmp_path / "P1" / "bad.npz"))
    with pytest.raises(CytoTableError, match=rf"bad\.npz.*{words}") as caught:
        convert(tmp_path / "P1", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_may_be_packed_in_any_way_and_damage_of_any_is_one_clear_line(tmp_path, way):
    path = site(tmp_path / "a.npz", 200, 6)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    features, _ = read_cells(path)
    assert np.array_equal(features, np.load(path)["features"])
    whole, chance, refused = path.read_bytes(), random.Random(way), 0
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[chance.randrange(len(damaged) - 300)] ^= 0x55
        path.write_bytes(damaged)
        try:
            read_site(path)
            read_cells(path)
        except errors.SourceFormatError as error:
            assert str(error).startswith(str(path))
            refused += 1
    assert refused > 30


def declaring(path: Path, shape: tuple[int, ...], way: int) -> Path:
    """A file whose features say, in their header and in the zip's directory, that they are of this shape."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["features.npy"] = head.getvalue() + bytes(48)
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        # The directory is written at the end.
        entry = archive.getinfo("features.npy")
        entry.file_size = len(head.getvalue()) + 4 * math.prod(shape)
        entry.extract_version = 45
    return path


@pytest.mark.parametrize("way", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((6_000_000, 270), r"shape \(6000000, 270\), and one site may have 1,048,576 cells and 67,108,864 values"),
        ((1000, 67_109), "67,108,864 values"),
        ((100_000, 600), "3 in locations|too short for its shape"),
    ],
)  # fmt: skip
def test_what_a_file_declares_is_not_taken_for_what_it_holds(tmp_path, shape, told, way):
    path = declaring(site(tmp_path / "a.npz"), shape, way)
    tracemalloc.start()
    try:
        with pytest.raises(errors.SourceFormatError, match=told):
            read_site(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_an_array_that_is_shorter_than_it_declares_costs_what_it_holds(tmp_path):
    path = declaring(site(tmp_path / "a.npz"), (1_000, 60_000), zipfile.ZIP_LZMA)
    tracemalloc.start()
    try:
        with pytest.raises(errors.SourceFormatError, match="not a whole NPZ file"):
            read_cells(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    path = site(tmp_path / "a.npz")
    replaced(path, features=b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + bytes(1000))
    with pytest.raises(errors.SourceFormatError, match="a header of 2,147,483,648 bytes"):
        read_site(path)


@pytest.mark.parametrize("shape", [(-3, -4), (True, 4)])
def test_a_shape_that_no_array_has_is_refused(tmp_path, shape):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    path = replaced(site(tmp_path / "a.npz"), features=head.getvalue() + bytes(48))
    with pytest.raises(errors.SourceFormatError, match="which no array has"):
        read_site(path)


def test_any_damage_is_one_clear_line(tmp_path):
    whole = site(tmp_path / "a.npz", 20, 6).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    chance, refused = random.Random(3), 0
    for turn in range(400):
        file = tmp_path / "b.npz"
        file.write_bytes(whole)
        name = chance.choice(sorted(members))
        content = bytearray(whole if turn % 2 else members[name])
        for _ in range(chance.choice([1, 2, 8])):
            content[chance.randrange(min(len(content), 400))] = chance.randrange(256)
        if turn % 2:
            file.write_bytes(content)
        else:
            replaced(file, **{name: bytes(content)})
        try:
            read_site(file)
            read_cells(file)
        except errors.SourceFormatError as error:
            assert "\n" not in str(error)
            assert "b.npz: " in str(error)
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("other", [{"features": 5}, {"model": "resnet"}])
def test_what_two_models_measured_is_not_one_plate(tmp_path, other):
    site(tmp_path / "P1" / "a.npz")
    site(tmp_path / "P1" / "b.npz", **other)
    with pytest.raises(errors.SchemaError, match=r"a\.npz has 4 features of efficientnet, .*b\.npz has") as caught:
        convert(tmp_path / "P1", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_the_type_and_the_preset_must_agree_with_the_files(tmp_path):
    site(tmp_path / "P1" / "a.npz")
    with pytest.raises(errors.PresetError, match="deepprofiler is for npz files, not for csv"):
        convert(tmp_path / "P1", tmp_path / "out", preset="deepprofiler", source_datatype="csv")
    with pytest.raises(errors.SourceNotFoundError, match="holds no CSV file"):
        convert(tmp_path / "P1", tmp_path / "out", source_datatype="csv")
    with pytest.raises(errors.PresetError, match="name one compartment"):
        convert(tmp_path / "P1", tmp_path / "out", preset="deepprofiler", compartments=["cells", "nuclei"])


def test_a_folder_on_s3_is_converted(tmp_path):
    pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_server, upload_tree

    for well in ("A01", "A02"):
        site(tmp_path / "tree" / "P1" / f"{well}.npz", Metadata_Well=well)
    (tmp_path / "tree" / "P1" / "checkpoint.bin").write_bytes(b"no table")
    with s3_server() as server:
        upload_tree(server, tmp_path / "tree", "deep")
        options = {"endpoint_url": server.endpoint_url, "no_sign_request": True, "local_cache_dir": tmp_path / "cache"}
        result = convert("s3://deep/P1", tmp_path / "out", **options)
        one = convert("s3://deep/P1/A02.npz", tmp_path / "one", **options)
    assert (result.source.plate, one.source.plate) == ("P1", "A02")
    assert read(tmp_path / "out")["Metadata_Well"].to_pylist() == ["A01"] * 3 + ["A02"] * 3
    assert read(tmp_path / "one").num_rows == 3
    assert not list((tmp_path / "cache").rglob("*.bin"))
