"""Which dialect a SQLite plate's tables are of, and what they are called, by their names and columns.

The exact names of a preset win; else the tables of one export share what stands before them (`MyExpt_Per_Image`,
`MyExpt_Per_Cells`), found once for the plate; other tables are of other objects. Where no compartment has a table of
its own, one that holds all objects side by side (`MyExpt_Per_Object`) is theirs.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from cytotable_dagster.core.errors import SourceFormatError
from cytotable_dagster.core.model.presets import DEFAULT, IMAGE, PRESETS, TABLE_NUMBER, USUAL, Preset

# The dialects that detection tells apart, most particular first; the pycytominer preset is a matter of taste.
DETECTABLE = (
    "cellprofiler_sqlite",
    "cell-health-cellprofiler-to-cytominer-database",
    "cellprofiler_sqlite_cpg0016_jump",
)
_MARKED, _PLAIN = PRESETS[DETECTABLE[1]], PRESETS[DETECTABLE[2]]

_BLANK = "{compartment}"
_COMBINED = ("Object", "Objects")
# The number that all objects of a row of a combined table have.
SHARED_NUMBER = "ObjectNumber"
_OWN_NUMBER = "_Number_Object_Number"
_PER = re.compile(r"(.*[_. -])?Per_", re.IGNORECASE)
# What CellProfiler calls its kinds of measurements, by which an object is known that has no column for its number.
_MEASURED = re.compile(
    r"(?P<object>.+?)_(AreaShape|Children|Classify|Correlation|Distance|Granularity|Intensity|Location|Math|Mean|Neighbors"
    r"|Number|ObjectSkeleton|Overlap|Parent|RadialDistribution|Texture|TrackObjects|Worm)_"
)

Tables = Mapping[str, Sequence[str]]


def detect_preset(tables: Tables, where: str) -> Preset:
    """The preset whose tables and key columns these are.

    Args:
        tables: table name -> its column names, as the source has them.
        where: the source, for the message.

    Raises:
        SourceFormatError: no preset fits, or the tables are those of several exports; the message lists them.
    """
    for name in DETECTABLE:
        if _fits(PRESETS[name], tables):
            return PRESETS[name]
    start = _start_of(tables, USUAL, where)
    own = {} if start is None else _own_tables(tables, start)
    image = next((columns for name, columns in own.items() if name.title() == IMAGE), ())
    objects = {name: columns for name, columns in own.items() if name.title() != IMAGE}
    usual = {name.title(): columns for name, columns in objects.items() if name.title() in USUAL}
    keyed = {name: columns for name, columns in usual.items() if _key_of(name, columns)}
    others = {name: columns for name, columns in objects.items() if _key_of(name, columns)}
    if start is not None and not usual and (combined := _combined(tables, start)):
        base = _numbered(DEFAULT, [tables[combined], *([image] if image else [])])
        found = _side_by_side(replace(base, table=_template(start)), combined, tables[combined])
        there = _by_object(tables[combined])
        return found if there.keys() & set(USUAL) else _of_other_objects(found, there)
    if start is None or not (image or others):
        raise SourceFormatError(
            f"{where}: its tables are those of no preset (tables: {', '.join(sorted(tables)) or 'none'}); "
            "name one with preset="
        )
    found = replace(_dialect(start, image, keyed or others), table=_template(start))
    return found if keyed or not others else _of_other_objects(found, others)


def fitted_preset(preset: Preset, tables: Tables, where: str) -> Preset:
    """A preset for these very tables: with what stands before their names, and compartments as they are written.

    Raises:
        SourceFormatError: the tables are those of several exports.
    """
    there = {name.lower() for name in tables}
    wanted = (*preset.metadata, *preset.compartments)
    if preset.table.endswith(_BLANK) and not any(preset.table_of(name).lower() in there for name in wanted):
        start = _start_of(tables, wanted, where)
        preset = preset if start is None else replace(preset, table=_template(start))
    if preset.object_table is None and not any(preset.table_of(c).lower() in there for c in preset.compartments):
        combined = _combined(tables, start_of(preset))
        preset = _side_by_side(preset, combined, tables[combined]) if combined else preset
    if preset.object_table:
        whole = preset.object_table.lower()
        return preset.named_as(name for table in tables if table.lower() == whole for name in objects_in(tables[table]))
    start, end = start_of(preset), preset.table.partition(_BLANK)[2]
    named = preset.named_as(name[len(start) : len(name) - len(end)] for name in tables)
    return _with_parents(named, tables)


def notes_on(preset: Preset) -> tuple[str, ...]:
    """How the tables of a plate differ from what its preset is named for."""
    named = PRESETS.get(preset.name, preset)
    found = []
    if preset.table != named.table:
        found.append(f"tables are called {preset.table.format(compartment='...')}")
    if preset.object_table:
        found.append(f"objects lie side by side in {preset.object_table}: each has the rows in which there is one")
    if preset.table_number != named.table_number:
        of = f"{preset.table_number} and " if preset.table_number else ""
        found.append(f"images are told apart by {of}{preset.image_number}" + " alone" * (not of))
    if preset.parent != named.parent:
        found.append(f"parents are numbered by {preset.parent.format(compartment='...', partner='...')}")
    return tuple(found)


def objects_in(columns: Iterable[str]) -> tuple[str, ...]:
    """The objects whose measurements lie side by side in a table with these columns, in order."""
    names = list(columns)
    found = [name.removesuffix(_OWN_NUMBER) for name in names if name.endswith(_OWN_NUMBER)]
    for name in names:
        measured = _MEASURED.match(name)
        if measured and owner_of(name, found) is None and measured["object"] != IMAGE:
            found.append(measured["object"])
    return tuple(dict.fromkeys(found))


def owner_of(column: str, objects: Collection[str]) -> str | None:
    """The object that a column of such a table is of, the one of the longest name; None where it is of all."""
    fitting = [name for name in objects if column.startswith(f"{name}_")]
    return max(fitting, key=len, default=None)


def _fits(preset: Preset, tables: Tables) -> bool:
    """Whether the tables of a preset's compartments that are there have its keys."""
    columns = {name.lower(): set(names) for name, names in tables.items()}
    present = [c for c in preset.compartments if preset.table_of(c).lower() in columns]
    if not present:
        return False
    if not all(set(preset.keys_of(c)) <= columns[preset.table_of(c).lower()] for c in present):
        return False
    if preset.image_marker is None:
        return True
    image = columns.get(preset.table_of(IMAGE).lower(), set())
    return any(column.startswith(preset.image_marker) for column in image)


