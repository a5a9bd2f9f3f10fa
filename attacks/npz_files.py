"""Small plates of NPZ files as DeepProfiler writes them, and what is done to one of them."""

import io
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_TYPES = ("<f4", "<f8", ">f8", "<f2", "<f16", "|u1", "<i8", ">i4", "|b1", "<c8", "|O", "<U3", "|S4", "<M8[s]")
_SHAPES = (
    (3, 4),
    (4,),
    (),
    (0, 4),
    (3, 4, 1),
    (6_000_000, 270),
    (2**62, 2**62),
    (-3, -4),
    (3, 10**30),
    (True, 4),
    (5, 4),
)
_VALUES = (
    *("A01", "", "two\nlines", "\udc80", "x" * 5000, 0, -1, 2**53 + 1, 2**63, 2**63 - 1, 2**70, 10**5000, True, None),
    *(0.5, float("nan"), float("inf"), b"bytes", [1], {"a": 1}, (1,), 1j, np.float32(0.1), np.int64(7), np.str_("n")),
    *(np.bool_(True), np.array([1, 2]), np.datetime64("2020-01-01")),
)  # fmt: skip
_NAMES = ("Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Model", "more", "", "ImageNumber", "a\nb", 7)

Members = dict[str, bytes]


def plate(chance: random.Random, folder: Path) -> Path:
    root = folder / "P1"
    root.mkdir()
    numbers = np.random.default_rng(chance.randrange(2**32))
    for site in range(chance.choice([1, 1, 2, 3])):
        cells = chance.choice([0, 1, 3, 30])
        known = {"Metadata_Plate": "P1", "Metadata_Well": "A01", "Metadata_Site": site, "Metadata_Model": "net"}
        features = numbers.normal(size=(cells, 4)).astype(chance.choice(["<f4", "<f8"]))
        features[numbers.random(features.shape) < 0.1] = np.nan
        arrays = {"features": features, "locations": np.asfortranarray(numbers.uniform(0, 1080, (cells, 2)))}
        save = chance.choice([np.savez, np.savez_compressed])
        save(root / f"s{site}.npz", **arrays, metadata=np.array(known, dtype=object))
    return root


def spoil(chance: random.Random, root: Path) -> str:
    """Do something to a file of a plate; what was done."""
    path = chance.choice(sorted(root.iterdir()))
    name = chance.choice(sorted(_DEEDS))
    _DEEDS[name](chance, path)
    return f"{name} in {path.name}"


def npy(shape: Any, descr: Any, content: bytes, *, fortran: Any = False, version: tuple[int, int] = (1, 0)) -> bytes:
    """An array's file with any header."""
    head = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode() + b" \n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(head))
    return b"\x93NUMPY" + bytes(version) + length + head + content


def _members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, members: Members, way: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _flipped(chance: random.Random, data: bytes, most: int | None = None) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        changed[chance.randrange(min(len(changed), most or len(changed)))] = chance.randrange(256)
    return bytes(changed)


def _bytes(chance: random.Random, path: Path) -> None:
    path.write_bytes(_flipped(chance, path.read_bytes()))


def _end(chance: random.Random, path: Path) -> None:
    """In the directory, which is at the end."""
    data = path.read_bytes()
    path.write_bytes(data[:-300] + _flipped(chance, data[-300:]))


def _cut(chance: random.Random, path: Path) -> None:
    data = path.read_bytes()
    at = chance.randrange(len(data))
    path.write_bytes(
        chance.choice([data[:at], data[at:], data[:at] + data[at + 9 :], data[:at] + b"\0" * 99 + data[at:]])
    )


def _packing(chance: random.Random, path: Path) -> None:
    """Packed in any way, and then damaged perhaps."""
    _write(path, _members(path), chance.choice(_WAYS))
    if chance.random() < 0.7:
        path.write_bytes(_flipped(chance, path.read_bytes()))


def _sizes(chance: random.Random, path: Path) -> None:
    """A member says that it holds more than it does, in its header and in the directory."""
    _write(path, _members(path), chance.choice(_WAYS))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = chance.choice(archive.infolist())
        at, where = data.index(b"PK\x01\x02"), entry.header_offset
    while data[at + 46 : at + 46 + len(entry.filename)] != entry.filename.encode():
        at = data.index(b"PK\x01\x02", at + 4)
    size = chance.choice([0, 1, entry.file_size * 2, 6_500_000_000 % 2**32, 2**31, 2**32 - 2])
    field = chance.choice([18, 22])
    for place in chance.choice([(at + field + 2,), (where + field,), (at + field + 2, where + field)]):
        struct.pack_into("<I", data, place, size)
    path.write_bytes(data)


