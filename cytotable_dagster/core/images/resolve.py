"""Where a plate's images are: by address, `load_data`, recorded path, path rule or folder, in this order."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cytotable_dagster.core.images.folder import Folder, Match, folder_at
from cytotable_dagster.core.images.image import (
    AMBIGUOUS,
    BY_LOAD_DATA,
    BY_NAME,
    BY_PATH,
    BY_RECORD,
    BY_RULE,
    BY_URL,
    IMAGE,
    MASK,
    OUTLINE,
    UNMAPPED,
    Image,
    Recorded,
    plates_of,
)
from cytotable_dagster.core.images.load_data import LoadData, beside, read_load_data
from cytotable_dagster.core.images.paths import folder_and_name, is_absolute, joined, leads_out, plain
from cytotable_dagster.core.images.search import Search
from cytotable_dagster.core.images.segmentation import segmentations
from cytotable_dagster.core.storage.address import PROVIDERS, is_remote, scheme_of

# A recorded folder, and what its plate is called.
_Folder = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Places:
    """What a plate's images are looked for in, opened once."""

    plate: str
    search: Search
    source_folder: Path | None
    load_data: LoadData | None
    images: Folder | None


def resolved(recorded: Recorded, source_uri: str, search: Search) -> list[Image]:
    """All images of a plate with the addresses of their files; those without have a status and say why.

    Args:
        source_uri: of the plate, beside which relative paths are looked for, and load_data in the gallery's layout.

    Raises:
        OptionError: a folder or file that the search names is not there.
        SourceAccessError, DownloadError: a store does not let it be read.
    """
    plate = recorded.plate
    if search.load_data is not None:
        load_data_uri = search.of_plate(search.load_data, plate)
    elif not (search.image_dir or search.rules):
        load_data_uri = beside(source_uri, search.cache.store)
    else:
        load_data_uri = None
    folder = search.of_plate(search.image_dir, plate)
    places = Places(
        plate=plate,
        search=search,
        source_folder=None if is_remote(source_uri) else _folder_of(Path(source_uri)),
        load_data=read_load_data(load_data_uri, search.cache) if load_data_uri else None,
        images=folder_at(folder, search.cache.store, "image_dir") if folder else None,
    )
    images = _with_load_data(recorded, places)
    images = [image if image.uri or image.status else _located(image, places) for image in images]
    images = _in_folder(images, places)
    images = _told_apart(images)
    return [*images, *_segmentations(images, search, plate)]