def _start_of(tables: Tables, names: Sequence[str], where: str) -> str | None:
    """What stands before the names of compartments in the names of one export's tables, None where there are none.

    Raises:
        SourceFormatError: there are several exports, of which none is the plate's for certain.
    """
    found: dict[str, set[str]] = {}
    written: dict[str, str] = {}

    def note(start: str, names: set[str]) -> None:
        found.setdefault(written.setdefault(start.lower(), start), set()).update(names)

    for table in (name for name, columns in tables.items() if DEFAULT.image_number in columns):
        for name in (*names, *_COMBINED):
            start = table[: -len(name)]
            if table.lower().endswith(name.lower()) and (not start or start[-1] in "_. -"):
                note(start, {name})
        if per := _PER.match(table):
            note(per[0], set())
    exact = [start for start in found if start.lower() in ("", start_of(DEFAULT).lower())]
    if exact:
        return max(exact, key=lambda start: len(found[start]))
    with_images = [start for start, there in found.items() if IMAGE in there]
    left = [start for start in with_images if len(found[start]) > 1] or with_images or list(found)
    shortest = min(left, key=len, default=None)
    # Objects of longer names start as those of the export do: `MyExpt_Per_Nuclei`, `MyExpt_Per_Green_Nuclei`.
    if len(left) > 1 and (with_images or not all(start.startswith(shortest or "") for start in left)):
        raise SourceFormatError(
            f"{where}: tables of several exports ({', '.join(f'{start}...' for start in left)}); say which with "
            f'table = "{_template(left[0])}" in a preset of your own (docs/presets.md)'
        )
    return shortest


