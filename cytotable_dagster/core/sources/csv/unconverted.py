"""CSV files of a plate that no compartment comes from: what they are, and what would take them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Unconverted
from cytotable_dagster.core.sources.csv.dialect import CsvFormat
from cytotable_dagster.core.sources.csv.exports import Export, names_in
from cytotable_dagster.core.sources.csv.names import ENDING, is_text
from cytotable_dagster.core.sources.unconverted import EXPERIMENT, RELATIONSHIPS, about_other, table_about

# A folder may hold any number of other files; so many kinds are told.
_TOLD = 20
_NO_TABLES = (
    "named for no table, and without the keys of objects",
    "named for no table, and no CSV file that can be read",
)


def others_of(left: Sequence[str], exports: Sequence[Export]) -> dict[str, dict[str, str]]:
    """By kind (see `unconverted`) and export the file that is of it.

    Args:
        left: the files that are no table's, as of the plate's folder.
    """
    found: dict[str, dict[str, str]] = {EXPERIMENT: {}, RELATIONSHIPS: {}}
    prefixes = {export.name: _prefix(export) for export in exports}
    for file in left:
        folder = _folder(file)
        label = _label(file, prefixes.get(folder, "")).lower()
        kind = RELATIONSHIPS if label.endswith(RELATIONSHIPS) else EXPERIMENT if label == EXPERIMENT else None
        if kind and folder in prefixes:
            found[kind].setdefault(folder, file)
    return {kind: files for kind, files in found.items() if files}


def in_folders(
    root: Path, left: Sequence[str], exports: Sequence[Export], preset: Preset, format: CsvFormat
) -> tuple[Unconverted, ...]:
    """The CSV files that are no table's, those of one name in many folders as one."""
    kinds = {file: kind for kind, files in others_of(left, exports).items() for file in files.values()}
    prefixes = {export.name: _prefix(export) for export in exports}
    # A folder that is no export is one once a file of it is asked for, where files have no prefix.
    plain = None if any(prefixes.values()) else ""
    groups: dict[str, list[str]] = defaultdict(list)
    for file in left:
        groups[_label(file, prefixes.get(_folder(file), "")).lower()].append(file)
    found = []
    for files in list(groups.values())[:_TOLD]:
        first = files[0]
        kind, prefix = kinds.get(first), prefixes.get(_folder(first), plain)
        label = _label(first, prefix or "")
        reason, remedy = about_other(kind) if kind else _why(root / first, label, preset, format)
        if remedy and not kind and (prefix is None or not _stem(first).lower().startswith(prefix)):
            reason, remedy = "not called as the files of the plate's export are", ""
        if is_text(first) and not kind and reason in _NO_TABLES:
            continue
        many = f"{first.rpartition('/')[2]} in {len(files):,} folders" if len(files) > 1 else first
        found.append(Unconverted(many, None, reason, remedy))
    more = sum(not is_text(file) for files in list(groups.values())[_TOLD:] for file in files)
    if more:
        found.append(Unconverted(f"{more:,} other CSV files", None, "named for no table", ""))
    return tuple(found)


def _why(file: Path, label: str, preset: Preset, format: CsvFormat) -> tuple[str, str]:
    nothing = _NO_TABLES[0], ""
    try:
        # The number of a site's export is in none of its files.
        return table_about(label, names_in(file, format), replace(preset, table_number=None)) or nothing
    except CytoTableError:
        return _NO_TABLES[1], ""


def _label(file: str, prefix: str) -> str:
    """What a file would be the table of, in an export whose files have a prefix (in lower case)."""
    stem = _stem(file)
    return stem[len(prefix) :] if stem.lower().startswith(prefix) else stem


def _stem(file: str) -> str:
    return ENDING.sub("", file.rpartition("/")[2])


def _prefix(export: Export) -> str:
    if not export.files:
        # A file of several tables may be called anything.
        return ""
    table, file = next(iter(export.files.items()))
    return _stem(file.name).lower().removesuffix(table.lower())


def _folder(file: str) -> str:
    return file.rpartition("/")[0] or "."
