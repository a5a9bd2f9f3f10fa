"""Which files of CSV exports are which tables, by their names.

A file is called as its table, `Cells.csv`, or all files of an export have one prefix, `MyExpt_Cells.csv`. As names of
objects may have underscores, `Green_Nuclei.csv` is of the green nuclei or of the nuclei in an export `Green_`; the
other files of the plate tell which.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import IMAGE, USUAL

# The file that has all compartments side by side; see `combined`.
OBJECT = "Object"
ENDING = re.compile(r"\.(csv|tsv|txt)(\.gz)?$", re.IGNORECASE)
# What text of any kind is in.
_TEXT = re.compile(r"\.txt(\.gz)?$", re.IGNORECASE)
# What CellProfiler and the Cell Painting Gallery have beside tables.
_BESIDE = re.compile(r"(^|[/_])(experiment|load_data[^/]*)\.(csv|tsv|txt)(\.gz)?$", re.IGNORECASE)
# How folders of sites are called in the Cell Painting Gallery, and wells anywhere.
WELL = r"(?:[A-P]|A[A-F])\d{1,2}"
FOLDER_OF_SITE = re.compile(rf"(?P<plate>.+)-(?P<well>{WELL})-(?P<site>\d+)", re.IGNORECASE)
# What a prefix ends in.
_SEPARATORS = "_-. "

# A folder's files by their stems in lower case, and the tables (in lower case) that each prefix makes of them.
Stems = Mapping[str, list[str]]
Prefixes = Mapping[str, set[str]]


def may_be_table(file: str) -> bool:
    """Whether a file may be one of an export with the usual tables."""
    stem = _stem(file)
    return stem is not None and bool(_prefixes([stem], _lower((*USUAL, OBJECT))))


def named_tables(files: Iterable[str], tables: Iterable[str], where: str) -> dict[str, dict[str, str]]:
    """By folder (empty for that of the plate itself) the file of each table; folders without any are left out.

    An exact name anywhere in the plate means that there is no prefix, but for folders that have all of these tables
    with one. Else it is the one that fits most, and a folder in which no file has it has its own where that makes a
    whole export.

    Args:
        files: names as of the plate's folder, `where`.
        tables: in any case; the answer has them as they are given.

    Raises:
        SourceFormatError: two files are for one table, or either of two prefixes may be meant.
    """
    wanted = {table.lower(): table for table in (*tables, OBJECT)}
    folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in _without_notes(sorted(files), list(wanted)):
        stem = _stem(file)
        if stem is not None:
            folders[file.rpartition("/")[0]][stem].append(file)
    found = {}
    for folder, prefix in _prefix_by_folder(folders, list(wanted), where).items():
        own = {
            table: folders[folder][prefix + lower]
            for lower, table in wanted.items()
            if prefix + lower in folders[folder]
        }
        for table, same in own.items():
            if len(same) > 1:
                names = " and ".join(file.rpartition("/")[2] for file in same[:2])
                raise SourceFormatError(
                    f"{_place(where, folder)}: both {names} are for table {table}; move one elsewhere"
                )
        if own:
            found[folder] = {table: file for table, (file,) in own.items()}
    return found


def object_names(files: Iterable[str], tables: Iterable[str], where: str) -> dict[str, str]:
    """What tables are called by the plate's files, by how they are called here, where these differ in case."""
    found: dict[str, str] = {}
    for named in named_tables(files, tables, where).values():
        for table, file in named.items():
            bare = ENDING.sub("", file)
            found.setdefault(table, bare[len(bare) - len(table) :])
    return found


def is_table_file(file: str) -> bool:
    """Whether a file may be a table by its ending, and is none of those that lie beside a plate's."""
    return ENDING.search(file) is not None and not _BESIDE.search(file)


def is_text(file: str) -> bool:
    """Whether a file's name says that it is text, which is a table only where it is called as one."""
    return _TEXT.search(file) is not None


