"""Sites of a plate that were exported to a folder each: what tells them apart, and what their folders say of them."""

import filecmp
import gzip
import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytotable_dagster.core.errors import OptionError, SourceFormatError
from cytotable_dagster.core.model.names import PLATE, SITE, WELL
from cytotable_dagster.core.model.presets import IMAGE, Preset
from cytotable_dagster.core.sources.csv.exports import Export
from cytotable_dagster.core.sources.csv.names import FOLDER_OF_SITE
from cytotable_dagster.core.support.arguments import text_in
from cytotable_dagster.core.support.digests import crc32_of
from cytotable_dagster.core.support.placeholders import refuse_without, template

# The column that says from which folder of the plate's a row comes.
SOURCE_FOLDER = "Metadata_SourceFolder"
# How folders are called in the Cell Painting Gallery.
GALLERY = "{plate}-{well}-{site}"


@dataclass(frozen=True)
class Told:
    """What folders say of their sites: by export the values of columns, in text or as whole numbers; and the pattern
    that they fit, empty where they fit none, with a folder that does."""

    values: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    pattern: str = ""
    example: str = ""

    def note(self, used: Collection[str]) -> tuple[str, ...]:
        """What is to be told where these columns were used."""
        named = sorted(set(used) - {SOURCE_FOLDER})
        return (f"{', '.join(named)}: by the folders' names, {self.pattern}, as in {self.example}",) if named else ()


def told_by_folders(exports: Sequence[Export], root: Path, pattern: str | None) -> Told:
    """What folders say of the sites in them.

    Args:
        pattern: of the end of each folder's path, as in `{plate}-{well}-{site}` or `{well}/{site}`; None takes the
            gallery's, where all of several folders fit it.

    Raises:
        OptionError: a pattern without placeholders, or one that a folder does not fit.
    """
    found: dict[str, dict[str, str | int]] = {export.name: {} for export in exports}
    if len(exports) > 1:
        found = {export.name: {SOURCE_FOLDER: export.name} for export in exports}
    fitting = _fitting(exports, root, pattern)
    texts: dict[str, set[str]] = defaultdict(set)
    for values in fitting.values():
        for name, text in values.items():
            texts[name].add(text)
    # As any column of a CSV file: numbers, where none of them says less than its text. Plates are called as others are.
    numbers = {name for name, own in texts.items() if name != PLATE and all(map(_is_whole, own))}
    for export, values in fitting.items():
        found[export].update({name: int(text) if name in numbers else text for name, text in values.items()})
    return Told(found, (pattern or GALLERY) if fitting else "", next(iter(fitting), ""))


def check_site_pattern(pattern: str | None) -> None:
    """Refuse a pattern that says nothing; raises OptionError."""
    if pattern is not None and not template(text_in("site_pattern", pattern, f"'{GALLERY}'")).names:
        refuse_without("placeholder", f"site_pattern {pattern!r}", GALLERY)


def columns_told(told: Told, preset: Preset, headers: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Those of the columns that folders tell which the plate's own tables do not have.

    Args:
        headers: by table, the columns that any of its files has.
    """
    own = headers.get(IMAGE) or [name for names in headers.values() for name in names]
    there = {name.lower() for name in own} | {name.lower().removeprefix("image_") for name in own}
    names = dict.fromkeys(name for values in told.values.values() for name in values)
    same = {PLATE: preset.plate_columns, WELL: preset.well_columns, SITE: preset.site_columns}
    return tuple(name for name in names if not there & {like.lower() for like in (name, *same.get(name, ()))})


def table_numbers(exports: Sequence[Export], where: str, *, keep_equal: bool) -> tuple[dict[str, int], tuple[str, ...]]:
    """By export the CRC-32 of its image table (of another, where it has none), and what is to be told of them.

    Where two would be equal, the exports' names tell them apart.

    Args:
        keep_equal: whether sites whose image tables are equal to the byte are taken for several.

    Raises:
        SourceFormatError: two are equal, and not to be kept.
    """
    files = {export.name: _image_or_other(export) for export in exports}
    numbers = {name: crc32_of(file) for name, file in files.items()}
    if not keep_equal and len(exports) > 1:
        _refuse_copies(files, numbers, where)
    values = list(numbers.values())
    repeated = {name for name, number in numbers.items() if values.count(number) > 1} if _repeats(values) else set()
    for name in repeated:
        numbers[name] = zlib.crc32(name.encode(), numbers[name])
    if _repeats(list(numbers.values())):
        raise SourceFormatError("two exports of the plate have equal TableNumbers; rename a folder of one")
    if not repeated:
        return numbers, ()
    return numbers, (f"{len(repeated)} sites have equal image tables: their TableNumber is of their folder's name too",)


def _image_or_other(export: Export) -> Path:
    image = export.files.get(IMAGE)
    return image if image and image.stat().st_size else (*export.files.values(), *export.side_by_side)[0]


def _refuse_copies(files: Mapping[str, Path], numbers: Mapping[str, int], where: str) -> None:
    alike: dict[tuple[int, int], str] = {}
    for name, file in files.items():
        other = alike.setdefault(_content_key(file, numbers[name]), name)
        if other != name and _are_equal(files[other], file) and _has_rows(file):
            raise SourceFormatError(
                f"{where}: {other} and {name} have image tables that are equal to the byte, as copies have; move one "
                "elsewhere, or pass equal_sites='keep' where they are two sites"
            )


def _content_key(file: Path, crc32: int) -> tuple[int, int]:
    """CRC-32 and length of what is in a file, which a packed one ends in: https://www.rfc-editor.org/rfc/rfc1952."""
    if not _is_packed(file):
        return crc32, file.stat().st_size & 0xFFFFFFFF
    end = file.read_bytes()[-8:]
    return int.from_bytes(end[:4], "little"), int.from_bytes(end[4:], "little")


def _are_equal(one: Path, other: Path) -> bool:
    if _is_packed(one) or _is_packed(other):
        return _content(one) == _content(other)
    return filecmp.cmp(one, other, shallow=False)


def _has_rows(file: Path) -> bool:
    return sum(1 for line in _content(file).splitlines() if line.strip()) > 1


def _is_packed(file: Path) -> bool:
    return file.suffix.lower() == ".gz"


def _content(file: Path) -> bytes:
    data = file.read_bytes()
    try:
        return gzip.decompress(data) if _is_packed(file) else data
    except (OSError, EOFError, zlib.error):
        # Whoever reads it will say so.
        return data


def _fitting(exports: Sequence[Export], root: Path, pattern: str | None) -> dict[str, dict[str, str]]:
    """By export, what the placeholders of the pattern stand for, as columns."""
    found = {}
    wanted = template(pattern.strip("/")) if pattern is not None else None
    depth = pattern.strip("/").count("/") + 1 if pattern is not None else 1
    place = (root if root.is_dir() else root.parent).absolute()
    for export in exports:
        folder = "/".join((place / export.name).parts[-depth:])
        match = wanted.match(folder) if wanted else _of_gallery(folder)
        if match is not None:
            found[export.name] = {f"Metadata_{n[:1].upper()}{n[1:]}": text for n, text in match.items()}
        elif pattern is None:
            return {}
        else:
            raise OptionError(f"{root}: folder {folder} does not fit site_pattern {pattern!r}; change it")
    return found


def _of_gallery(folder: str) -> dict[str, str] | None:
    found = FOLDER_OF_SITE.fullmatch(folder)
    return found and found.groupdict()


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _repeats(values: list[int]) -> bool:
    return len(set(values)) < len(values)
