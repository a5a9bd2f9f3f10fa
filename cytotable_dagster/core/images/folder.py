"""The files of a folder or prefix, and which of them is the one that a table of another machine names.

A recorded folder is matched as a whole: of the folders here that have files of those names, it is the one whose path
has most names in common with it, counted from the end. So no single file is taken from another plate for being missing
on its own. Names alone decide only where they are of one file, and never against the plate's name.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytotable_dagster.core.errors import OptionError, SourceNotFoundError
from cytotable_dagster.core.images.image import BY_NAME, BY_PATH
from cytotable_dagster.core.images.paths import folder_and_name, names, parts_of, plain
from cytotable_dagster.core.storage.address import is_remote
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.written_paths import expanded

_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".jpg", ".jpeg", ".bmp", ".flex", ".c01", ".dib", ".npz")


@dataclass(frozen=True)
class Listed:
    """A file that is there; size and ETag where a listing told them."""

    uri: str
    size: int | None = None
    etag: str | None = None


@dataclass(frozen=True)
class Match:
    """What a recorded file is here: a file and how it was found, or in a line why none."""

    file: Listed | None = None
    found: str | None = None
    detail: str | None = None
    ambiguous: bool = False


@dataclass(frozen=True)
class Folder:
    """All images below a folder or prefix: folder below it (`` is itself) -> name -> file."""

    root: str
    files: Mapping[str, Mapping[str, Listed]]
    by_name: Mapping[str, Sequence[str]] = field(repr=False)

    def all(self) -> list[tuple[str, Listed]]:
        """Folder and file of each, by name."""
        found = [(folder, name, file) for folder, own in self.files.items() for name, file in own.items()]
        return [(folder, file) for folder, _, file in sorted(found, key=lambda item: (item[1], item[0]))]

    def match(self, recorded: str, wanted: Iterable[str], plates: Sequence[str]) -> dict[str, Match]:
        """The files of one recorded folder, a plain path, by their names."""
        wanted = sorted(set(wanted))
        ranked = self._ranked(recorded, wanted, plates)
        best = max(ranked.values(), default=0)
        if not best:
            return {name: self._by_name(name, recorded, plates) for name in wanted}
        chosen = [folder for folder, rank in ranked.items() if rank == best]
        of_plate = [folder for folder in chosen if names(plates, parts_of(folder))]
        chosen = of_plate if len(of_plate) == 1 else chosen
        if len(chosen) > 1:
            shown = " and ".join(self._address(folder) for folder in sorted(chosen)[:2])
            why = f"{shown} fit {recorded or 'it'} alike; give a folder further down as image_dir="
            return {
                name: Match(detail=why, ambiguous=True) if self._have(chosen, name) else self._absent(name)
                for name in wanted
            }
        own = self.files[chosen[0]]
        return {
            name: Match(own[name], BY_PATH) if name in own else self._absent(name, self._address(chosen[0]))
            for name in wanted
        }

    def _ranked(self, recorded: str, wanted: Iterable[str], plates: Sequence[str]) -> dict[str, int]:
        """Folders that have one of the names, and how many names their paths share with the recorded one, from the
        end; those that are of another plate left out."""
        there = {folder for name in wanted for folder in self.by_name.get(name, ())}
        old = parts_of(recorded)
        return {folder: _in_common(old, self._parts(folder)) for folder in there if self._may_be(folder, old, plates)}

    def _by_name(self, name: str, recorded: str, plates: Sequence[str]) -> Match:
        there = [folder for folder in self.by_name.get(name, ()) if self._may_be(folder, parts_of(recorded), plates)]
        of_plate = [folder for folder in there if names(plates, parts_of(folder))]
        chosen = of_plate if len(of_plate) == 1 else there
        if len(chosen) == 1:
            return Match(self.files[chosen[0]][name], BY_NAME)
        if chosen:
            return Match(
                detail=f"{len(chosen)} files below {self.root} are called so, and none lies as {recorded or 'it'} does",
                ambiguous=True,
            )
        return self._absent(name)

    def _may_be(self, folder: str, old: tuple[str, ...], plates: Sequence[str]) -> bool:
        """Whether a folder here can be the recorded one: where that names the plate, this does, or says nothing else
        than that does."""
        new = parts_of(folder)
        if not names(plates, old) or names(plates, self._parts(folder)):
            return True
        return _in_common(old, new) == len(new)

    def _absent(self, name: str, where: str | None = None) -> Match:
        others = len(self.by_name.get(name, ()))
        if where is None and others:
            return Match(detail=f"below {self.root} only folders that do not name the plate have {name}")
        return Match(detail=f"no {name} in {where or self.root}")

    def _have(self, folders: Iterable[str], name: str) -> bool:
        return any(name in self.files[folder] for folder in folders)

    def _address(self, folder: str) -> str:
        return f"{self.root}/{folder}" if folder else self.root

    def _parts(self, folder: str) -> tuple[str, ...]:
        return (*parts_of(self.root), *parts_of(folder))


def _in_common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many names two paths share, counted from their ends."""
    count = 0
    for one, other in zip(reversed(old), reversed(new), strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count


def _files_below(root: str) -> Iterator[str]:
    """All files, also of folders elsewhere that are linked to, each once; no link leads around in a circle."""
    walked = [Path(root).resolve()]
    for folder, folders, files in os.walk(root, followlinks=True):
        yield from (f"{folder}/{name}" for name in files)
        for name in [name for name in folders if Path(folder, name).is_symlink()]:
            real = Path(folder, name).resolve()
            if any(real.is_relative_to(one) or one.is_relative_to(real) for one in walked):
                folders.remove(name)
            else:
                walked.append(real)


def folder_at(address: str, store: Store, what: str) -> Folder:
    """The images below a folder or prefix; hidden ones left out.

    Raises:
        OptionError: there is no such folder; the message says which option (`what`) named it.
        SourceAccessError, DownloadError: the store does not list it.
    """
    root = plain(address).rstrip("/")
    if is_remote(root):
        try:
            listed = [Listed(o.uri, o.size, o.md5 or o.etag) for o in store.objects_below(root)]
        except SourceNotFoundError as error:
            raise OptionError(f"{what}: {error}") from error
    else:
        root = str(Path(expanded(address, to_read=True)).absolute())
        if not Path(root).is_dir():
            raise OptionError(f"{what}: {root} is no folder; name one that is there, or a prefix of a store")
        listed = [Listed(path) for path in _files_below(root)]
    files: dict[str, dict[str, Listed]] = {}
    by_name: dict[str, list[str]] = {}
    for file in sorted(listed, key=lambda file: file.uri):
        folder, name = folder_and_name(file.uri)
        if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
            below = folder.removeprefix(root).strip("/")
            files.setdefault(below, {})[name] = file
            by_name.setdefault(name, []).append(below)
    return Folder(root, files, by_name)
