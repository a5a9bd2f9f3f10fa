"""The tables of a plate of CSV files, found by their headers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cytotable_dagster.core.model.presets import TABLE_NUMBER, Preset
from cytotable_dagster.core.sources.csv.combined import with_split_objects
from cytotable_dagster.core.sources.csv.dialect import COMMA, POINT, CsvFormat, Dialect
from cytotable_dagster.core.sources.csv.exports import Export, exports_and_others, taken_by_prefix
from cytotable_dagster.core.sources.csv.setup_files import with_headers
from cytotable_dagster.core.sources.csv.sites import Told, columns_told, table_numbers, told_by_folders
from cytotable_dagster.core.sources.csv.survey import CsvSurvey
from cytotable_dagster.core.sources.csv.unconverted import in_folders, others_of
from cytotable_dagster.core.sources.protocols import Found


def find_tables(root: Path, preset: Preset, format: CsvFormat, folder: Path, asked: Sequence[str] = ()) -> Found:
    """The tables of the plate in a folder of CSV files, by their headers.

    Args:
        folder: the plan's, for what the conversion reads again.

    Raises:
        SourceNotFoundError, SourceFormatError: there are no such files, or one is something else.
    """
    exports, left = exports_and_others(root, preset, format)
    numbers: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()
    if preset.table_number == TABLE_NUMBER:
        numbers, notes = table_numbers(exports, str(root), keep_equal=format.keep_equal)
    tables: dict[str, CsvSurvey] = {}
    absent = []
    if any(export.declared for export in exports):
        notes = (*notes, "tables and columns are those that SETUP.SQL declares")
        splits = with_headers(exports, preset, format, folder / "csv")
    else:
        splits = with_split_objects(exports, preset, format, folder / "csv")
        notes = (*notes, *taken_by_prefix(exports, preset))
    skipped = [record for split in splits for record in split.skipped]
    for table in (*preset.metadata, *preset.compartments):
        survey = CsvSurvey(table, preset.keys_of(table), format, folder)
        if not any(table in split.export.files for split in splits):
            absent.append(table)
            continue
        for export in (split.export for split in splits):
            reason = survey.add(export, numbers.get(export.name))
            if reason is not None:
                skipped.append((export.label(table), reason))
        if survey.headers:
            tables[table] = survey
    if absent:
        notes = (*notes, f"no files are of tables {', '.join(absent)}")
    others: dict[str, CsvSurvey] = {}
    for kind, files in others_of(left, exports).items():
        if kind in asked:
            survey = CsvSurvey(kind, (TABLE_NUMBER,) if numbers else (), format, folder)
            for name, file in files.items():
                survey.add(Export(name, {kind: root / file}), numbers.get(name))
            left = tuple(other for other in left if other not in files.values())
            others |= {kind: survey} if survey.headers else {}
    unconverted = in_folders(root, left, exports, preset, format) if left else ()
    notes = (*notes, *_with_folders(tables, told_by_folders(exports, root, format.site_pattern), preset))
    notes = (*notes, *settled_dialects((*tables.values(), *others.values())))
    return Found(tables, tuple(skipped), notes, sum(split.rows for split in splits), others, unconverted)


def _with_folders(tables: Mapping[str, CsvSurvey], folders: Told, preset: Preset) -> tuple[str, ...]:
    """Give tables what the exports' folders say and they do not; what is to be told of that."""
    added = columns_told(folders, preset, {name: survey.names for name, survey in tables.items()})
    for survey in tables.values():
        survey.tell(added, folders)
    return folders.note({name for survey in tables.values() for part in survey.parts for name, _ in part.told})


def settled_dialects(surveys: Iterable[CsvSurvey]) -> tuple[str, ...]:
    """What is to be told of files that are not separated by commas. Of a file without decimals those of the others
    are taken."""
    surveys = list(surveys)
    commas = any(header.dialect.decimal == COMMA for survey in surveys for header in survey.headers)
    files: dict[str, dict[str, None]] = defaultdict(dict)
    for survey in surveys:
        survey.settle(COMMA if commas else POINT)
        for part in survey.parts:
            dialect = survey.headers[part.header].dialect
            if dialect != Dialect():
                # What was taken apart lies in the plan's folder.
                file = Path(part.name)
                files[str(dialect)][file.name if file.is_relative_to(survey.folder) else part.name] = None
    return tuple(
        f"{next(iter(names))}: {dialect}" + (f"; so are {len(names) - 1} more files" if len(names) > 1 else "")
        for dialect, names in files.items()
    )
