"""Which plates a folder of CSV, NPZ or Parquet files holds: by a pattern, by its image tables, or by names of folders.

The Cell Painting Gallery has `<plate>/analysis/<plate>-<well>-<site>/Cells.csv`; others have `<plate>/Cells.csv`, or
`<plate>/<site>/Cells.csv`. Folders that give no sign of being plates are sites of one.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cytotable_dagster.core.errors import OptionError, SourceFormatError
from cytotable_dagster.core.model.presets import CSV_PRESET, IMAGE, PRESETS, USUAL
from cytotable_dagster.core.sources.csv.names import FOLDER_OF_SITE, WELL, may_be_table, named_tables
from cytotable_dagster.core.sources.naming import plate_files
from cytotable_dagster.core.sources.parquet.names import folders_in
from cytotable_dagster.core.support.arguments import text_in
from cytotable_dagster.core.support.placeholders import refuse_without, template

# A plate's folder in the gallery holds one of this name.
_ANALYSIS = "analysis"
_REST = "..."
# Image tables that are looked at before all are.
_ASKED = 3
_WELL = re.compile(WELL, re.IGNORECASE)
# Of digits alone, those that are too large to count sites (0012345, 24277), but for dates (20201104).
_BARCODE = re.compile(r"[A-Z]{2}[ _-]?\d|[A-Z]\d{4}|^\d{9,}$|^0*[1-9]\d{4,6}$", re.ASCII)
# Words in names of folders that are sites, or parts of a run.
_NO_PLATE = frozenset(
    word
    for line in (
        "site field fov well image images img pos position xy scene series tile time timepoint stack group batch run",
        "job task chunk part rep replicate set split out output export exports result results cycle day exp",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class Group:
    """A plate: its folder below the one looked through (empty for that itself), its name where a pattern gives it, and
    what is to be told of how it was found."""

    folder: str
    name: str | None = None
    note: str = ""


# For folders, the plates that the image table of each names.
PlatesSaid = Callable[[Sequence[str]], Sequence[frozenset[str]]]


def plates_among(files: Iterable[str], where: str, pattern: str | None, plates_said: PlatesSaid) -> list[Group]:
    """The plates in a folder.

    Args:
        files: names as of the folder, `where`, of all files in it and below.
        pattern: folders below it, as in `{batch}/{plate}/{site}/...`, that decide alone.

    Raises:
        OptionError: a pattern without `{plate}`, or one that does not fit all folders of tables.
        SourceFormatError: by the pattern, folders that lie side by side are one plate.
    """
    folders = _folders_of_tables(files)
    if folders_of_parquet := folders_in(plate_files(files)):
        return [Group(folder) for folder in folders_of_parquet]
    if pattern is not None:
        return _by_pattern(folders, pattern, where)
    gallery = _of_gallery(folders)
    if gallery:
        return _told(gallery, where, "their folders' names")
    of_sites = _plates_by_sites(folders)
    if len(folders) < 2 or "" in folders or len(of_sites) == 1:
        return [Group("")]
    by_names = _by_names(folders)
    said = _said(folders, plates_said)
    if said is None:
        if by_names:
            return _told(by_names, where, "their folders' names")
        if of_sites:
            return [Group("", note=_side_by_side(of_sites, where))]
        sites = all(any(map(_holds_well, folder.split("/"))) for folder in folders)
        return [Group("", note="" if sites else _no_sign(folders, where))]
    named = sorted(set().union(*said.values()))
    apart = _apart(said, by_names)
    if len(apart) > 1:
        saying = {parent for folder, own in said.items() if own for parent in _with_parents(folder)}
        how = "Metadata_Plate of their image tables" if saying.issuperset(apart) else "their folders' names"
        return _told(apart, where, how)
    if len(named) == 1:
        note = f"{where}: {len(folders)} folders of tables, all of plate {named[0]} by Metadata_Plate"
        return [Group("", note=note if len(by_names) > 1 else "")]
    return [Group("", note=_side_by_side(named, where))]


def image_tables(files: Iterable[str]) -> Mapping[str, str]:
    """The image table of each folder that has one, by its path; names of files as `plates_among` takes them."""
    # Names of files that are no export's, such as IN Carta's, may say anything.
    with suppress(SourceFormatError):
        named = named_tables(files, USUAL, "")
        return {folder: tables[IMAGE] for folder, tables in named.items() if IMAGE in tables}
    return {}


def plates_in_table(data: bytes) -> frozenset[str]:
    """The plates that the beginning of an image table names."""
    lines = data.decode("latin-1").removeprefix("\xef\xbb\xbf").splitlines()
    head = next(iter(lines), "")
    delimiter = max(",;\t", key=head.count)
    records = csv.reader(lines, delimiter=delimiter)
    names = [name.strip().lower().removeprefix(f"{IMAGE}_".lower()) for name in next(records, [])]
    place = next((names.index(c.lower()) for c in PRESETS[CSV_PRESET].plate_columns if c.lower() in names), None)
    if place is None:
        return frozenset()
    found = {record[place].strip() for record in records if len(record) == len(names)}
    return frozenset(found - {"", "nan", "NaN"})


def _no_sign(folders: Sequence[str], where: str) -> str:
    return (
        f"{where}: {len(folders)} folders of tables are taken for sites of one plate; where they are of several, "
        "plate_pattern='{plate}/...' tells them apart"
    )


def _plates_by_sites(folders: Sequence[str]) -> list[str]:
    """The plates where all folders are called `<plate>-<well>-<site>`, nothing where not."""
    found = [FOLDER_OF_SITE.fullmatch(folder.rpartition("/")[2]) for folder in folders]
    return sorted({match["plate"] for match in found if match}) if all(found) else []


def _side_by_side(named: Sequence[str], where: str) -> str:
    told = f"{where}: folders of {len(named)} plates, such as {named[0]} and {named[1]}, lie side by side"
    return f"{told}: converted as one, whose rows Metadata_Plate tells apart"


def _folders_of_tables(files: Iterable[str]) -> list[str]:
    """The folders with files that are named for tables; where none is, with any that may be a plate's."""
    found = plate_files(files)
    tables = [file for file in found if may_be_table(file)] or found
    return sorted({file.rpartition("/")[0] for file in tables})


