"""What plates are asked to become: the arguments of a conversion, looked through once, before anything is opened."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster.core.conversion.skipping import ON_ERROR, STOP, Skipping
from cytotable_dagster.core.environment import max_threads
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.intake.discover import find_plate, find_plates
from cytotable_dagster.core.model.names import CYTOTABLE_NAMES
from cytotable_dagster.core.model.preset_file import given_preset
from cytotable_dagster.core.model.presets import Preset
from cytotable_dagster.core.model.types import Plate, Source
from cytotable_dagster.core.planning.options import BOTH, KEEP, Options, check_flag, names_in, one_of
from cytotable_dagster.core.planning.unify import SCHEMAS, UNION
from cytotable_dagster.core.sources.detection import datatype_asked, resolved_preset
from cytotable_dagster.core.sources.plate_folders import folder_of_plate
from cytotable_dagster.core.sources.unconverted import EXPERIMENT
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.core.support.arguments import address_in, function_in
from cytotable_dagster.core.support.telling import Progress


@dataclass(frozen=True)
class Request:
    """How plates are converted, the same for all of them; the meaning of each option is that of `convert`.

    To add an option, give `convert` and `datasets.add` a parameter that they hand to `Request.checked`, and make it a
    field of `Options` (checked in `Options.checked`) where the results depend on it, else of this class (checked here).
    """

    options: Options = field(default_factory=Options)
    joins: str | None = None
    both: bool = False
    preset: Preset | None = None
    datatype: str | None = None
    metadata: tuple[str, ...] | None = None
    compartments: tuple[str, ...] | None = None
    identifying_columns: tuple[str, ...] | None = None
    add_tablenumber: bool | None = None
    column_map: bool = False
    plate_pattern: str | None = None
    schema: str = UNION
    strict: bool = False
    on_error: str = STOP
    cache: Cache = field(default_factory=Cache)
    dest_store: Store = field(default_factory=Store)
    progress: Progress | None = None

    @classmethod
    def checked(
        cls,
        *,
        join: bool | str = False,
        joins: str | None = None,
        preset: Preset | str | Path | None = None,
        source_datatype: str | None = None,
        metadata: str | Iterable[str] | None = None,
        compartments: str | Iterable[str] | None = None,
        identifying_columns: str | Iterable[str] | None = None,
        add_tablenumber: bool | None = None,
        column_map: bool = False,
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
            join: whether the result is the joined table, or `both` are: that and the compartments.
            cloud: options of the store that plates are in, and of the copies of them, see `Cache.checked`.
            dest_cloud: options of the store that results go to, see `Store.to_write`.
            content: of `Options.checked`.

        Raises:
            OptionError: an option, or a variable of the environment, that means nothing, or contradicts another.
            PresetError: no preset of that name, or one for another type of source.
            TypeError: an option that the cloud client does not know.
        """
        max_threads()
        cache = Cache.checked(cloud)
        check_flag("strict", strict)
        check_flag("add_tablenumber", add_tablenumber, undecided=True)
        if joins is not None and not isinstance(joins, str):
            raise OptionError(f"joins {joins!r}: give a query, as text")
        if joins is not None and unmatched != KEEP:
            raise OptionError("unmatched= is for the preset's join, and joins= was given; leave out rows in the query")
        function_in("progress", progress, "(step, done, total)")
        if plate_pattern is not None:
            folder_of_plate(plate_pattern)
        chosen = None if preset is None else given_preset(preset)
        return cls(
            options=Options.checked(
                joined=join is not False and joins is None,
                both=True if join == BOTH and joins is None else None,
                names=CYTOTABLE_NAMES if names is None and joins is not None else names,
                unmatched=unmatched,
                **content,
            ),
            joins=joins,
            both=join == BOTH,
            preset=chosen,
            datatype=datatype_asked(chosen, source_datatype),
            metadata=names_in("metadata", metadata),
            compartments=names_in("compartments", compartments),
            identifying_columns=names_in("identifying_columns", identifying_columns),
            add_tablenumber=add_tablenumber,
            column_map=column_map,
            plate_pattern=plate_pattern,
            schema=one_of("schema", schema, SCHEMAS),
            strict=strict,
            on_error=one_of("on_error", on_error, ON_ERROR),
            cache=cache,
            dest_store=cache.store.to_write(dest_cloud),
            progress=progress,
        )

    @property
    def joined(self) -> bool:
        """Whether the joined table is a result, by the preset's join or by a query; and the compartments, if `both`."""
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
        store, wanted = self.cache.store, self.plate_pattern
        plates = find_plates(source_path, self.datatype, store, preferred, skipping.attempt, wanted)
        skipping.check(len(plates))
        return plates

    def plate_at(self, source_path: str | Path) -> Plate:
        """The one plate that is meant; see `find_plate`."""
        preferred = None if self.preset is None else self.preset.datatype
        return find_plate(source_path, self.datatype, self.cache.store, preferred, self.plate_pattern)

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


def sources_in(source_path: str | Path | Iterable[str | Path]) -> str | tuple[str, ...]:
    """An address, or a list of addresses that may be gone through again.

    Raises:
        OptionError: it is something else.
    """
    if isinstance(source_path, os.PathLike | str | bytes) or not isinstance(source_path, Iterable):
        return address_in("source_path", source_path)
    return tuple(address_in("source_path", address) for address in source_path)
