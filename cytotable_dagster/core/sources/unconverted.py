"""Tables of a source that no compartment comes from: what they are, and what would take them.

Two kinds have neither images nor objects as rows and are taken whole by `targets`: facts of the experiment (the
pipeline, versions, times) and relationships (which object is which one's neighbour, or the same at another time).
"""

from collections.abc import Collection, Sequence

from cytotable_dagster.core.model.presets import IMAGE, Preset

EXPERIMENT, RELATIONSHIPS = "experiment", "relationships"
OTHERS = (EXPERIMENT, RELATIONSHIPS)
_ABOUT = {
    EXPERIMENT: "facts of the experiment, and no images or objects",
    RELATIONSHIPS: "relationships of objects, and no objects",
}


def others_asked(targets: Collection[str] | None, preset: Preset) -> tuple[str, ...]:
    """The kinds that targets name, in any case; a compartment of that name goes before."""
    taken = {name.lower() for name in (*preset.metadata, *preset.compartments)}
    wanted = {target.lower() for target in targets or ()}
    return tuple(kind for kind in OTHERS if kind in wanted and kind not in taken)


def about_other(kind: str) -> tuple[str, str]:
    """Why a table of a kind is no compartment's, and what takes it."""
    return _ABOUT[kind], f'targets=["{kind}"] takes it'


def table_about(compartment: str, columns: Sequence[str], preset: Preset) -> tuple[str, str] | None:
    """The same of a table that is named as a compartment's; None where it has not the keys of any."""
    if compartment.lower() == IMAGE.lower():
        return "the images, which metadata= leaves out", 'metadata=["Image"] takes it'
    if not {*preset.keys_of(compartment)} <= {*columns}:
        return None
    return objects_about(compartment, preset)


def objects_about(compartment: str, preset: Preset) -> tuple[str, str]:
    """The same of objects that are no compartment."""
    names = [*preset.compartments, compartment]
    return (
        f"objects that are none of {', '.join(preset.compartments)}",
        f"compartments={names} takes it too".replace("'", '"'),
    )