def _folder_of(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _with_load_data(recorded: Recorded, places: Places) -> list[Image]:
    """Images as the tables name them, and those that only load_data knows; what it says of files with an address in the
    tables does not count."""
    images = [_by_url(image, places) for image in recorded.images]
    if places.load_data is None:
        return images
    known: dict[tuple[object, ...], dict[tuple[str, str], int]] = {}
    for number, image in enumerate(images):
        known.setdefault(image.keys, {})[image.kind, image.channel] = number
    for site in recorded.sites:
        own = known.get(site.keys, {})
        for (kind, channel), addresses in places.load_data.of(site).items():
            place: int | None = own.get((kind, channel))
            folder, name = folder_and_name(addresses[0])
            image = (
                replace(site, kind=kind, channel=channel, file=name, path=folder) if place is None else images[place]
            )
            if image.uri is not None:
                continue
            if len(addresses) > 1:
                why = f"{places.load_data.uri} names {len(addresses)} files for it, {addresses[0]} and {addresses[1]}"
                image = replace(image, status=AMBIGUOUS, detail=why)
            elif (uri := _usable(addresses[0], places, image)) is not None:
                image = replace(image, uri=uri, found=BY_LOAD_DATA)
            if place is None:
                images.append(image)
            else:
                images[place] = image
    return images


def _by_url(image: Image, places: Places) -> Image:
    """An image with an address in a store: that, unless a path rule knows better."""
    address = plain(image.url) if image.url else ""
    if not is_remote(address):
        return image
    for rule in places.search.rules:
        if (target := rule.applied(address, places.plate)) is not None:
            return _by_rule(image, target)
    if scheme_of(address) in PROVIDERS:
        return replace(image, uri=address, found=BY_URL)
    if joined(image.path, image.file) is None:
        return replace(image, status=UNMAPPED, detail=f"{address}: no address of a store that is read here")
    return image


def _located(image: Image, places: Places) -> Image:
    """An image whose file lies where it was recorded, or where a path rule says."""
    recorded = list(dict.fromkeys(filter(None, (plain(image.url or ""), joined(image.path, image.file)))))
    for address in recorded:
        if (uri := _usable(address, places, image)) is not None:
            return replace(image, uri=uri, found=BY_URL if address == recorded[0] and image.url else BY_RECORD)
    for rule in places.search.rules:
        for address in recorded:
            if (target := rule.applied(address, places.plate)) is not None:
                return _by_rule(image, target)
    return image


def _by_rule(image: Image, target: str) -> Image:
    if leads_out(target):
        return replace(image, status=UNMAPPED, detail=f"{target}: leads out of the folder that the path rule names")
    return replace(image, uri=target, found=BY_RULE)


def _usable(address: str, places: Places, image: Image) -> str | None:
    """Where an address lies as it is: in a store, or on this machine, there or beside the plate."""
    if scheme_of(address) in PROVIDERS:
        return address
    if is_remote(address):
        return None
    path = Path(address)
    if not is_absolute(address):
        if places.source_folder is None or leads_out(address):
            return None
        path = places.source_folder / address
    return str(path) if _is_file(path) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _in_folder(images: list[Image], places: Places) -> list[Image]:
    """The rest by the folder that was given; what is nowhere says so."""
    if places.images is None:
        why = "not where it was recorded; tell where with path_rules=, image_dir= or load_data="
        return [replace(i, status=UNMAPPED, detail=why) if not (i.uri or i.status) else i for i in images]
    left: dict[_Folder, set[str]] = {}
    for image in images:
        if image.uri is None and image.status is None:
            folder, name = folder_and_name(recorded_at(image))
            left.setdefault((folder, plates_of(image, places.plate)), set()).add(name)
    matches = {key: places.images.match(key[0], wanted, key[1]) for key, wanted in left.items()}
    return [image if image.uri or image.status else _matched(image, matches, places.plate) for image in images]


def _matched(image: Image, matches: "Mapping[_Folder, Mapping[str, Match]]", plate: str) -> Image:
    folder, name = folder_and_name(recorded_at(image))
    match = matches[folder, plates_of(image, plate)][name]
    if match.file is None:
        return replace(image, status=AMBIGUOUS if match.ambiguous else UNMAPPED, detail=match.detail)
    file = match.file
    return replace(image, uri=file.uri, found=match.found, size=file.size, etag=file.etag)


def recorded_at(image: Image) -> str:
    """The plain address that the tables name for an image."""
    return joined(image.path, image.file) or plain(image.url or "")


def _told_apart(images: Iterable[Image]) -> list[Image]:
    """What was found for two that were recorded in different places, or are of two plates, is of at most one."""
    images = list(images)
    times = Counter(uri for uri, whose in {(image.uri, _whose(image)) for image in images} if whose is not None)
    return [
        replace(
            image,
            uri=None,
            status=AMBIGUOUS,
            detail=f"{image.uri}: found for {times[image.uri]} images that were recorded apart, in folders or plates",
        )
        if _whose(image) is not None and times[image.uri] > 1
        else image
        for image in images
    ]


def _whose(image: Image) -> str | None:
    """What tells an image from others where its file was guessed; None where it was not."""
    # One function of illumination may serve what a rule or load_data puts together.
    if image.found in (BY_PATH, BY_NAME) or (image.found == BY_RULE and image.kind == IMAGE):
        return recorded_at(image)
    return str(image.plate) if image.found == BY_LOAD_DATA and image.kind == IMAGE else None


def _segmentations(images: list[Image], search: Search, plate: str) -> list[Image]:
    """Masks and outlines out of the folders given for them, of images for which the tables name none of that name."""
    found: list[Image] = []
    there = {(image.keys, image.kind, image.channel) for image in images}
    of_images = [image for image in images if image.kind == IMAGE]
    for address, kind, option in ((search.outline_dir, OUTLINE, "outline_dir"), (search.mask_dir, MASK, "mask_dir")):
        if address is not None:
            folder = folder_at(search.of_plate(address, plate) or "", search.cache.store, option)
            made = segmentations(of_images, folder, kind, search.segmentation_file_regex, plate)
            found += [image for image in made if (image.keys, image.kind, image.channel) not in there]
    return found
