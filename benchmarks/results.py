"""results.md: the figures in a table, with the machine they were measured on."""

from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure

_REACHED = {True: "reached", False: "missed", None: ""}


def as_markdown(
    machine: Mapping[str, str],
    plate: str,
    pairs: int,
    figures: Sequence[Figure],
    command: str = "make bench",
    told: Sequence[str] = (),
) -> str:
    lines = [
        "# Results",
        "",
        f"Written by `{command}`. Every run is a process of its own, those compared run by turns; medians, with the",
        f"least and the greatest of {pairs} in brackets. Page cache warm, compiled code kept from a run before.",
        "CytoTable is 1.2.6 with a thread executor and 30,000 objects a chunk, its best. Peak memory is the process",
        "tree's, without pages of files.",
        *told,
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        f"- plate: {plate}",
        "",
        "| figure | measured | to reach | | detail |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {f.name} | {f.value} | {f.target} | {_REACHED[f.reached]} | {f.detail} |" for f in figures]
    return "\n".join([*lines, ""])