def _of_gallery(folders: Sequence[str]) -> list[str]:
    """The plates' folders where all tables are in or below `<plate>/analysis`; else nothing."""
    found = set()
    for folder in folders:
        levels = folder.split("/")
        places = [place for place, name in enumerate(levels) if place and name.lower() == _ANALYSIS]
        if not places:
            return []
        found.add("/".join(levels[: places[-1] + 1]))
    return sorted(found)


def _by_names(folders: Sequence[str]) -> list[str]:
    """The plates' folders by signs in names: the innermost ones with barcodes, or those around folders of wells."""
    depth = min(folder.count("/") + 1 for folder in folders)
    for level in reversed(range(depth)):
        if all(map(_is_barcode, _level(folders, level))):
            return _roots(folders, level)
    for level in range(depth - 1):
        around = zip(_level(folders, level), _level(folders, level + 1), strict=True)
        roots = _roots(folders, level)
        if len(roots) > 1 and all(_holds_well(inner) and outer.lower() not in _words(inner) for outer, inner in around):
            return roots
    return []


def _apart(said: Mapping[str, frozenset[str]], by_names: Sequence[str]) -> list[str]:
    """The folders that each hold all sites of one plate, as image tables name it; nothing where there are none such.

    A folder whose image tables name none is a plate by its own name, where the others are by theirs.
    """
    inside: dict[str, set[str]] = defaultdict(set)
    for folder, own in said.items():
        for parent in _with_parents(folder):
            inside[parent] |= own
    if by_names and _is_one_each([inside[root] or {f"{root}/"} for root in by_names]):
        return list(by_names)
    # The outermost folder with no other plate in it.
    roots = {next((p for p in _with_parents(folder) if inside[p] == own), "") for folder, own in said.items() if own}
    silent = [folder for folder, own in said.items() if not own and not roots & set(_with_parents(folder))]
    return [] if silent or not _is_one_each([inside[root] for root in roots]) else sorted(roots)


