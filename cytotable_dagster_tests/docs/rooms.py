"""Draw docs/rooms.svg, the picture of docs/architecture.md: `python -m cytotable_dagster_tests.docs.rooms`."""

from pathlib import Path

PICTURE = Path(__file__).parents[2] / "docs/rooms.svg"

# Groups of floors from above: what they are called, their colours, and their floors; each room with what it is for.
HOUSE: list[tuple[str, tuple[str, str], list[dict[str, str]]]] = [
    (
        "outside core",
        ("#fbe9d0", "#b9853f"),
        [{"cli": "the shell", "defs": "Dagster: assets, sensors, checks", "demo": "plates with images, S3"}],
    ),
    (
        "doors",
        ("#d7e9f7", "#5b6b7b"),
        [
            {
                "convert()": "plates to files",
                "inspect_plate()": "what a plate holds",
                "datasets": "add, remove, align",
                "crops()": "cells to pixels",
            }
        ],
    ),
    (
        "a plate's way,\nfrom below",
        ("#e3f1e6", "#5b6b7b"),
        [
            {"sinks": "AnnData, Iceberg"},
            {"images": "provenance, crops"},
            {"lake": "a folder a plate", "conversion": "request → results", "pictures": "plate layouts, drift"},
            {"datasets": "many plates", "about": "every column's source and range"},
            {"reports": "what was odd"},
            {"steps": "chunks, compartments, join"},
            {"planning": "types, links, order, chunks"},
            {"intake": "find, watch, fetch, verify"},
        ],
    ),
    (
        "what it\nstands on",
        ("#f0eef8", "#5b6b7b"),
        [
            {"sources": "sqlite · csv · npz · parquet"},
            {"storage": "s3 · gs · az, destinations", "parquet": "write, concatenate, refit"},
            {
                "execution": "threads, Parsl",
                "kernels": "machine code",
                "model": "presets, types, names",
            },
            {"support": "files, locks, arrays"},
        ],
    ),
    (
        "ground",
        ("#eef1f4", "#5b6b7b"),
        [
            {
                "errors": "one tree",
                "shown": "text for people",
                "environment": "the machine's",
                "version": "of the results",
            }
        ],
    ),
]
_LEFT, _RIGHT, _TOP, _FLOOR, _GAP, _ROOM = 150, 930, 20, 72, 10, 62


def drawn() -> str:
    """The picture, as SVG."""
    lines, top = [], _TOP
    for title, (fill, stroke), floors in HOUSE:
        bottom = top + _FLOOR * len(floors) - _GAP
        lines.append(f'<line x1="134" y1="{top + 6}" x2="134" y2="{bottom - 6}" stroke="#9aa7b3" stroke-width="2"/>')
        words = title.split("\n")
        for number, line in enumerate(words):
            y = (top + bottom) // 2 + 5 + 18 * number - 9 * (len(words) - 1)
            lines.append(_text(122, y, 14, line, "#44525f", 'text-anchor="end"'))
        for floor in floors:
            width = (_RIGHT - _LEFT - _GAP * (len(floor) - 1)) / len(floor)
            for number, (room, purpose) in enumerate(floor.items()):
                x = _LEFT + number * (width + _GAP)
                lines.append(
                    f'<rect x="{x:.0f}" y="{top}" width="{width:.0f}" height="{_ROOM}" rx="8" fill="{fill}" stroke="{stroke}"/>'
                )
                middle = x + width / 2
                lines.append(_text(middle, top + 26, 17, room, "#1c2733", 'text-anchor="middle" font-weight="600"'))
                lines.append(_text(middle, top + 47, 13, purpose, "#44525f", 'text-anchor="middle"'))
            top += _FLOOR
    rule = "A room imports from those below it, never from one above or beside it."
    lines.append(_text(_LEFT, top + 16, 13, rule, "#44525f", ""))
    height = top + 2 * _TOP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {height}" width="960" height="{height}"'
        ' font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
    )
    return head + "\n".join(lines) + "\n</svg>\n"


def _text(x: float, y: float, size: int, words: str, colour: str, more: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" {more}>{words}</text>'


if __name__ == "__main__":
    PICTURE.write_text(drawn())