def _without_notes(files: list[str], tables: Sequence[str]) -> list[str]:
    """Files without those of text, where others are tables."""
    others = [file for file in files if not is_text(file)]
    if len(others) == len(files) or not _prefixes(filter(None, map(_stem, others)), tables):
        return files
    return others


def _stem(file: str) -> str | None:
    """A CSV file's name without its ending, in lower case."""
    stem, found = ENDING.subn("", file.rpartition("/")[2])
    return stem.lower() if found else None


def _lower(tables: Iterable[str]) -> list[str]:
    return [table.lower() for table in tables]


def _prefixes(stems: Iterable[str], tables: Sequence[str]) -> dict[str, set[str]]:
    """The prefixes that files may have, and the tables that each makes of them."""
    found: dict[str, set[str]] = defaultdict(set)
    for stem in stems:
        for table in tables:
            prefix = stem.removesuffix(table)
            if stem.endswith(table) and (not prefix or prefix[-1] in _SEPARATORS):
                found[prefix].add(table)
    return found


def _prefix_by_folder(folders: Mapping[str, Stems], tables: Sequence[str], where: str) -> dict[str, str]:
    """The prefix of each folder that has one."""
    by_folder = {folder: _prefixes(stems, tables) for folder, stems in folders.items()}
    exact = set().union(*(own.get("", ()) for own in by_folder.values()))
    if exact:
        return {
            folder: "" if "" in own else alike[0]
            for folder, own in by_folder.items()
            if "" in own or len(alike := _all_of(own, exact)) == 1
        }
    every: dict[str, set[str]] = defaultdict(set)
    for own in by_folder.values():
        for prefix, made in own.items():
            every[prefix] |= made
    common = _best(every, [stem for stems in folders.values() for stem in stems])
    found = {}
    for folder, own in by_folder.items():
        best = sorted(own.keys() & set(common)) or _whole(own, folders[folder], common, every)
        whole = [prefix for prefix, made in own.items() if IMAGE.lower() in made and len(made) > 1]
        meant = best if len(best) > 1 else whole
        if len(meant) > 1:
            files = [next(f for stem, (f, *_) in folders[folder].items() if stem.startswith(p)) for p in meant[:2]]
            names = " and ".join(file.rpartition("/")[2] for file in files)
            raise SourceFormatError(
                f"{_place(where, folder)}: {names} are of two exports, or of objects of their own; "
                "move those of one elsewhere, or name the objects with compartments="
            )
        if best:
            found[folder] = best[0]
    return found


def _all_of(own: Prefixes, exact: set[str]) -> list[str]:
    """The prefixes with which a folder has all tables that others have without one, the images' among them."""
    return [prefix for prefix, made in own.items() if made == exact and IMAGE.lower() in made and len(made) > 1]


def _whole(own: Prefixes, stems: Stems, common: Sequence[str], every: Prefixes) -> list[str]:
    """The prefixes, if any, of a folder that has not the common one but is an export like the others."""
    best = _best(own, stems)
    image = IMAGE.lower()
    return [
        prefix
        for prefix in best
        if not prefix.startswith(tuple(common))
        and (image in own[prefix] or (image not in every[common[0]] and own[prefix] == every[common[0]]))
    ]


def _best(prefixes: Prefixes, stems: Iterable[str]) -> list[str]:
    """The prefixes that fit best: those of an image table, then those that most files start with, then those that make
    the most tables; several where they fit alike."""
    starts = Counter(stem[: place + 1] for stem in stems for place, char in enumerate(stem) if char in _SEPARATORS)
    image = IMAGE.lower()
    fits = {prefix: (image in made, starts[prefix], len(made)) for prefix, made in prefixes.items()}
    most = max(fits.values(), default=None)
    return sorted(prefix for prefix, fit in fits.items() if fit == most)


def _place(where: str, folder: str) -> str:
    return f"{where.rstrip('/')}/{folder}" if folder else where