def _own_tables(tables: Tables, start: str) -> dict[str, Sequence[str]]:
    """The tables of one export, by what they are of."""
    return {
        name[len(start) :]: columns
        for name, columns in tables.items()
        if name.lower().startswith(start.lower()) and DEFAULT.image_number in columns
    }


def _key_of(name: str, columns: Collection[str]) -> str | None:
    """The column that numbers the objects of a table."""
    return next((key for key in (f"{name}{_OWN_NUMBER}", SHARED_NUMBER) if key in columns), None)


def _dialect(start: str, image: Collection[str], objects: Tables) -> Preset:
    """The preset whose columns those of an export are."""
    keys = {_key_of(name, columns) for name, columns in objects.items()}
    if keys - {SHARED_NUMBER} or (not keys and start.lower().endswith(start_of(DEFAULT).lower())):
        found = DEFAULT
    else:
        marked = any(column.startswith(_MARKED.image_marker or "") for column in image)
        found = _MARKED if marked else _PLAIN
    return _numbered(found, [*objects.values(), *([image] if image else [])])


def _numbered(preset: Preset, tables: Sequence[Collection[str]]) -> Preset:
    """The preset with a TableNumber where all tables have one, and without where one has not."""
    number = TABLE_NUMBER if all(TABLE_NUMBER in columns for columns in tables) else None
    identifying = dict.fromkeys((*preset.identifying_columns, *((number,) if number else ())))
    return replace(preset, table_number=number, identifying_columns=tuple(identifying))


def _with_parents(preset: Preset, tables: Tables) -> Preset:
    """The preset with parents as CSV files have them (`Parent_Cells`), where none stands as the preset says."""
    columns = {name.lower(): set(names) for name, names in tables.items()}
    own = {name: columns.get(preset.table_of(name).lower(), set()) for name in preset.compartments}
    plain = replace(preset, parent="Parent_{partner}")
    links = [
        any(there.intersection(kind.parents_of(name).values()) for name, there in own.items())
        for kind in (preset, plain)
    ]
    return plain if links == [False, True] else preset


def _of_other_objects(preset: Preset, objects: Tables) -> Preset:
    """The preset with these compartments, where none of the usual ones is there: who names parents comes first."""
    parents = {
        name: sum(preset.parent.format(compartment=name, partner=other) in columns for other in objects)
        for name, columns in objects.items()
    }
    usual = [next((name for name in objects if name.lower() == own.lower()), own) for own in preset.base_order]
    order = sorted(objects, key=lambda name: -parents[name])
    return replace(preset, compartments=tuple(order), base_order=tuple(usual))


def _combined(tables: Tables, start: str) -> str | None:
    """The table of one export that holds all its objects side by side."""
    wanted = {f"{start}{name}".lower() for name in _COMBINED}
    keys = {DEFAULT.image_number, SHARED_NUMBER}
    found = (name for name, own in tables.items() if name.lower() in wanted and keys <= set(own) and objects_in(own))
    return next(found, None)


def _side_by_side(preset: Preset, table: str, columns: Sequence[str]) -> Preset:
    """The preset with its objects in one table, each by its own number if all have one."""
    own = all(f"{name}{_OWN_NUMBER}" in columns for name in objects_in(columns))
    return replace(preset, object_table=table, object_number=f"{_BLANK}{_OWN_NUMBER}" if own else SHARED_NUMBER)


def _by_object(columns: Sequence[str]) -> dict[str, Sequence[str]]:
    objects = objects_in(columns)
    return {name: [column for column in columns if owner_of(column, objects) == name] for name in objects}


def start_of(preset: Preset) -> str:
    """What stands before the names of compartments in those of a preset's tables."""
    return preset.table.partition(_BLANK)[0].replace("{{", "{").replace("}}", "}")


def _template(start: str) -> str:
    return start.replace("{", "{{").replace("}", "}}") + _BLANK
