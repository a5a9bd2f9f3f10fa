"""Results as a warehouse of Iceberg tables, to which plates are added."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.errors import CytoTableError, DestinationExistsError, OptionError
from cytotable_dagster.core.images import CellImages, Search, open_cell_images
from cytotable_dagster.core.model.plate_names import plate_of
from cytotable_dagster.core.model.types import FileFacts
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.sinks.iceberg.catalog import (
    CROPS,
    DATABASE,
    PROFILES,
    SOURCE_IMAGES,
    begin,
    changed_together,
    check_package,
    is_warehouse,
    load_table,
    open_catalog,
    save_registry,
    table_names,
)
from cytotable_dagster.core.sinks.iceberg.images import put_images
from cytotable_dagster.core.sinks.iceberg.rows import box_columns, keys_of, profile_rows
from cytotable_dagster.core.sinks.iceberg.tables import Rows, drop_plate, plates_in, put_plate
from cytotable_dagster.core.sinks.iceberg.upkeep import clean
from cytotable_dagster.core.sinks.sink import Sink, Target
from cytotable_dagster.core.support.files import size_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog


@dataclass(frozen=True)
class IcebergSink(Sink):
    """The joined single cells as `profiles.joined_profiles`, and where images are named crops of them as
    `images.image_crops`; `source_images` adds those whole."""

    bbox_column_map: tuple[tuple[str, str], ...] = ()
    source_images: bool = False
    takes_images: ClassVar[bool] = True

    def joined(self, join: bool | None, joins: str | None, targets: str | Iterable[str] | None) -> bool | None:
        if join is False:
            raise OptionError("a warehouse is of the joined table: leave out join=False")
        return True

    def request(self, request: Request, search: Search | None) -> Request:
        check_package()
        if not request.options.one_file:
            raise OptionError("a warehouse has a file for each plate: leave out concat=False")
        if request.joins is not None:
            raise OptionError(
                "a warehouse is of the preset's join; convert to Parquet with joins=, and that to Iceberg"
            )
        if search is not None or request.column_map:
            raise OptionError("provenance=True and column_map=True are of Parquet tables; convert to Parquet for them")
        # Rows tell their plate by it, also where only one is converted at a time.
        numbered = True if request.add_tablenumber is None else request.add_tablenumber
        return replace(request, add_tablenumber=numbered, options=replace(request.options, one_file=False))

    def check(self, target: Target) -> None:
        self._check_images(target.search)
        clean(_root(target))

    def write(self, made: ConversionResult, target: Target, request: Request) -> ConversionResult:
        ((_, facts),) = made.files.items()
        root = _root(target)
        plates = dict(_by_plate(facts.path, made))
        if is_warehouse(root) and not target.overwrite:
            with open_catalog(root) as catalog:
                there = plates_in(load_table(catalog, PROFILES, root)) if catalog.table_exists(PROFILES) else {}
            if taken := sorted(there.keys() & plates.keys()):
                raise DestinationExistsError(
                    f"{root}: plate {taken[0]} is in the warehouse; replace it with overwrite=True"
                )
        own = self._plates(plates, target.search)
        with _nothing_left(root):
            with changed_together(root) as catalog:
                for plate in own:
                    target.claim.check()
                    self._put(catalog, plate, root)
            with open_catalog(root) as catalog:
                save_registry(root, catalog)
                table = load_table(catalog, PROFILES, root)
                rows = sum(file.record_count for files in plates_in(table).values() for file in files)
                columns = len(table.schema().fields)
        written = FileFacts(root, rows, columns, size_of(root), facts.seconds, facts.coercions)
        return replace(made, files={PROFILES: written})

    def _check_images(self, search: Search | None) -> None:
        """Raises OptionError: masks, outlines or whole images are asked for, and nothing says where images are."""
        asked = [
            name
            for name, value in (
                ("include_source_images", self.source_images),
                ("mask_dir", search and search.mask_dir),
                ("outline_dir", search and search.outline_dir),
            )
            if value
        ]
        if asked and not (search and search.says_where):
            raise OptionError(f"{asked[0]}= is of images; say where those are with image_dir=")

    def _put(self, catalog: "SqlCatalog", plate: "_Plate", root: Path) -> None:
        """Put a plate into all tables that it has rows of, and out of the others."""
        put_plate(catalog, PROFILES, plate.name, plate.profiles, root)
        new = {PROFILES}
        if plate.images is not None:
            put_images(catalog, plate.images, plate.box, plate.name, root, whole=self.source_images)
            new |= {CROPS, SOURCE_IMAGES} if self.source_images else {CROPS}
        for name in {*table_names(catalog)} - new:
            drop_plate(catalog, name, plate.name, root)

    def _plates(self, files: "dict[str, list[Path]]", search: Search | None) -> "list[_Plate]":
        """What there is of each plate."""
        import pyarrow.parquet as pq

        plates = []
        owners: dict[str, str] = {}
        for name, own in files.items():
            schema = pq.read_schema(own[0])
            box = box_columns(schema.names, dict(self.bbox_column_map))
            plate = _Plate(name, profile_rows(name, [partial(_opened, path) for path in own], schema, box), box)
            if search is not None and search.says_where:
                found = _images_of(plate, own, schema.names, search)
                for address in sorted(found.guessed):
                    if owners.setdefault(address, name) != name:
                        raise OptionError(
                            f"{address}: found for plates {owners[address]} and {name}; put {{plate}} into image_dir="
                        )
                plate = replace(plate, images=found)
            plates.append(plate)
        return plates


@dataclass(frozen=True)
class _Plate:
    """A plate on its way into a warehouse; `box` are the columns with the sides of its objects' boxes."""

    name: str
    profiles: Rows
    box: Mapping[str, str]
    images: CellImages | None = None


def _images_of(plate: _Plate, files: Sequence[Path], columns: Sequence[str], search: Search) -> CellImages:
    if not plate.box:
        raise OptionError(
            f"plate {plate.name}: no AreaShape_BoundingBox columns say what to crop; name them with bbox_column_map="
        )
    table = files[0] if len(files) == 1 else files[0].parent
    return open_cell_images(table, search.at_plate(plate.name), keys_of(columns), plate.box)


def _opened(path: Path) -> "pa.NativeFile":
    import pyarrow as pa

    return pa.OSFile(str(path))


@contextmanager
def _nothing_left(root: Path) -> Iterator[None]:
    """A folder for a warehouse; what failed has left none that was not there before."""
    new = begin(root)
    try:
        yield
    except BaseException:
        if new and not (root / DATABASE).exists():
            shutil.rmtree(root)
        else:
            with suppress(CytoTableError):
                clean(root)
        raise


def _root(target: Target) -> Path:
    return Path(target.place.path(target.name))


def _by_plate(folder: Path, made: ConversionResult) -> Iterator[tuple[str, list[Path]]]:
    """Each plate's files: of one plate its chunks, of several one for each."""
    files = sorted(folder.glob("*.parquet"))
    if len(made.sources) == 1:
        yield made.source.plate, files
    else:
        yield from ((plate_of(path.stem), [path]) for path in files)
