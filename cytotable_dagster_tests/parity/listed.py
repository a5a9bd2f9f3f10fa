"""The differences from CytoTable 1.2.6 that are meant; docs/differences-from-cytotable.md explains each to users.

An entry covers no more than it says, and the tests fail where one is no longer needed.
"""

import datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP
from cytotable_dagster_tests.parity.cases import CSV, IN_CARTA, NPZ, PYCYTOMINER
from cytotable_dagster_tests.parity.compare import Listed

OBJECTS = "(Cells|Cytoplasm|Nuclei)"
COMPARTMENTS = "(Image|Cells|Cytoplasm|Nuclei)"
JOINED = "single_cells"
INNER = f"({EXPORT}|{PYCYTOMINER}|{CYTOMINER})"
NO_QUERY = "((?!-joins-).)*"
"""Cases whose joined table is a preset's, not a query's."""


def _sites_mixed(theirs: pa.Table) -> pa.ChunkedArray:
    """Rows that put together objects of images with different TableNumbers."""
    numbers = [theirs[name] for name in theirs.column_names if name.endswith("_TableNumber")]
    return reduce(pc.or_, [pc.fill_null(pc.not_equal(numbers[0], number), False) for number in numbers[1:]])


def _no_image_number(theirs: pa.Table) -> pa.ChunkedArray:
    return theirs["Metadata_ImageNumber"].is_null()


def _no_image(ours: pa.Table) -> pa.ChunkedArray:
    return ours["Image_FileName_OrigDNA"].is_null()


def _no_partner(ours: pa.Table) -> pa.ChunkedArray:
    """Rows without cell or nucleus: no measure of it is there."""
    measures = [[name for name in ours.column_names if name.startswith(f"{c}_")] for c in ("Cells", "Nuclei")]
    missing = [reduce(pc.and_, [ours[name].is_null() for name in names]) for names in measures]
    return pc.or_(*missing)


def _of_the_site_without_image(ours: pa.Table) -> pa.ChunkedArray:
    return pc.equal(ours["Metadata_ImageNumber"], 3011)


