"""A preset of the user's own: a small TOML file that names what its dialect does differently."""

import re
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from cytotable_dagster.core.errors import PresetError, UnsafeNameError
from cytotable_dagster.core.model.presets import DATATYPES, IMAGE, Preset, compartment_name, preset_named
from cytotable_dagster.core.model.types import Link
from cytotable_dagster.core.support.suggestions import there_are
from cytotable_dagster.core.support.written_paths import expanded

ENDING = ".toml"
_BASED_ON = "based_on"
# What a file may set; the marker serves to tell our own dialects apart.
_SETTINGS = tuple(field.name for field in fields(Preset) if field.name != "image_marker")
# Settings that there need not be; TOML knows no null, so "" is that of one that another preset has.
_OPTIONAL = ("table_number", "object_table")
# Settings that list compartments, in any case.
_COMPARTMENTS = ("compartments", "base_order", "metadata")


def read_preset(path: Path) -> Preset:
    """The preset that a TOML file describes: that named `based_on`, with the file's own settings.

    The settings are the fields of `Preset`; without `based_on`, `table`, `object_number` and `identifying_columns` are
    needed. Its name is the file's, unless it sets one.

    Raises:
        PresetError: there is no such file, it is no TOML, or a setting is not known or makes no sense.
    """
    path = Path(expanded(path, to_read=True))
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PresetError(f"{path}: no preset can be read there ({error.strerror}); give the path of a file") from error
    except ValueError as error:
        raise PresetError(f"{path}: not TOML ({_one_line(error)}); see docs/presets.md") from error
    for name in settings:
        if name not in (*_SETTINGS, _BASED_ON):
            raise PresetError(f"{path}: no setting is called {name!r}; {there_are(name, (_BASED_ON, *_SETTINGS))}")
    base = settings.pop(_BASED_ON, None)
    if base is not None and not isinstance(base, str):
        raise PresetError(f"{path}: {_BASED_ON} = {base!r} is not the name of a preset")
    inherited = {} if base is None else _inherited(path, base)
    settings |= {name: None for name in _OPTIONAL if settings.get(name) in ("", False)}
    _check_links(path, settings.get("links", []))
    preset = _typed(path, {"name": path.stem, **inherited, **settings})
    lists: dict[str, Any] = {name: tuple(map(compartment_name, getattr(preset, name))) for name in _COMPARTMENTS}
    links = [replace(k, child=compartment_name(k.child), parent=compartment_name(k.parent)) for k in preset.links]
    preset = replace(preset, **lists, links=tuple(links))
    _check(path, preset)
    return preset


def _inherited(path: Path, base: str) -> dict[str, Any]:
    try:
        preset = preset_named(base)
    except PresetError as error:
        raise PresetError(f"{path}: {_BASED_ON}: {error}") from error
    return {name: value for name, value in asdict(preset).items() if name in _SETTINGS and name != "name"}


def _typed(path: Path, settings: dict[str, Any]) -> Preset:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Preset).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if isinstance(unsafe := first.get("ctx", {}).get("error"), UnsafeNameError):
            raise PresetError(f"{path}: {unsafe}") from error
        if first["type"] == "missing":
            raise PresetError(f"{path}: {where} is not set; set it, or {_BASED_ON} = a preset that does") from error
        raise PresetError(f"{path}: {where} = {first['input']!r}: {first['msg']}") from error


def _check(path: Path, preset: Preset) -> None:
    """PresetError where a setting has the right type but means nothing."""
    if not preset.compartments:
        raise PresetError(f"{path}: compartments names no table")
    if len(set(preset.compartments)) < len(preset.compartments):
        raise PresetError(f"{path}: compartments names a table twice: {', '.join(preset.compartments)}")
    for link in preset.links:
        if link.child == link.parent or not {link.child, link.parent} <= {*preset.compartments}:
            raise PresetError(
                f"{path}: links: {link.child} and {link.parent} are no two of compartments: "
                f"{', '.join(preset.compartments)}"
            )
    for name in preset.metadata:
        if name != IMAGE:
            raise PresetError(f"{path}: metadata: {name} is no table that describes images; there is: {IMAGE}")
    if preset.datatype not in DATATYPES:
        raise PresetError(f"{path}: datatype = {preset.datatype!r}; there are: {', '.join(DATATYPES)}")
    for setting, blanks in (("table", ("compartment",)), ("object_number", ("compartment",)),
                            ("parent", ("compartment", "partner"))):  # fmt: skip
        _check_template(path, setting, getattr(preset, setting), blanks)
    if preset.object_table is not None and preset.datatype != "sqlite":
        raise PresetError(f"{path}: object_table is a table of a SQLite file, and datatype is {preset.datatype}")
    if "{compartment}" not in preset.table and (len(preset.compartments) > 1 or preset.metadata):
        raise PresetError(f"{path}: table = {preset.table!r} is the same for all tables; put {{compartment}} in it")
    for pattern in preset.image_columns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise PresetError(f"{path}: image_columns: {pattern!r} is no regular expression ({error})") from error


def _check_links(path: Path, links: Any) -> None:
    """PresetError where a link has a setting that there is not."""
    known = [field.name for field in fields(Link)]
    for link in links if isinstance(links, list) else []:
        for name in link if isinstance(link, dict) else []:
            if name not in known:
                raise PresetError(f"{path}: links: no setting is called {name!r}; {there_are(name, known)}")


def _check_template(path: Path, setting: str, template: str, blanks: tuple[str, ...]) -> None:
    try:
        template.format(**dict.fromkeys(blanks, "x"))
    except (LookupError, ValueError, AttributeError) as error:
        usable = " and ".join(f"{{{blank}}}" for blank in blanks)
        raise PresetError(f"{path}: {setting} = {template!r}: only {usable} can be in braces") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def given_preset(preset: Preset | str | Path) -> Preset:
    """A preset, the one of a name, or the one that a TOML file describes.

    Raises:
        PresetError: there is none.
    """
    if isinstance(preset, Preset):
        return preset
    if not isinstance(preset, str | Path):
        raise PresetError(f"preset {preset!r}: give a preset, its name, or the path of a {ENDING} file")
    return read_preset(Path(preset)) if str(preset).endswith(ENDING) else preset_named(str(preset))