def _with_parents(folder: str) -> list[str]:
    """A folder after those that it lies in, outermost first."""
    levels = folder.split("/")
    return ["/".join(levels[: place + 1]) for place in range(len(levels))]


def _is_one_each(named: Sequence[set[str]]) -> bool:
    return all(len(own) == 1 for own in named) and len(set().union(*named)) == len(named)


def _said(folders: Sequence[str], plates_said: PlatesSaid) -> dict[str, frozenset[str]] | None:
    """What each folder's image table says; None where the first ones say nothing."""
    found = plates_said(folders[:_ASKED])
    if not any(found):
        return None
    return dict(zip(folders, [*found, *plates_said(folders[_ASKED:])], strict=True))


def folder_of_plate(pattern: str) -> str:
    """The part of a pattern that is of the plate's folder; what has no placeholder belongs to it, as in
    `{plate}/analysis/{site}`. Raises OptionError."""
    if "plate" not in template(text_in("plate_pattern", pattern, "'{plate}/{site}/...'")).names:
        refuse_without("{plate}", f"plate_pattern {pattern!r}", "{plate}/{site}/...")
    levels = _levels(pattern)
    last = max(place for place, level in enumerate(levels) if "{plate}" in level)
    while last + 1 < len(levels) and not template(levels[last + 1]).names:
        last += 1
    return "/".join(levels[: last + 1])


def _levels(pattern: str) -> list[str]:
    return pattern.strip("/").removesuffix(_REST).strip("/").split("/")


def _by_pattern(folders: Sequence[str], pattern: str, where: str) -> list[Group]:
    depth = folder_of_plate(pattern).count("/") + 1
    levels = _levels(pattern)
    wanted = template("/".join(levels))
    found: dict[str, str] = {}
    beside: dict[tuple[str, str], str] = {}
    for folder in folders:
        own = folder.split("/")
        match = wanted.match("/".join(own[: len(levels)]))
        if match is None:
            raise OptionError(f"plate_pattern {pattern!r} does not fit {folder or 'the tables directly'} in {where}")
        root = "/".join(own[:depth])
        found[root] = match["plate"]
        other = beside.setdefault((root.rpartition("/")[0], match["plate"]), root)
        if other != root:
            raise SourceFormatError(
                f"{where}: {other} and {root} are both of plate {match['plate']} by plate_pattern; "
                "move what is of one plate into a folder of its own"
            )
    how = f"told apart by plate_pattern {pattern!r}"
    return [Group(root, name, f"plate {name}: one of {len(found)} in {where} {how}") for root, name in found.items()]


def _told(roots: Sequence[str], where: str, how: str) -> list[Group]:
    several = len(roots) > 1
    return [Group(root, note=f"{root}: one of {len(roots)} plates in {where}, by {how}" * several) for root in roots]


def _level(folders: Sequence[str], level: int) -> list[str]:
    return [folder.split("/")[level] for folder in folders]


def _roots(folders: Sequence[str], level: int) -> list[str]:
    return sorted({"/".join(folder.split("/")[: level + 1]) for folder in folders})


def _words(name: str) -> list[str]:
    return re.split(r"[-_ .]+", name.lower())


def _holds_well(name: str) -> bool:
    return any(_WELL.fullmatch(word) for word in _words(name))


def _is_barcode(name: str) -> bool:
    """Whether a name looks like a plate's: `EC1`, `BR00117006`, `Plate 2`; no well's, and nobody's word for parts."""
    words = set(re.findall(r"[a-z]+", name.lower()))
    if _holds_well(name):
        return False
    return "plate" in words or (_BARCODE.search(name) is not None and not words & _NO_PLATE)