LISTED: tuple[Listed, ...] = (
    # Names
    Listed("file-names", "file name"),
    Listed("footer", "footer"),
    Listed(
        "tablenumber-is-a-key",
        "renamed",
        preset=JUMP,
        table=COMPARTMENTS,
        column=f"{COMPARTMENTS}_TableNumber",
        becomes="Metadata_TableNumber",
    ),
    Listed(
        "tablenumber-is-a-key",
        "renamed",
        preset=JUMP,
        table=JOINED,
        column="Cytoplasm_TableNumber",
        becomes="Metadata_TableNumber",
    ),
    Listed(
        "tablenumber-is-a-key",
        "renamed",
        preset=CSV,
        table=COMPARTMENTS,
        column=f"{COMPARTMENTS}_TableNumber",
        becomes="Metadata_TableNumber",
    ),
    Listed("tablenumber-is-a-key", "dropped", preset=JUMP, table=JOINED, column="(Image|Cells|Nuclei)_TableNumber"),
    Listed(
        "add-tablenumber",
        "renamed",
        case=".*-add_tablenumber-.*",
        preset=EXPORT,
        table=COMPARTMENTS,
        column=f"{COMPARTMENTS}_TableNumber",
        becomes="Metadata_TableNumber",
    ),
    Listed(
        "add-tablenumber",
        "renamed",
        case=".*-add_tablenumber-.*",
        preset=EXPORT,
        table=JOINED,
        column="Cytoplasm_TableNumber",
        becomes="Metadata_TableNumber",
    ),
    Listed(
        "add-tablenumber",
        "dropped",
        case=".*-add_tablenumber-.*",
        preset=EXPORT,
        table=JOINED,
        column="(Cells|Nuclei)_TableNumber",
    ),
    Listed(
        "add-tablenumber",
        "fails",
        case=".*-add_tablenumber-.*",
        preset=JUMP,
        column=r"ArrowInvalid: Multiple matches for FieldRef.Name\(TableNumber\).*",
    ),
    Listed(
        "partner-object-numbers",
        "renamed",
        preset=JUMP,
        table=JOINED,
        column="Metadata_ObjectNumber_1",
        becomes="Metadata_Cells_ObjectNumber",
    ),
    Listed(
        "partner-object-numbers",
        "renamed",
        preset=JUMP,
        table=JOINED,
        column="Metadata_ObjectNumber_2",
        becomes="Metadata_Nuclei_ObjectNumber",
    ),
    Listed(
        "partner-object-numbers",
        "added",
        preset=CSV,
        table=JOINED,
        column="Metadata_(Cells|Nuclei)_ObjectNumber",
    ),
    Listed("image-columns", "added", table=JOINED, column="Image_(PathName|MD5Digest)_.+"),
    Listed("image-columns", "added", preset=INNER, table=JOINED, column="Image_Metadata_Site"),
    Listed("source-folder", "added", preset=CSV, column="Metadata_SourceFolder"),
    Listed("rows-have-keys", "added", preset=IN_CARTA, column="Metadata_(ImageNumber|CSVSource)"),
    Listed("rows-have-keys", "added", preset=NPZ, column="Metadata_(Image|Object)Number"),
    Listed("columns-kept", "added", case="differing_columns-.*", column="(Cells|Nuclei) Area .*"),
    Listed("no-tablenumber", "dropped", preset=NPZ, column="Metadata_TableNumber"),
    # Order
    Listed("row-order", "row order"),
    Listed(
        "column-order",
        "column order",
        table=JOINED,
        column="Metadata_(TableNumber|ObjectNumber|Cells_ObjectNumber|Nuclei_ObjectNumber)",
    ),
    # Rows of the joined table
    Listed("image-number-kept", "their rows", case=f".*_orphans-{NO_QUERY}", table=JOINED, rows=_no_image_number),
    Listed("image-number-kept", "our rows", case=f".*_orphans-{NO_QUERY}", table=JOINED, rows=_no_image),
    Listed("cytoplasm-kept", "our rows", case=NO_QUERY, preset=INNER, table=JOINED, rows=_no_partner),
    Listed("sites-not-mixed", "their rows", preset=JUMP, table=JOINED, rows=_sites_mixed),
    Listed("site-without-image-kept", "our rows", case="data_b_csv-.*", rows=_of_the_site_without_image),
    # Types and values
    Listed("yes-is-text", "type", preset=IN_CARTA, column="Slice Indicator"),
    Listed(
        "yes-is-text",
        "values",
        preset=IN_CARTA,
        column="Slice Indicator",
        allows=lambda theirs, ours: theirs is True and ours == "Yes",
    ),
    Listed(
        "nan-is-missing",
        "values",
        case="(sites|data_b_csv)-.*",
        column="efficientnet_4|Cells_AreaShape_Compactness",
        allows=lambda theirs, ours: theirs != theirs and ours is None,
    ),
    Listed("text-of-numbers", "type", case="nf1-.*", column="Image_Metadata_(Frame|Series|Site)"),
    Listed(
        "text-of-numbers",
        "values",
        case="nf1-.*",
        column="Image_Metadata_(Frame|Series|Site)",
        allows=lambda theirs, ours: isinstance(theirs, str) and theirs == str(ours),
    ),
    Listed("text-tablenumber", "type", preset=CYTOMINER, column="Metadata_TableNumber"),
    Listed("reals-kept", "type", case="mixed-.*", column="Cells_Real_In_Bigint"),
    Listed(
        "reals-kept",
        "values",
        case="mixed-.*",
        column="Cells_Real_In_Bigint",
        allows=lambda theirs, ours: theirs is None and isinstance(ours, float) and not ours.is_integer(),
    ),
    Listed(
        "infinities-kept",
        "values",
        case="mixed-.*",
        column="Cells_Inf_In_Float",
        allows=lambda theirs, ours: theirs is None and ours == float("inf"),
    ),
    Listed("text-kept", "type", case="mixed-.*", column="Cells_Text_In_Datetime"),
    Listed(
        "text-kept",
        "values",
        case="mixed-.*",
        column="Cells_Text_In_Datetime",
        allows=lambda theirs, ours: theirs is None and isinstance(ours, str),
    ),
    Listed("keys-are-int64", "type", case=".*-int32-.*", column=".*(ImageNumber|Object_Number|_Parent_.*)"),
    Listed("dates-are-text", "type", case="declared-.*", column="Cells_Kind_(DATE|TIMESTAMP)"),
    Listed(
        "dates-are-text",
        "values",
        case="declared-.*",
        column="Cells_Kind_(DATE|TIMESTAMP)",
        allows=lambda theirs, ours: isinstance(theirs, datetime.date) and str(theirs) == ours,
    ),
    Listed("undeclared-numbers", "type", case="declared-.*", column="Cells_Kind_"),
    Listed(
        "undeclared-numbers",
        "values",
        case="declared-.*",
        column="Cells_Kind_",
        allows=lambda theirs, ours: isinstance(theirs, bytes) and float(theirs) == ours,
    ),
    # Where one of the two ends with an error
    Listed("repeated-keys", "refuses", case="repeated_keys-.*", column="KeyColumnError: .*: Nuclei: .*"),
    Listed(
        "image-columns-missing",
        "fails",
        case="(data_b|data_b_csv|no_file_names)-.*",
        table=JOINED,
        column=r'BinderException: .*No matching columns found that match regex "Image_FileName_.*',
    ),
    Listed(
        "image-columns-missing",
        "fails",
        case="no_row-.*",
        table=JOINED,
        column='BinderException: .*Table "image" does not have a column named "Image_Metadata_Row".*',
    ),
    Listed(
        "compartment-missing",
        "fails",
        case="no_cells-.*",
        table=JOINED,
        column='IOException: .*No files found that match the pattern "cells.parquet".*',
    ),
    Listed("empty-compartment", "fails", case="empty_cells-.*", column="IndexError: list index out of range"),
    Listed(
        "text-plate",
        "fails",
        case="text-.*",
        column="BinderException: .*Cannot mix values of type VARCHAR and INTEGER_LITERAL.*",
    ),
    Listed(
        "varchar-and-mixed-types",
        "fails",
        case="varchar-.*",
        column=r"DatatypeException: Unable to find SQLite data type synonym for varchar\(128\).*",
    ),
    Listed(
        "too-large-is-missing",
        "fails",
        case="large-.*",
        column=r"ConversionException: .*Type DOUBLE with value 1e\+39 can't be cast because the value is out of range.*",
    ),
    Listed("one-table-joined", "fails", preset=IN_CARTA, table=JOINED, column="CytoTableException: When using join=.*"),
    Listed("one-table-joined", "fails", preset=NPZ, table=JOINED, column=r"ParserException: .*FROM \(\) ORDER BY.*"),
    Listed("views", "fails", case="views-.*", column="NoInputDataException: No input data to process at path.*"),
    Listed("tables-by-whole-name", "their table", case="more_tables-.*", table="per_filteredcells"),
)
