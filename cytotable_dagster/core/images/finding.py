"""The provenance of plates by itself, without their tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cytotable_dagster.core.conversion.request import Request, sources_in
from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.images.provenance import FILE, Provenance, provenance_of_plates, write_provenance
from cytotable_dagster.core.images.search import Rules, Search
from cytotable_dagster.core.model.choices import EXISTS
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.planning.options import check_flag
from cytotable_dagster.core.reports.results import ProvenanceFacts
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.store import check_keywords
from cytotable_dagster.core.storage.store_destination import destination_of
from cytotable_dagster.core.support.arguments import address_in
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.publication import exists_already
from cytotable_dagster.core.support.telling import Progress, watched


@errors_of_machine()
def find_provenance(
    source_path: str | Path | Iterable[str | Path],
    dest_path: str | Path,
    source_datatype: str | None = None,
    preset: str | Preset | None = None,
    *,
    image_dir: str | Path | None = None,
    mask_dir: str | Path | None = None,
    outline_dir: str | Path | None = None,
    segmentation_file_regex: Mapping[str, str] | None = None,
    path_rules: Rules = None,
    load_data: str | Path | None = None,
    verify: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    decimal: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **cloud: Any,
) -> ProvenanceFacts:
    """Write `_about/provenance.parquet` of plates into a folder or prefix, as `convert(..., provenance=True)` does.

    Raises:
        SourceFormatError: no plate names an image.
        CytoTableError: see `convert`; nothing is left behind half-written.
    """
    check_keywords(find_provenance, cloud)
    request = Request.checked(
        source_datatype=source_datatype,
        preset=preset,
        encoding=encoding,
        delimiter=delimiter,
        decimal=decimal,
        progress=progress,
        cloud=cloud,
    )
    search = Search.checked(
        image_dir=image_dir,
        mask_dir=mask_dir,
        outline_dir=outline_dir,
        segmentation_file_regex=segmentation_file_regex,
        path_rules=path_rules,
        load_data=load_data,
        verify=EXISTS if verify is None else verify,
        cache=request.cache,
    )
    check_flag("overwrite", overwrite)
    plates = request.plates_at(sources_in(source_path))
    place = destination_of(address_in("dest_path", dest_path), request.dest_store)
    with watched(progress), place.writing(file_by_file=True):
        if place.exists(FILE) and not overwrite:
            raise exists_already(place.address(FILE))
        found = provenance_of_plates(plates, search, request)
        if not any(one.images for one in found):
            notes = "; ".join(dict.fromkeys(note for one in found for note in one.recorded.notes))
            raise SourceFormatError(f"{notes or 'no image is named'}; nothing was written")
        return put_provenance(found, place)


def put_provenance(found: Sequence[Provenance], place: Destination) -> ProvenanceFacts:
    """Put the provenance of plates among what tells about the tables of a destination, in place of any there."""
    with place.scratch() as scratch:
        rows = write_provenance(found, scratch / "provenance.parquet")
        place.put(scratch / "provenance.parquet", FILE)
    counts: Counter[str] = sum((Counter(one.counts) for one in found), Counter())
    return ProvenanceFacts(place.path(FILE), rows, counts, "\n".join(map(str, found)))
