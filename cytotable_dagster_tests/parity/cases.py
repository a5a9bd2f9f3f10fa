"""The conversions that both tools do, with the same arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP

PYCYTOMINER = "cellprofiler_sqlite_pycytominer"
CSV = "cellprofiler_csv"
IN_CARTA = "in-carta"
NPZ = "deepprofiler"

LARGE, SOME, SMALL = 30_000, 100, 7
"""Objects a chunk: all at once; a few chunks of ours, against CytoTable's all at once; in both, so few that every table
of a small plate is in many chunks."""

# Of a plate of the cytominer dialect whose image table names no files.
CYTOMINER_JOIN = """
    SELECT image.Image_Metadata_Plate, image.Metadata_Well, cytoplasm.*,
        cells.* EXCLUDE (Metadata_TableNumber, Metadata_ImageNumber),
        nuclei.* EXCLUDE (Metadata_TableNumber, Metadata_ImageNumber)
    FROM read_parquet('cytoplasm.parquet') AS cytoplasm
    LEFT JOIN read_parquet('image.parquet') AS image USING (Metadata_TableNumber, Metadata_ImageNumber)
    LEFT JOIN read_parquet('cells.parquet') AS cells
        ON cells.Metadata_TableNumber = cytoplasm.Metadata_TableNumber
        AND cells.Metadata_ImageNumber = cytoplasm.Metadata_ImageNumber
        AND cells.Cells_ObjectNumber = cytoplasm.Metadata_Cytoplasm_Parent_Cells
    LEFT JOIN read_parquet('nuclei.parquet') AS nuclei
        ON nuclei.Metadata_TableNumber = cytoplasm.Metadata_TableNumber
        AND nuclei.Metadata_ImageNumber = cytoplasm.Metadata_ImageNumber
        AND nuclei.Nuclei_ObjectNumber = cytoplasm.Metadata_Cytoplasm_Parent_Nuclei
"""
EXPORT_JOIN = """
    SELECT nuclei.*, cytoplasm.* EXCLUDE (Metadata_ImageNumber)
    FROM read_parquet('per_cytoplasm.parquet') AS cytoplasm
    JOIN read_parquet('per_nuclei.parquet') AS nuclei
        ON nuclei.Metadata_ImageNumber = cytoplasm.Metadata_ImageNumber
        AND nuclei.Nuclei_Number_Object_Number = cytoplasm.Cytoplasm_Parent_Nuclei
"""


@dataclass(frozen=True)
class Case:
    """A conversion of a source. `options` go to both tools, `peer_options` to CytoTable alone."""

    source: str
    preset: str
    joined: bool
    chunk_size: int = LARGE
    label: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    peer_options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def peer(self) -> "Case":
        """What CytoTable is asked for."""
        return replace(self, chunk_size=LARGE) if self.chunk_size == SOME else self

    @property
    def name(self) -> str:
        kind = "joined" if self.joined else "compartments"
        words = [self.source, self.preset, self.label, kind, str(self.chunk_size)]
        return "-".join(word for word in words if word).replace(" ", "_")


def _both(source: str, preset: str, *chunk_sizes: int, **others: Any) -> list[Case]:
    sizes = chunk_sizes or (LARGE,)
    return [Case(source, preset, joined, size, **others) for size in sizes for joined in (False, True)]


CASES: tuple[Case, ...] = (
    *_both("nf1", EXPORT, LARGE, SOME),
    *_both("nf1", PYCYTOMINER),
    *_both("data_b", CYTOMINER),
    Case("data_b", CYTOMINER, True, label="joins", peer_options={"joins": CYTOMINER_JOIN}),
    *_both("examplehuman", CSV, LARGE, SOME, options={"source_datatype": "csv"}),
    *_both("data_b csv", CSV, options={"source_datatype": "csv"}),
    *_both("in carta", IN_CARTA, options={"source_datatype": "csv"}),
    Case("differing columns", IN_CARTA, False, options={"source_datatype": "csv"}),
    *_both("npz", NPZ, options={"source_datatype": "npz"}),
    Case("sites", NPZ, False, options={"source_datatype": "npz"}),
    *_both("demo", JUMP, LARGE, SOME),
    Case("demo", JUMP, True, label="drop_null", options={"drop_null": True}),
    *_both("demo nan", JUMP),
    *_both("demo repeated", JUMP),
    *_both("wide", JUMP),
    *_both("export orphans", EXPORT, LARGE, SMALL),
    *_both("export orphans", PYCYTOMINER),
    *_both("jump orphans", JUMP, LARGE, SMALL),
    *_both("cytominer orphans", CYTOMINER),
    *_both("mixed", JUMP),
    Case("varchar", JUMP, False),
    *_both("late", EXPORT, LARGE, SMALL),
    *_both("declared", EXPORT),
    *_both("shuffled", JUMP, SMALL),
    Case("views", EXPORT, False),
    *_both("more tables", EXPORT),
    Case("repeated keys", JUMP, False),
    Case("no cells", JUMP, True),
    Case("empty cells", JUMP, False),
    Case("no file names", JUMP, True),
    Case("no row", JUMP, True),
    Case("text", JUMP, False),
    *_both("late", EXPORT, label="float32", options={"data_type_cast_map": {"float": "float32"}}),
    *_both("large", EXPORT, label="float32", options={"data_type_cast_map": {"float": "float32"}}),
    *_both("export orphans", EXPORT, label="int32", options={"data_type_cast_map": {"integer": "int32"}}),
    *_both("export orphans", EXPORT, label="add_tablenumber", options={"add_tablenumber": True}),
    Case("jump orphans", JUMP, False, label="add_tablenumber", options={"add_tablenumber": True}),
    Case("export orphans", EXPORT, False, SMALL, label="pieces", options={"concat": False}),
    Case("export orphans", EXPORT, False, label="unsorted", options={"sort_output": False}),
    Case("export orphans", EXPORT, False, label="tables", options={"compartments": ["cells"], "metadata": ["image"]}),
    Case(
        "export orphans",
        EXPORT,
        False,
        label="identifying",
        options={"identifying_columns": ["ImageNumber", "Cells_Number_Object_Number", "Image_Metadata_Plate"]},
    ),
    Case("export orphans", EXPORT, True, label="joins", options={"joins": EXPORT_JOIN}),
)
