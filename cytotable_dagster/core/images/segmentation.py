"""Masks and outlines that no table names: files of a folder called after their images, as CytoTable finds them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from cytotable_dagster.core.images.folder import Folder, Listed
from cytotable_dagster.core.images.image import AMBIGUOUS, BY_NAME, BY_REGEX, Image, plates_of
from cytotable_dagster.core.images.paths import folder_and_name, joined, names, parts_of, plain


def segmentations(
    images: Iterable[Image], folder: Folder, kind: str, patterns: Sequence[tuple[str, str]], plate: str
) -> list[Image]:
    """The masks or outlines of images, one row for each image that has any; its channel is the image's.

    Without patterns, a file of the image's name, whatever the ending; with them, the first pair whose second pattern
    finds something in the image's name, and a file that the first finds, whose name has one of the groups in it or the
    image's own name.
    """
    listed = folder.all()
    stems: dict[str, list[tuple[str, Listed]]] = {}
    for below, file in listed:
        stems.setdefault(_stem(file.uri), []).append((below, file))
    found = []
    for image in images:
        fitting = _by_patterns(image, listed, patterns) if patterns else stems.get(_stem(_recorded(image)), [])
        fitting = _of_plates(fitting, plates_of(image, plate))
        if fitting:
            found.append(_row(image, fitting, kind, BY_REGEX if patterns else BY_NAME, folder.root))
    return found


def _by_patterns(
    image: Image, listed: Sequence[tuple[str, Listed]], patterns: Sequence[tuple[str, str]]
) -> list[tuple[str, Listed]]:
    recorded = _recorded(image)
    for of_file, of_image in patterns:
        match = re.search(of_image, recorded)
        if match is None:
            continue
        marks = [group.lower() for group in match.groups() if group and group.strip()]
        marks += [_stem(address).lower() for address in (recorded, image.uri) if address]
        fitting = [
            (below, file)
            for below, file in listed
            if re.search(of_file, folder_and_name(file.uri)[1])
            and any(mark in _stem(file.uri).lower() for mark in marks)
        ]
        if fitting:
            return fitting
    return []


def _of_plates(fitting: Sequence[tuple[str, Listed]], plates: Sequence[str]) -> list[tuple[str, Listed]]:
    """Of files in several folders those in folders that name the plate, if any do."""
    own = [(below, file) for below, file in fitting if names(plates, parts_of(below))]
    return own if own and len({below for below, _ in fitting}) > 1 else list(fitting)


def _row(image: Image, fitting: Sequence[tuple[str, Listed]], kind: str, found: str, root: str) -> Image:
    row = replace(
        image, kind=kind, file=None, path=None, url=None, recorded_md5=None, uri=None, found=None, size=None,
        etag=None, md5=None, status=None, detail=None,
    )  # fmt: skip
    # CytoTable takes the first by name; of one folder it is the plate's whichever it is.
    if len({below for below, _ in fitting}) > 1:
        why = f"{len(fitting)} files in several folders of {root} fit {_recorded(image)}"
        return replace(row, status=AMBIGUOUS, detail=f"{why}; name the plate's folder")
    file = min((file for _, file in fitting), key=lambda file: file.uri)
    return replace(row, uri=file.uri, found=found, size=file.size, etag=file.etag)


def _recorded(image: Image) -> str:
    return joined(image.path, image.file) or plain(image.url or "")


def _stem(address: str) -> str:
    return PurePosixPath(folder_and_name(address)[1]).stem