def _member(chance: random.Random, path: Path) -> None:
    """Bytes of an array, in a zip that is right."""
    members = _members(path)
    name = chance.choice(sorted(members))
    deed = chance.choice(["head", "any", "cut", "longer", "gone", "name", "twice"])
    if deed in ("head", "any"):
        members[name] = _flipped(chance, members[name], 128 if deed == "head" else None)
    elif deed == "cut":
        members[name] = members[name][: chance.randrange(len(members[name]))]
    elif deed == "longer":
        members[name] += b"\0" * chance.choice([1, 8, 1000])
    else:
        content = members.pop(name)
        if deed != "gone":
            members[chance.choice([name.upper(), f"a/{name}", name.removesuffix(".npy"), f"{name}\n"])] = content
        if deed == "twice":
            members[name] = content
    _write(path, members)


def _header(chance: random.Random, path: Path) -> None:
    """An array with any shape, type and order."""
    members = _members(path)
    name = chance.choice(["features.npy", "locations.npy", "metadata.npy"])
    shape, kind = chance.choice([*_SHAPES, "x", 3, [3, 4]]), chance.choice(_TYPES)
    descr = chance.choice([kind, kind, kind, [("a", "<f8")], ["x"], ("<f4", (2,)), "x" * 99, None, 8])
    content = bytes(chance.choice([12 * 8, 12 * 4, 0, 1, 3 * 8]))
    if chance.random() < 0.5 and isinstance(shape, tuple) and descr == kind and kind != "|O":
        count = int(np.prod(shape, dtype=object))
        content = chance.randbytes(count * np.dtype(kind).itemsize) if 0 <= count < 1000 else content
    version = chance.choice([(1, 0), (1, 0), (2, 0), (3, 0), (9, 9)])
    made = npy(shape, descr, content, fortran=chance.choice([True, False, False, 1]), version=version)
    members[name] = chance.choice([made, made, made[:10] + b"(" * 9000, made.replace(b"{", b"{" + b" " * 70_000)])
    _write(path, members)


def _pickled(chance: random.Random, path: Path) -> None:
    """Metadata of any values, pickled in any way."""
    known: dict[Any, Any] = {"Metadata_Model": "net"}
    for _ in range(chance.choice([1, 2, 5])):
        known[chance.choice(_NAMES)] = chance.choice(_VALUES)
    _with_metadata(path, known if chance.random() < 0.9 else chance.choice(_VALUES), chance.randrange(6))


def _damaged_pickle(chance: random.Random, path: Path) -> None:
    known = {"Metadata_Plate": "P1", "Metadata_Model": "net", "Metadata_Site": np.int64(3), "Metadata_Dose": 0.5}
    data = _with_metadata(path, known, chance.randrange(6))
    members = _members(path)
    members["metadata.npy"] = members["metadata.npy"][: -len(data)] + _flipped(chance, data)
    _write(path, members)


def _values(known: Any) -> list[Any]:
    return [value for value in (known.values() if isinstance(known, dict) else [known]) if isinstance(value, int)]


def _with_metadata(path: Path, known: Any, protocol: int) -> bytes:
    holder = np.empty((), object)
    holder[()] = known
    # Protocols before 2 write whole numbers in digits, of which Python takes 4,300.
    data = pickle.dumps(holder, max(protocol, 2) if 10**5000 in _values(known) else protocol)
    out = io.BytesIO()
    np.save(out, np.array(None, dtype=object), allow_pickle=True)
    head = out.getvalue()
    head = head[: 10 + int.from_bytes(head[8:10], "little")]
    _write(path, _members(path) | {"metadata.npy": head + data})
    return data


def _bomb(chance: random.Random, path: Path) -> None:
    """Few bytes that are many when they are unpacked."""
    size = chance.choice([1 << 20, 1 << 24])
    members = _members(path)
    kind = chance.choice(["features.npy", "metadata.npy", "header"])
    if kind == "features.npy":
        members[kind] = npy((size // 4, 4), "|u1", bytes(size))
        members["locations.npy"] = npy((size // 4, 2), "|u1", bytes(size // 2))
    elif kind == "metadata.npy":
        members[kind] = npy((), "|O", chance.choice([b"N", b"(", b"]", b"\x94"]) * size)
    else:
        members["features.npy"] = b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + bytes(size)
    _write(path, members, chance.choice(_WAYS[1:]))


_DEEDS: dict[str, Callable[[random.Random, Path], None]] = {
    "bytes": _bytes,
    "directory": _end,
    "cut": _cut,
    "packing": _packing,
    "sizes": _sizes,
    "member": _member,
    "header": _header,
    "pickle": _pickled,
    "damaged pickle": _damaged_pickle,
    "bomb": _bomb,
}
