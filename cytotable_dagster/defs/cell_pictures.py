"""What the assets of images show: counts, and pictures that are small enough for a page."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import (
    FILE,
    Crops,
    Provenance,
    crop_statuses,
    crops,
    extreme_cells,
    mosaic,
    plate_contrasts,
    png_of,
    save_crops,
    sheet_of,
    sites_of,
    status_picture,
    typical_cells,
)
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.reports.results import ProvenanceFacts
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.defs.image_files import ImageFiles
from cytotable_dagster.defs.metadata_values import as_sentence
from cytotable_dagster.defs.page_pictures import in_page

Metadata = dict[str, Any]

_MOST_SITES = 400
_TYPICAL, _EXTREMES, _ACROSS = 12, 4, 4
# Channels that make a picture by themselves.
_SHOWN = 3
_PREFERRED = ("dna", "dapi", "hoechst", "er", "agp", "actin", "mito")


def provenance_metadata(instance: dg.DagsterInstance, found: Provenance, facts: ProvenanceFacts) -> Metadata:
    """Counts by status, a picture of the plate, and what is wrong first."""
    counts = ", ".join(f"{count:,} {status}" for status, count in found.counts.items() if count)
    shown: Metadata = {"summary": as_sentence(f"{facts.rows:,} image files of {found.plate}: {counts or 'none'}")}
    if any(image.well is not None for image in found.images):
        picture = status_picture(found.images, f"{found.plate}: images by status")
        shown["plate"] = in_page(instance, png_of(picture), "the wells in the colour of the worst of their files")
    shown |= {"dagster/row_count": facts.rows, **found.counts, "path": _where(facts.path)}
    for place, note in enumerate(found.recorded.notes, start=1):
        shown[f"note {place}"] = note
    if found.problems:
        shown["first problem"] = found.problems[0]
    return shown


def cell_images_metadata(
    instance: dg.DagsterInstance,
    plate: str,
    folder: PlateFolder,
    place: Destination,
    image_files: ImageFiles,
    store: dict[str, Any],
) -> Metadata:
    """Pictures of a plate's cells, made here and kept beside its tables, and what became of their crops.

    Raises:
        OptionError, SourceNotFoundError: nobody knows of any image.
    """
    # Their own clients fetch what lies in the lake; images are read as plates are.
    table = os.fspath(folder.result(JOINED))
    files = os.fspath(place.path(FILE)) if place.find(FILE) else None
    cut = partial(crops, table, provenance=files, **store)
    everything = cut(limit=1)
    channels = shown_channels(everything.channels)
    typical = typical_cells(everything.table, _TYPICAL)
    ends = extreme_cells(everything.table, _EXTREMES)
    some = cut(rows=sorted({*typical, *(row for _, rows in ends for row in rows)}), channels=channels)
    contrasts = plate_contrasts(some)
    shown: Metadata = {"channels": ", ".join(everything.channels)}
    pictures = {}
    if len(some):
        pictures["typical cells"] = sheet_of(
            some, f"{plate}: cells nearest to the median of the plate", [("", typical)], contrasts, _ACROSS
        )
        pictures["extremes"] = sheet_of(some, f"{plate}: at the ends of features", ends, contrasts, _ACROSS)
    pictures["sites"] = mosaic(
        _few(sites_of(some)), channels, contrasts, some.open_, f"{plate}: sites in {', '.join(channels)}"
    )
    for name, picture in pictures.items():
        file = f"_about/{name.replace(' ', '_')}.png"
        png = png_of(picture)
        place.keep(png, file)
        shown[name] = in_page(instance, png, name)
        shown[f"{name}, file"] = _where(place.path(file))
    return {**shown, **_kept_crops(cut, place, image_files)}


def _few(sites: list[Any]) -> list[Any]:
    """All sites, or of a plate that has many one of each well: every image shown is read whole."""
    if len(sites) <= _MOST_SITES:
        return sites
    return list({well: (well, *rest) for well, *rest in reversed(sites)}.values())


def shown_channels(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Up to three channels that are seen well together."""

    def rank(name: str) -> int:
        plain = name.lower().removeprefix("orig")
        return next((place for place, part in enumerate(_PREFERRED) if plain.startswith(part)), len(_PREFERRED))

    return tuple(sorted(channels, key=rank)[:_SHOWN])


def _kept_crops(cut: Callable[..., Crops], place: Destination, image_files: ImageFiles) -> Metadata:
    """The sample of crops that is kept beside the tables, where it is asked for and can be."""
    per_well = image_files.crops_per_well()
    if per_well == 0:
        return {"crops": "none are kept; CYTOTABLE_CROPS_PER_WELL says how many cells of each well, or all"}
    own: dict[str, Any] = getattr(place, "store", Store()).options
    try:
        path = save_crops(made := cut(per_well=per_well), place.address("cell_images.lance"), overwrite=True, **own)
    except OptionError as error:
        return {"crops": str(error)}
    counts = crop_statuses(path, **own)
    return {
        "crops": len(made),
        "dataset": _where(path),
        **{f"crops: {status}": count for status, count in counts.items()},
    }


def _where(path: Any) -> dg.MetadataValue:
    return dg.MetadataValue.url(str(path)) if "://" in str(path) else dg.MetadataValue.path(str(path))
