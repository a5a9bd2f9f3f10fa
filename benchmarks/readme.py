"""The README's table of figures, made of what was measured last: `python -m benchmarks.readme` writes it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: made by python -m benchmarks.readme -->", "<!-- end of figures -->"
HEAD = "| | CytoTable 1.2.6 | here | |\n|---|---|---|---|\n"
# What a row is called, the file of results and the figure that it is of, and that of its memory where that is another.
ROWS = (
    ("SQLite, four files", "results.md", "four compartment files, seconds", "four compartment files, peak memory"),
    ("SQLite, joined single cells", "results.md", "joined single cells, seconds", "joined single cells, peak memory"),
    ("the same from the shell, start and imports included", "results.md", "whole process from the shell", None),
    ("CSV, 64 sites of 150 cells, 1,900 columns a table", "results_csv.md", "jump-64, CytoTable / ours", None),
    ("CSV, one small site (289 cells)", "results_csv.md", "examplehuman-1, CytoTable / ours", None),
)
_SECONDS = re.compile(r"(?:CytoTable|theirs) ([\d.,]+) s.*; ours ([\d.,]+) s")
_BYTES = re.compile(r"(?:CytoTable|theirs)[^;]*? ([\d.,]+ MB).*; ours[^;]*? ([\d.,]+ MB)")


def table() -> str:
    """The rows, as Markdown.

    Raises:
        LookupError: a file of results lacks a figure.
    """
    return HEAD + "".join(_row(*row) for row in ROWS)


def _row(name: str, file: str, figure: str, memory: str | None) -> str:
    measured, detail = _figure(file, figure)
    seconds = _SECONDS.search(detail)
    if seconds is None:
        raise LookupError(f"{file}: {figure}: no seconds of both in {detail!r}")
    theirs, ours = (f"{text} s" for text in seconds.groups())
    if memory is not None:
        # `345 MB; CytoTable 1,336 MB`
        small, large = _figure(file, memory)[0].split("; CytoTable ")
        theirs, ours = f"{theirs}, {large}", f"{ours}, {small}"
    elif found := _BYTES.search(detail):
        theirs, ours = f"{theirs}, {found[1]}", f"{ours}, {found[2]}"
    return f"| {name} | {theirs} | {ours} | {measured.split(' (')[0]} times |\n"


def _figure(file: str, begins: str) -> tuple[str, str]:
    """What was measured, and its detail."""
    for line in (ROOT / "benchmarks" / file).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith(begins):
            return cells[1], cells[-1]
    raise LookupError(f"{file}: no figure {begins!r}")


def main() -> None:
    """Write the table into the README."""
    page = README.read_text()
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    README.write_text(f"{before}{BEGIN}\n\n{table()}\n{after}")


if __name__ == "__main__":
    main()
