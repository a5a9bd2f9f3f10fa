"""What plates are asked to become: the arguments of a conversion, looked through once, before anything is opened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster.core.conversion.skipping import ON_ERROR, STOP, Skipping
from cytotable_dagster.core.errors import OptionError, PresetError
from cytotable_dagster.core.intake.discover import DATATYPES, find_plate, find_plates
from cytotable_dagster.core.model.names import CYTOTABLE_NAMES
from cytotable_dagster.core.model.preset_file import given_preset
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Plate, Progress, Source
from cytotable_dagster.core.planning.options import KEEP, Options, check_flag, names_in, one_of
from cytotable_dagster.core.planning.unify import SCHEMAS, UNION
from cytotable_dagster.core.sources.csv.plates import folder_of_plate
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster.core.sources.unconverted import EXPERIMENT
from cytotable_dagster.core.storage.client import checked_cloud_options, options_to_write


def silent(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Request:
    """How plates are converted, the same for all of them; the meaning of each option is that of `convert`.

    To add an option, give `convert` and `datasets.add` a parameter that they hand to `Request.checked`, and make it a
    field of `Options` (checked in `Options.checked`) where the results depend on it, else of this class (checked here).
    """

    options: Options = field(default_factory=Options)
    joins: str | None = None
    preset: Preset | None = None
    datatype: str | None = None
    metadata: tuple[str, ...] | None = None
    compartments: tuple[str, ...] | None = None
    identifying_columns: tuple[str, ...] | None = None
    add_tablenumber: bool | None = None
    plate_pattern: str | None = None
    schema: str = UNION
    strict: bool = False
    on_error: str = STOP
    cloud: Mapping[str, Any] = field(default_factory=dict, repr=False)
    dest_cloud: Mapping[str, Any] = field(default_factory=dict, repr=False)
    progress: Progress = silent

    @classmethod
    def checked(
        cls,
        *,
        joined: bool = False,
        joins: str | None = None,
        preset: Preset | str | Path | None = None,
        source_datatype: str | None = None,
        metadata: str | Iterable[str] | None = None,
        compartments: str | Iterable[str] | None = None,
        identifying_columns: str | Iterable[str] | None = None,
        add_tablenumber: bool | None = None,
        plate_pattern: str | None = None,
        schema: str = UNION,
        strict: bool = False,
        on_error: str = STOP,
        cloud: Mapping[str, Any] | None = None,
        dest_cloud: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        names: str | None = None,
        unmatched: str = KEEP,
        **content: Any,
    ) -> "Request":
        """A request as a user gives it.

        Args:
            joined: whether the result is the joined table.
            content: of `Options.checked`.

        Raises:
            OptionError: an option that means nothing, or contradicts another.
            PresetError: no preset of that name, or one for another type of source.
            TypeError: an option that the cloud client does not know.
        """
        cloud = checked_cloud_options(cloud or {})
        check_flag("strict", strict)
        check_flag("add_tablenumber", add_tablenumber, undecided=True)
        if joins is not None and not isinstance(joins, str):
            raise OptionError(f"joins {joins!r}: give a query, as text")
        if joins is not None and unmatched != KEEP:
            raise OptionError("unmatched= is for the preset's join, and joins= was given; leave out rows in the query")
        if progress is not None and not callable(progress):
            raise OptionError(f"progress {progress!r}: give a function that is called with (step, done, total)")
        if plate_pattern is not None:
            folder_of_plate(plate_pattern)
        chosen = None if preset is None else given_preset(preset)
        return cls(
            options=Options.checked(
                joined=joined and joins is None,
                names=CYTOTABLE_NAMES if names is None and joins is not None else names,
                unmatched=unmatched,
                **content,
            ),
            joins=joins,
            preset=chosen,
            datatype=_datatype(chosen, source_datatype),
            metadata=names_in("metadata", metadata),
            compartments=names_in("compartments", compartments),
            identifying_columns=names_in("identifying_columns", identifying_columns),
            add_tablenumber=add_tablenumber,
            plate_pattern=plate_pattern,
            schema=one_of("schema", schema, SCHEMAS),
            strict=strict,
            on_error=one_of("on_error", on_error, ON_ERROR),
            cloud=cloud,
            dest_cloud=options_to_write(dest_cloud, cloud),
            progress=progress or silent,
        )

    @property
    def joined(self) -> bool:
        """Whether the result is the joined table, by the preset's join or by a query."""
        return self.options.joined or self.joins is not None

    def plates_at(
        self, source_path: str | Path | Sequence[str | Path], skipping: Skipping | None = None
    ) -> tuple[Plate, ...]:
        """All plates that are meant; see `find_plates`.

        Raises:
            SourceFormatError: all addresses were skipped.
        """
        skipping = skipping or Skipping()
        preferred = None if self.preset is None else self.preset.datatype
        plates = find_plates(source_path, self.datatype, self.cloud, preferred, skipping.attempt, self.plate_pattern)
        skipping.check(len(plates))
        return plates

    def plate_at(self, source_path: str | Path) -> Plate:
        """The one plate that is meant; see `find_plate`."""
        preferred = None if self.preset is None else self.preset.datatype
        return find_plate(source_path, self.datatype, self.cloud, preferred, self.plate_pattern)

    @property
    def experiment(self) -> bool:
        """Whether facts of the experiment are asked for."""
        return EXPERIMENT in map(str.lower, self.options.targets or ())

    def preset_of(self, source: Source) -> Preset:
        """The preset that a source is converted by; see `resolved_preset`."""
        return resolved_preset(
            source,
            self.preset,
            datatype=self.datatype,
            format=self.options.format,
            metadata=self.metadata,
            compartments=self.compartments,
            identifying_columns=self.identifying_columns,
        )


def sources_in(source_path: str | Path | Iterable[str | Path]) -> str | Path | tuple[str | Path, ...]:
    """An address, or a list of addresses that may be gone through again.

    Raises:
        OptionError: it is something else.
    """
    if isinstance(source_path, str | Path):
        return source_path
    listed = tuple(source_path) if isinstance(source_path, Iterable) else (source_path,)
    for address in listed:
        if not isinstance(address, str | Path):
            raise OptionError(
                f"source_path: {address!r} is no address; give a path, an s3:// address, or a list of these"
            )
    return listed


def _datatype(preset: Preset | None, source_datatype: str | None) -> str | None:
    """The type of source that the arguments ask for, None where they leave it open: a preset of tables may be for
    another type than theirs, see `resolved_preset`."""
    if source_datatype is not None:
        one_of("source_datatype", source_datatype, DATATYPES)
    if preset is None:
        return source_datatype
    if source_datatype not in (None, preset.datatype) and (preset.flat or source_datatype == "npz"):
        raise PresetError(f"preset {preset.name} is for {preset.datatype} files, not for {source_datatype}")
    return preset.datatype if preset.flat else source_datatype
