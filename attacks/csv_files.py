"""Small plates of CSV files of every kind that is taken, and what is done to their bytes."""

import csv
import gzip
import io
import random
from pathlib import Path

IN_CARTA = ("OBJECT ID", "Row", "Column", "FOV", "WELL LABEL", "Z", "T", "Cells Area wv1", "Cells Note")
_TEXTS = ("plain", "", "a,b", 'say "x"', "two\nlines", "two\r\nlines", "nan", "007", "é", " x ", '5" dish')
_ENDS = (b"\n", b"\r\n", b"\r")
# What is put somewhere into a file.
_TOKENS = (
    *(b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\r\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfc", b" ", b"\t"),
    *(b"nan", b"-inf", b"1e999", b"1e-999", b"0x1F", b"1_000", b"+5", b"-0", b"0.", b".", b"-", b"1e"),
    *(b"9007199254740993", b"9223372036854775808", b"-9223372036854775808", b"18446744073709551617", b"1" * 400),
    *(b"1" * 40000 + b"x", b" " * 40000 + b"x", b"1e" + b"9" * 40000, b'"' * 4001, b"," * 3000, b"\n" * 3000),
    "\u2028٣½".encode(),
)  # fmt: skip


def plate(chance: random.Random, folder: Path) -> Path:
    """A plate's folder: CellProfiler's of one site or several, a combined `object.csv`, or IN Carta's files."""
    kind = chance.choice(["site", "sites", "sites", "object", "flat"])
    root = folder / "P1"
    if kind == "flat":
        for number in range(chance.randrange(1, 4)):
            _write(chance, root / f"day {number}.csv", [list(IN_CARTA), *_carta_rows(chance)])
        return root
    for number in range(1 if kind == "site" else chance.randrange(2, 4)):
        own = root if kind == "site" else root / f"s{number}"
        _site(chance, own, number + 1, combined=kind == "object")
    return root


def _site(chance: random.Random, folder: Path, image: int, *, combined: bool) -> None:
    count = chance.choice([0, 1, 2, 5, 9, 10, 30, 100])
    head = ["ImageNumber", "Metadata_Well", "FileName_DNA", "Count_Cells"]
    _write(chance, folder / "Image.csv", [head, [image, f"A{image:02d}", chance.choice(_TEXTS), count]])
    if combined:
        _write(chance, folder / "object.csv", _combined(chance, image, count))
        return
    for table, parents in (
        ("Cells", ["Parent_Nuclei"]),
        ("Cytoplasm", ["Parent_Cells", "Parent_Nuclei"]),
        ("Nuclei", []),
    ):
        names = ["ImageNumber", "ObjectNumber", "Area", "Mean", "Metadata_Note", "Mixed", *parents]
        rows = [
            [image, number, *_values(chance), *[number for _ in parents]]
            for number in range(1, count + 1)
        ]  # fmt: skip
        _write(chance, folder / f"{table}.csv", [names, *rows])


def _values(chance: random.Random) -> list[object]:
    mixed = chance.choice([chance.randrange(99), chance.random(), "", "nan", "x"])
    return [chance.randrange(10**9), chance.gauss(0, 1), chance.choice(_TEXTS), mixed]


def _combined(chance: random.Random, image: int, count: int) -> list[list[object]]:
    first = ["Image", *["Cells"] * 4, *["Cytoplasm"] * 4, *["Nuclei"] * 2]
    second = ["ImageNumber", "ObjectNumber", "Area", "Note", "Number_Object_Number", "Number_Object_Number",
              "Parent_Cells", "Parent_Nuclei", "Area", "Number_Object_Number", "Area"]  # fmt: skip
    rows: list[list[object]] = [list(first), list(second)]
    for number in range(1, count + 1):
        cell = [chance.randrange(99), chance.choice(_TEXTS), number, number, number, number, chance.random()]
        rows.append([image, number, *(cell if number % 4 else [""] * 7), number, chance.random()])
    return rows


def _carta_rows(chance: random.Random) -> list[list[object]]:
    return [
        [number, 1, 2, chance.randrange(3), "A - 2", 1, 1, chance.gauss(9, 3), chance.choice(_TEXTS)]
        for number in range(1, chance.choice([0, 1, 5, 9, 60]) + 1)
    ]


def _write(chance: random.Random, path: Path, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    quoting = chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    csv.writer(out, lineterminator=chance.choice(["\n", "\r\n"]), quoting=quoting).writerows(rows)
    path.write_bytes(out.getvalue().encode())


def spoil(chance: random.Random, root: Path) -> str:
    """Do something to some files of a plate; what was done."""
    done = []
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        path = chance.choice(sorted(path for path in root.rglob("*.csv*") if path.is_file()))
        name = chance.choice(sorted(_DEEDS))
        path.write_bytes(_DEEDS[name](chance, path.read_bytes()))
        done.append(f"{name} in {path.relative_to(root)}")
    if chance.random() < 0.25:
        done.append(_pack(chance, root))
    return ", ".join(done)


def _pack(chance: random.Random, root: Path) -> str:
    for path in [path for path in root.rglob("*.csv") if path.is_file()]:
        data = path.read_bytes()
        # Several members one after the other are one file.
        cut = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
        packed = gzip.compress(data[:cut], mtime=0) + (gzip.compress(data[cut:], mtime=0) if cut < len(data) else b"")
        path.with_name(f"{path.name}.gz").write_bytes(packed)
        path.unlink()
    if chance.random() < 0.5:
        return "packed"
    path = chance.choice(sorted(root.rglob("*.gz")))
    name = chance.choice(["flip", "cut", "append"])
    path.write_bytes(_DEEDS[name](chance, path.read_bytes()))
    return f"packed, {name} in {path.relative_to(root)}"


def _place(chance: random.Random, data: bytes) -> int:
    """Somewhere: often in the first lines."""
    return chance.randrange(min(len(data), 200) + 1 if chance.random() < 0.4 else len(data) + 1)


def _insert(chance: random.Random, data: bytes) -> bytes:
    at = _place(chance, data)
    return data[:at] + chance.choice(_TOKENS) + data[at:]


def _replace_field(chance: random.Random, data: bytes) -> bytes:
    fields = data.split(b",")
    fields[chance.randrange(len(fields))] = chance.choice(_TOKENS)
    return b",".join(fields)


def _flip(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice([1, 1, 4])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _remove(chance: random.Random, data: bytes) -> bytes:
    at = _place(chance, data)
    return data[:at] + data[at + chance.choice([1, 1, 2, 30, 300]) :]


def _repeat(chance: random.Random, data: bytes) -> bytes:
    at = _place(chance, data)
    return data[: at + chance.choice([1, 40, 400])] + data[at:]


def _on_lines(deed: str) -> object:
    def change(chance: random.Random, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True) or [b"\n"]
        at = chance.randrange(len(lines)) if chance.random() < 0.7 else 0
        if deed == "blank":
            lines[at:at] = [chance.choice(_ENDS)] * chance.choice([1, 2, 50])
        elif deed == "twice":
            lines[at:at] = [lines[at]]
        elif deed == "gone":
            del lines[at]
        else:
            lines[at] = lines[at].rstrip(b"\r\n") + chance.choice(_ENDS)
        return b"".join(lines)

    return change


_DEEDS = {
    "insert": _insert,
    "field": _replace_field,
    "flip": _flip,
    "remove": _remove,
    "repeat": _repeat,
    "cut": lambda chance, data: data[: _place(chance, data)],
    "append": lambda chance, data: data + chance.choice((*_TOKENS, chance.randbytes(40))),
    "mac": lambda chance, data: data.replace(b"\r\n", b"\r").replace(b"\n", b"\r"),
    "first": lambda chance, data: chance.choice((*_TOKENS, b"\n", b"\n\n")) + data,
    "quote": lambda chance, data: data.replace(b",", b',"', chance.choice([1, 2, 3, 9])),
    **{deed: _on_lines(deed) for deed in ("blank", "twice", "gone", "end")},
}
