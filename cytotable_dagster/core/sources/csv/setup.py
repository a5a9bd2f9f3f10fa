"""What a `SETUP.SQL` says of the CSV files beside it, which CellProfiler's ExportToDatabase writes for MySQL: their
tables, and the columns of these, for the files have no headers."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.sources.csv.names import ENDING
from cytotable_dagster.core.sources.sqlite.tables import detect_preset, objects_in, start_of

_NAME = re.compile(r"(^|[/_. -])SETUP\.SQL$", re.IGNORECASE)
_CREATE = re.compile(r"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>[^\s(]+)\s*\(", re.IGNORECASE)
_LOAD = re.compile(
    r"LOAD\s+DATA\s+[^;]*?INFILE\s+['\"](?:[^'\"]*[/\\])?(?P<file>[^'\"/\\]+)['\"][^;]*?INTO\s+TABLE\s+(?P<table>[^\s;]+)",
    re.IGNORECASE,
)
_COLUMN = re.compile(r"\s*(?P<name>`[^`]+`|\"[^\"]+\"|[^\s,()`\"]+)\s+(?P<type>[A-Za-z]+)")
_NO_COLUMN = {"primary", "key", "unique", "constraint", "index", "foreign", "check", "fulltext"}
_TEXT = re.compile(r"char|text|blob|binary|date|time|enum|set|json", re.IGNORECASE)
_PARENTHESES = re.compile(r"[(),]")


@dataclass(frozen=True)
class Declared:
    """A table of a `SETUP.SQL`: its columns, which of them are text, its files, and whether it holds all objects side
    by side."""

    name: str
    columns: tuple[str, ...]
    texts: frozenset[str]
    files: tuple[Path, ...] = ()
    side_by_side: bool = False


def is_setup(name: str) -> bool:
    return _NAME.search(name) is not None


def setups_below(root: Path, names: Iterable[str]) -> dict[str, Mapping[str, Declared]]:
    """By folder the tables that its `SETUP.SQL` declares, by what they are of (`Image`, `Cells`); folders without any
    are left out.

    Args:
        names: the files of the plate, as of its folder `root`.

    Raises:
        SourceFormatError: two declare a table in two ways, or tables of no preset.
    """
    names = sorted(names)
    scripts: dict[str, list[Path]] = defaultdict(list)
    for name in filter(is_setup, names):
        scripts[_folder(name)].append(root / name)
    files: dict[str, list[Path]] = defaultdict(list)
    for name in names if scripts else ():
        if _folder(name) in scripts and ENDING.search(name):
            files[_folder(name)].append(root / name)
    declared = {folder: _declared(own, files[folder]) for folder, own in scripts.items()}
    return {folder: _by_compartment(tables, str(root / folder)) for folder, tables in declared.items() if tables}


def preset_of(tables: Mapping[str, Declared], where: str) -> Preset:
    """The preset of tables that are declared, as one for CSV files.

    Raises:
        SourceFormatError: they are of none.
    """
    found = detect_preset({table.name: table.columns for table in tables.values()}, where)
    return replace(found, datatype="csv", table="{compartment}", object_table=None)


def _by_compartment(tables: Iterable[Declared], where: str) -> dict[str, Declared]:
    tables = list(tables)
    preset = detect_preset({table.name: table.columns for table in tables}, where)
    start = start_of(preset)
    found = {table.name[len(start) :]: table for table in tables if table.name.lower().startswith(start.lower())}
    if preset.object_table is not None:
        whole = replace(found.pop(preset.object_table[len(start) :]), side_by_side=True)
        found |= dict.fromkeys(objects_in(whole.columns), whole)
    return found


def _declared(scripts: Sequence[Path], files: Sequence[Path]) -> tuple[Declared, ...]:
    tables: dict[str, Declared] = {}
    loaded: dict[str, str] = {}
    for script in scripts:
        text = script.read_text(encoding="utf-8", errors="replace")
        for table in _tables(text):
            if tables.setdefault(table.name.lower(), table) != table:
                raise SourceFormatError(f"{script}: declares {table.name} otherwise than another SETUP.SQL beside it")
        loaded |= {found["file"].lower(): _bare(found["table"]).lower() for found in _LOAD.finditer(text)}
    own: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        name = loaded.get(file.name.lower()) or _called(file, tables)
        if name in tables:
            own[name].append(file)
    return tuple(replace(table, files=tuple(own[name])) for name, table in tables.items() if own[name])


def _tables(text: str) -> list[Declared]:
    found = []
    for match in _CREATE.finditer(text):
        columns, texts = [], []
        for definition in _definitions(text, match.end()):
            column = _COLUMN.match(definition)
            if column is None or column["name"].lower() in _NO_COLUMN:
                continue
            columns.append(_bare(column["name"]))
            if _TEXT.search(column["type"]):
                texts.append(columns[-1])
        found.append(Declared(_bare(match["name"]), tuple(columns), frozenset(texts)))
    return found


def _definitions(text: str, start: int) -> list[str]:
    """What is between commas from behind an opening parenthesis to the one that closes it."""
    found, depth, last = [], 0, start
    for mark in _PARENTHESES.finditer(text, start):
        if mark[0] == "(":
            depth += 1
        elif mark[0] == ")" and depth:
            depth -= 1
        elif not depth:
            found.append(text[last : mark.start()])
            last = mark.end()
            if mark[0] == ")":
                break
    return found


def _called(file: Path, tables: Mapping[str, Declared]) -> str | None:
    """The table that a file is called after (`SQL_1_96_Cells.CSV`): other batches of images than the script names."""
    stem = ENDING.sub("", file.name).lower()
    objects = {name.rpartition("per_")[2]: name for name in tables}
    fitting = [own for own in objects if stem == own or stem.endswith(f"_{own}")]
    return objects[max(fitting, key=len)] if fitting else None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _bare(name: str) -> str:
    """A name without quotes and the database before it."""
    return name.rpartition(".")[2].strip("`\"' ")
