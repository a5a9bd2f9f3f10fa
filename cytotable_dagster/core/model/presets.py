"""Presets: named descriptions of source dialects. A preset is data; what it means is done elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cytotable_dagster.core.errors import PresetError, UnsafeNameError
from cytotable_dagster.core.model.types import SINGLE_CELLS, Link
from cytotable_dagster.core.support.files import WHERE_GIVEN, inside
from cytotable_dagster.core.support.suggestions import there_are

IMAGE = "Image"
# The tables that nearly every plate has.
USUAL = (IMAGE, "Cells", "Cytoplasm", "Nuclei")
# The key that tells equal ImageNumbers of several exports apart.
TABLE_NUMBER = "TableNumber"

# What the joined table has one row for, the first that is there.
BASE_ORDER = ("Cytoplasm", "Cells", "Nuclei")

# What of the image table goes into the joined table; the rest only with `image_features=True`.
IMAGE_COLUMNS = (
    r"(Image_)?Metadata_(Plate|Well|Site)",
    r"Image_(FileName|PathName|MD5Digest)_.*",
)


# What tables lie in: a SQLite file, or a folder of CSV or of NPZ files.
DATATYPES = ("sqlite", "csv", "npz", "parquet")


@dataclass(frozen=True)
class Preset:
    """A source dialect.

    `table`, `object_number` and `parent` are templates in which `{compartment}` stands for `Cells` and so on.
    `parent` is the column of `{compartment}` that holds the object number of its `{partner}`.
    `base_order` lists what the joined table has one row for, the first present; see `links.joined_by`.
    `image_columns` are regular expressions over column names of the result.
    """

    name: str
    table: str
    object_number: str
    identifying_columns: tuple[str, ...]
    table_number: str | None = None
    image_number: str = "ImageNumber"
    metadata: tuple[str, ...] = (IMAGE,)
    compartments: tuple[str, ...] = ("Cells", "Cytoplasm", "Nuclei")
    parent: str = "{compartment}_Parent_{partner}"
    base_order: tuple[str, ...] = BASE_ORDER
    image_columns: tuple[str, ...] = IMAGE_COLUMNS
    datatype: str = "sqlite"
    """What its tables lie in, one of `DATATYPES`."""
    prefix: bool = True
    """Whether columns get their compartment's name in front; without, identifying columns still get `Metadata_`."""
    named: bool = False
    """Whether columns are called as those of results already."""
    image_parts: tuple[str, ...] = ()
    """Columns that, with the file, tell the images apart where no column numbers them."""
    plate_columns: tuple[str, ...] = ("Metadata_Plate", "Metadata_Barcode")
    """Source columns that name the plate, the first that is there; in any case, with the compartment's name or not."""
    well_columns: tuple[str, ...] = ("Metadata_Well",)
    site_columns: tuple[str, ...] = ("Metadata_Site", "Metadata_Field")
    links: tuple[Link, ...] = field(default=(), metadata=WHERE_GIVEN)
    """Parents that `parent` does not tell of, by columns of other names; see `links`."""
    image_marker: str | None = None
    """Start of a column name of the image table by which detection tells dialects of equal tables apart."""
    object_table: str | None = None
    """The SQLite table that holds all objects of an image side by side (`Cells_AreaShape_Area`), where one does."""

    def __post_init__(self) -> None:
        """Raises UnsafeNameError: a table's name is no name for a file, or one that readers pass over, or the joined
        table's, in any case: some file systems take the two for one."""
        for name in (*self.metadata, *self.compartments):
            inside(Path(), name, f"compartment {name}")
            if "/" in name or name.startswith((".", "_")):
                raise UnsafeNameError(
                    f"compartment {name!r}: no file can be called so, or readers pass it over; rename it"
                )
            if name.casefold() == SINGLE_CELLS:
                raise UnsafeNameError(f"compartment {name!r}: the joined table is called so; rename it")

    def table_of(self, compartment: str) -> str:
        if self.object_table is not None and compartment != IMAGE:
            return self.object_table
        return self.table.format(compartment=compartment)

    @property
    def flat(self) -> bool:
        """Whether all files are one table, whatever their names."""
        return self.datatype != "sqlite" and "{compartment}" not in self.table

    def object_number_of(self, compartment: str) -> str | None:
        return None if compartment == IMAGE else self.object_number.format(compartment=compartment)

    def keys_of(self, compartment: str) -> tuple[str, ...]:
        """Source columns that identify a row: (TableNumber,) ImageNumber (, ObjectNumber)."""
        keys = (self.table_number, self.image_number, self.object_number_of(compartment))
        return tuple(key for key in keys if key is not None)

    def parents_of(self, compartment: str) -> dict[str, str]:
        """Partner -> the column of `compartment` that would hold its object number."""
        return {
            partner: self.parent.format(compartment=compartment, partner=partner)
            for partner in self.compartments
            if partner != compartment
        }

    def with_options(
        self,
        *,
        metadata: Iterable[str] | None = None,
        compartments: Iterable[str] | None = None,
        identifying_columns: Iterable[str] | None = None,
    ) -> "Preset":
        """This preset with other tables or identifying columns; PresetError where it has no place for them."""
        preset = self
        if metadata is not None:
            preset = replace(preset, metadata=tuple(map(compartment_name, metadata)))
            for name in set(preset.metadata) - {IMAGE}:
                raise PresetError(f"metadata: {name} is no table that describes images; there is: {IMAGE}")
        if compartments is not None:
            preset = replace(preset, compartments=tuple(map(compartment_name, compartments)))
        if identifying_columns is not None:
            preset = replace(preset, identifying_columns=tuple(identifying_columns))
        return preset

    def named_as(self, names: Iterable[str]) -> "Preset":
        """This preset with compartments called as these are, whatever the case; but for the usual ones."""
        found = {name.lower(): name for name in names}

        def known(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(name if name in USUAL else found.get(name.lower(), name) for name in names)

        def linked(link: Link) -> Link:
            child, parent = known((link.child, link.parent))
            return replace(link, child=child, parent=parent)

        return replace(
            self,
            compartments=known(self.compartments),
            base_order=known(self.base_order),
            links=tuple(map(linked, self.links)),
        )


def compartment_name(name: str) -> str:
    """A compartment as it is called here, given in any case."""
    usual = next((own for own in USUAL if own.lower() == name.lower()), None)
    return usual or name[:1].upper() + name[1:]


_EXPORT_TO_DATABASE = Preset(
    name="cellprofiler_sqlite",
    table="Per_{compartment}",
    object_number="{compartment}_Number_Object_Number",
    identifying_columns=("ImageNumber", "Metadata_Well", "Parent_Cells", "Parent_Nuclei"),
)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _EXPORT_TO_DATABASE,
        replace(
            _EXPORT_TO_DATABASE,
            name="cellprofiler_sqlite_pycytominer",
            identifying_columns=(
                *_EXPORT_TO_DATABASE.identifying_columns,
                "Cytoplasm_Parent_Cells",
                "Cytoplasm_Parent_Nuclei",
                "Cells_Number_Object_Number",
                "Nuclei_Number_Object_Number",
            ),
        ),
        Preset(
            name="cellprofiler_sqlite_cpg0016_jump",
            table="{compartment}",
            object_number="ObjectNumber",
            table_number=TABLE_NUMBER,
            identifying_columns=(
                "TableNumber",
                "ImageNumber",
                "ObjectNumber",
                "Metadata_Well",
                "Metadata_Plate",
                "Parent_Cells",
                "Parent_Nuclei",
            ),
            image_columns=(*IMAGE_COLUMNS, r"Image_Metadata_Row"),
        ),
        Preset(
            name="cell-health-cellprofiler-to-cytominer-database",
            table="{compartment}",
            object_number="ObjectNumber",
            table_number=TABLE_NUMBER,
            identifying_columns=(
                "TableNumber",
                "ImageNumber",
                "Metadata_Well",
                "Parent_Cells",
                "Parent_Nuclei",
                "Cytoplasm_Parent_Cells",
                "Cytoplasm_Parent_Nuclei",
                "Cells_ObjectNumber",
                "Nuclei_ObjectNumber",
            ),
            image_marker="Image_",
        ),
        Preset(
            name="cellprofiler_csv",
            datatype="csv",
            table="{compartment}",
            object_number="ObjectNumber",
            parent="Parent_{partner}",
            identifying_columns=(
                "ImageNumber",
                "ObjectNumber",
                "Metadata_Well",
                "Metadata_Plate",
                "Parent_Cells",
                "Parent_Nuclei",
            ),
        ),
        Preset(
            name="in-carta",
            datatype="csv",
            table="*.csv",
            object_number="OBJECT ID",
            identifying_columns=("ImageNumber",),
            image_parts=("Row", "Column", "FOV", "Z", "T"),
            plate_columns=("Plate ID",),
            well_columns=("WELL LABEL",),
            site_columns=("FOV",),
            metadata=(),
            compartments=("Cells",),
            prefix=False,
        ),
        Preset(
            name="deepprofiler",
            datatype="npz",
            table="*.npz",
            object_number="ObjectNumber",
            identifying_columns=("ImageNumber", "ObjectNumber"),
            metadata=(),
            compartments=("Cells",),
            prefix=False,
        ),
    )
}

DEFAULT = _EXPORT_TO_DATABASE
CSV_PRESET = "cellprofiler_csv"
FLAT_CSV_PRESET = "in-carta"
NPZ_PRESET = "deepprofiler"


def preset_named(name: str) -> Preset:
    """The preset of this name.

    Raises:
        PresetError: there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise PresetError(f"no preset is named {name!r}; {there_are(name, PRESETS)}")
    return PRESETS[name]
