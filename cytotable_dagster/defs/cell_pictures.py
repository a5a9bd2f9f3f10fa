"""What the assets of images show: counts, and pictures that are small enough for a page."""

import base64
from collections import Counter
from typing import Any

import dagster as dg

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.images import (
    Provenance,
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
from cytotable_dagster.defs.image_files import ImageFiles

Metadata = dict[str, Any]

# Bytes of a picture on a page, which loads those of all materializations at once.
_PICTURE_BYTES = 48_000
_MOST_SITES = 400
_TYPICAL, _EXTREMES, _ACROSS = 12, 6, 6
# Channels that make a picture by themselves.
_SHOWN = 3
_PREFERRED = ("dna", "dapi", "hoechst", "er", "agp", "actin", "mito")


def provenance_metadata(found: Provenance, facts: ProvenanceFacts) -> Metadata:
    """Counts by status, a picture of the plate, and what is wrong first."""
    shown: Metadata = {
        "dagster/row_count": facts.rows,
        **found.counts,
        "path": _where(facts.path),
    }
    if any(image.well is not None for image in found.images):
        picture = status_picture(found.images, f"{found.plate}: images by status")
        shown["plate"] = _picture(picture, "the wells in the colour of the worst of their files")
    for place, note in enumerate(found.recorded.notes, start=1):
        shown[f"note {place}"] = note
    if found.problems:
        shown["first problem"] = found.problems[0]
    return shown


def cell_images_metadata(
    plate: str, folder: PlateFolder, place: Destination, image_files: ImageFiles, cloud: dict[str, Any]
) -> Metadata:
    """Pictures of a plate's cells, made here and kept beside its tables, and what became of their crops.

    Raises:
        OptionError, SourceNotFoundError: nobody knows of any image.
    """
    table = folder.address(JOINED)
    everything = crops(table, limit=1, **cloud)
    channels = shown_channels(everything.channels)
    typical = typical_cells(everything.table, _TYPICAL)
    ends = extreme_cells(everything.table, _EXTREMES)
    some = crops(table, rows=sorted({*typical, *(row for _, rows in ends for row in rows)}), channels=channels, **cloud)
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
        with place.create(file) as out:
            out.write(png_of(picture))
        shown[name] = _picture(picture, name)
        shown[f"{name}, file"] = _where(place.path(file))
    return {**shown, **_kept_crops(table, place, folder, image_files, cloud)}


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


def _kept_crops(
    table: str, place: Destination, folder: PlateFolder, image_files: ImageFiles, cloud: dict[str, Any]
) -> Metadata:
    """The sample of crops that is kept beside the tables, where it is asked for and can be."""
    per_well = image_files.crops_per_well()
    if per_well == 0:
        return {"crops": "none are kept; CYTOTABLE_CROPS_PER_WELL says how many cells of each well, or all"}
    if folder.store is not None:
        return {"crops": "none are kept, for the lake is in a store; see save_crops in docs/images.md"}
    made = crops(table, per_well=per_well, **cloud)
    try:
        path = save_crops(made, folder.path / "cell_images.lance", overwrite=True)
    except OptionError as error:
        return {"crops": str(error)}
    return {"crops": len(made), "dataset": dg.MetadataValue.path(path), **_statuses(path)}


def _statuses(path: Any) -> Metadata:
    import lance

    counts = Counter(lance.dataset(str(path)).to_table(columns=["status"])["status"].to_pylist())
    return {f"crops: {status}": count for status, count in counts.items()}


def _picture(picture: Any, words: str) -> dg.MarkdownMetadataValue:
    """A picture in a page: with fewer colours, then smaller, until it is small enough."""
    content = png_of(picture)
    for colours in (256, 128, 64, 32):
        if len(content) <= _PICTURE_BYTES:
            break
        content = png_of(picture, colours)
    while len(content) > _PICTURE_BYTES and picture.width > 200:
        picture = picture.resize((int(picture.width * 0.8), int(picture.height * 0.8)))
        content = png_of(picture, 128)
    return dg.MetadataValue.md(f"![{words}](data:image/png;base64,{base64.b64encode(content).decode()})")


def _where(path: Any) -> dg.MetadataValue:
    return dg.MetadataValue.url(str(path)) if "://" in str(path) else dg.MetadataValue.path(str(path))
