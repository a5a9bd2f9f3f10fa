"""Addresses with placeholders, and what is found at them: plates that are files, or folders of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.sources.naming import kind_of, plate_files
from cytotable_dagster.core.support.placeholders import Template, refuse_without, template


@dataclass(frozen=True)
class Found:
    """A plate's file, or its folder, whose address ends in `/`: `size` in bytes (of a folder's tables), `version`
    changes with the content, `modified` in seconds since 1970 by the store's clock, `places` what the placeholders of
    the pattern stand for; `marked` is False where a marker is wanted and is not there; `kind` is SQLite, CSV or NPZ."""

    uri: str
    size: int
    version: str
    modified: float
    places: Mapping[str, str]
    marked: bool = True
    kind: str = ""


@dataclass(frozen=True)
class FileBelow:
    """A file in a plate's folder, by its path below that; the rest as in `Found`."""

    name: str
    size: int
    version: str
    modified: float


@dataclass(frozen=True)
class Pattern:
    """Addresses with placeholders (see `support.placeholders`); `{plate}` must be among them.

    One that ends in `/` is of plates that are folders. `marker` is a name, or a glob, of a file in the plate's folder
    without which the plate is not whole; with `/` in it, of one below.
    """

    text: str
    marker: str | None = None

    def __post_init__(self) -> None:
        if "plate" not in self._template.names:
            refuse_without("{plate}", self.text, "s3://bucket/{batch}/{plate}/{plate}.sqlite")
        check_root(self._template)
        if not self.of_folders and self.marker:
            raise OptionError(f"{self.text}: a marker ({self.marker}) is for plates that are folders: end it in /")
        upper, lower = self._plate_levels
        if self.of_folders and not set(lower.names) <= set(upper.names):
            raise OptionError(f"{self.text}: a placeholder below the plate's folder; name that folder")

    @property
    def of_folders(self) -> bool:
        return self.text.endswith("/")

    @cached_property
    def root(self) -> str:
        """The folder before the first placeholder."""
        return self._template.literals[0].rpartition("/")[0] + "/"

    @cached_property
    def batch_levels(self) -> tuple[str, ...]:
        """The folders with or between placeholders, up to the one that names the plate."""
        levels = self.text[len(self.root) :].split("/")
        return tuple(levels[: next(i for i, level in enumerate(levels) if "{plate}" in level)])

    @cached_property
    def below(self) -> str:
        """What comes after the batch: the plate's own folders and file."""
        return "/".join(self.text[len(self.root) :].split("/")[len(self.batch_levels) :])

    def places(self, uri: str) -> dict[str, str] | None:
        """What the placeholders stand for in an address; None where it does not fit."""
        return self._template.match_visible(uri)

    def folder_at(self, address: str) -> str | None:
        """The plate's folder, given that with the plate's name, which may be above it; None where it does not fit."""
        upper, lower = self._plate_levels
        found = upper.match_visible(address)
        return None if found is None else f"{address}/{lower.filled(found)}"

    @cached_property
    def _plate_levels(self) -> tuple[Template, Template]:
        """The pattern up to the name of the level with the plate's name, and what is below that."""
        upper, _, lower = self.below.partition("/")
        return template(self.text[: len(self.text) - len(self.below)] + upper), template(lower)

    @cached_property
    def _template(self) -> Template:
        return template(self.text)


def plate_of_files(pattern: Pattern, uri: str, files: Sequence[FileBelow]) -> Found | None:
    """The plate that a folder with these files is; None where there are none.

    Its size, version and time are those of the files that are read when it is converted.
    """
    places = pattern.places(uri)
    if not files or places is None:
        return None
    wanted = set(plate_files(file.name for file in files))
    tables = sorted((file for file in files if file.name in wanted), key=lambda file: file.name)
    listed = "".join(f"{file.name}\n{file.size} {file.version}\n" for file in tables)
    return Found(
        uri,
        sum(file.size for file in tables),
        hashlib.sha256(listed.encode()).hexdigest()[:32],
        max(file.modified for file in tables or files),
        places,
        pattern.marker is None or any(_fits(file.name, pattern.marker) for file in files),
        kind_of(file.name for file in tables),
    )


def check_root(address: Template) -> None:
    """Refuse an address whose first level is not known; raises OptionError."""
    if address.names and "/" not in address.literals[0]:
        raise OptionError(f"{address}: a placeholder needs a folder before it")


def _fits(name: str, marker: str) -> bool:
    levels, wanted = name.split("/"), marker.split("/")
    return len(levels) == len(wanted) and all(map(fnmatchcase, levels, wanted))
