"""The presets as the dictionaries that CytoTable's `config` holds, for programs that read them there.

Only to be read: a preset is changed by arguments of `convert` or in a file of one's own (`docs/presets.md`).
`CONFIG_JOINS` is a query, in CytoTable's names, that makes the preset's joined table as an argument `joins`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cytotable_dagster.core.model.names import result_name
from cytotable_dagster.core.model.presets import IMAGE, PRESETS, Preset

# Objects that a query starts with take their parents from these.
_BASE, _PARENTS = "Cytoplasm", ("Cells", "Nuclei")
# CytoTable's, for joins that it does in parts; chunks are sized by width here.
_CHUNK_SIZE = 1000
_VERSIONS: Mapping[str, Mapping[str, str]] = {
    "cellprofiler_csv": {"cellprofiler": "v4.0.0"},
    "cellprofiler_sqlite": {"cellprofiler": "v4.2.4"},
    "cellprofiler_sqlite_pycytominer": {
        "cellprofiler": "v4.2.4",
        "pycytominer": "c90438fd7c11ad8b1689c21db16dab1a5280de6c",
    },
    "cellprofiler_sqlite_cpg0016_jump": {"cellprofiler": "v4.0.0"},
    "cell-health-cellprofiler-to-cytominer-database": {
        "cell-health-dataset": "v5",
        "cellprofiler": "v2.X",
        "cytominer-database": "5aa00f58e4a31bbbd2a3779c87e7a3620b0030db",
    },
    "in-carta": {"in-carta": "v1.17.0412545"},
    "deepprofiler": {"deepprofiler": "v0.3.1", "cellprofiler": "v4.2.x"},
}


def _config(preset: Preset) -> Mapping[str, Any]:
    objects = () if preset.flat else preset.compartments
    return MappingProxyType(
        {
            "CONFIG_SOURCE_VERSION": MappingProxyType(dict(_VERSIONS[preset.name])),
            "CONFIG_NAMES_COMPARTMENTS": tuple(name.lower() for name in objects),
            "CONFIG_NAMES_METADATA": tuple(name.lower() for name in preset.metadata),
            "CONFIG_IDENTIFYING_COLUMNS": preset.identifying_columns,
            "CONFIG_PAGE_KEYS": MappingProxyType(_page_keys(preset, objects)),
            "CONFIG_CHUNK_SIZE": _CHUNK_SIZE,
            "CONFIG_JOINS": _query(preset) if objects else "",
        }
    )


def _page_keys(preset: Preset, objects: tuple[str, ...]) -> dict[str, str]:
    keys = {name.lower(): preset.object_number_of(name) or preset.image_number for name in (*preset.metadata, *objects)}
    return {**keys, "join": f"{_BASE}_Number_Object_Number"}


def _query(preset: Preset) -> str:
    """All cytoplasms with their image and, where they have them, with their cell and nucleus."""

    def named(column: str, compartment: str) -> str:
        return result_name(column, compartment, preset.identifying_columns)

    def joined(compartment: str, pairs: Mapping[str, str]) -> str:
        alias = compartment.lower()
        equal = " AND ".join(f'{alias}."{mine}" = {base}."{theirs}"' for mine, theirs in pairs.items())
        return f"LEFT JOIN read_parquet('{alias}.parquet') AS {alias} ON {equal}"

    base = _BASE.lower()
    keys = [preset.image_number, *([preset.table_number] if preset.table_number else [])]
    number_of_base = named(preset.object_number_of(_BASE) or "", _BASE)
    parts, joins = [f"{base}.*"], [f"FROM read_parquet('{base}.parquet') AS {base}"]
    for parent in _PARENTS:
        number = named(preset.object_number_of(parent) or "", parent)
        shared = {named(key, parent): named(key, _BASE) for key in keys}
        joins.append(joined(parent, {**shared, number: named(preset.parents_of(_BASE)[parent], _BASE)}))
        # What all objects call the same is the cytoplasm's.
        twice = [*(name for name, theirs in shared.items() if name == theirs), *([number] * (number == number_of_base))]
        parts.append(f"{parent.lower()}.* EXCLUDE ({', '.join(twice)})")
    joins.append(joined(IMAGE, {named(key, IMAGE): named(key, _BASE) for key in keys}))
    parts.append(f"COLUMNS('^({'|'.join(preset.image_columns)})$')")
    return "\n".join(["SELECT", ",\n".join(f"    {part}" for part in parts), *joins])


config: Mapping[str, Mapping[str, Any]] = MappingProxyType({name: _config(preset) for name, preset in PRESETS.items()})
