"""Plates that cannot be converted: the first ends the conversion, or they are passed over and told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cytotable_dagster.core.errors import (
    DamagedCopyError,
    DamagedSourceError,
    DownloadError,
    FileAccessError,
    FileMissingError,
    KeyColumnError,
    PlateExistsError,
    PresetError,
    SchemaError,
    SourceAccessError,
    SourceChangedError,
    SourceFormatError,
    SourceNotFoundError,
    StrictError,
    TargetError,
    UnsafeNameError,
)
from cytotable_dagster.core.support.machine_errors import errors_of_machine

STOP, SKIP = "stop", "skip"
ON_ERROR = (STOP, SKIP)

# What ails one plate and need not ail the next; a full disk or a worker that is lost would.
_OF_ONE_PLATE = (
    SourceNotFoundError,
    SourceFormatError,
    DamagedSourceError,
    SourceChangedError,
    SourceAccessError,
    UnsafeNameError,
    DownloadError,
    KeyColumnError,
    PlateExistsError,
    TargetError,
    PresetError,
    SchemaError,
    StrictError,
    FileAccessError,
    FileMissingError,
)


@dataclass
class Skipping:
    """What becomes of the errors of single plates by `on_error` (None where nobody may choose); `reasons` are what was
    passed over, by plate."""

    on_error: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def attempt(self, plate: str, *, several: bool = True) -> Iterator[None]:
        """Work on one plate, the rest of which is left out where it fails and is to be skipped; where others would be
        left if it were (it is one of `several`), the error says so."""
        try:
            with errors_of_machine():
                yield
        except DamagedCopyError:
            # It is fetched anew, and all done again (see `cache.with_fresh_copies`).
            raise
        except _OF_ONE_PLATE as error:
            if self.on_error != SKIP:
                if several and self.on_error is not None:
                    error.args = (f'{error}; on_error="skip" goes on with the other plates', *error.args[1:])
                raise
            self.reasons[plate] = str(error)

    def check(self, plates: int) -> None:
        """Refuse to go on with no plate at all.

        Args:
            plates: how many are left.

        Raises:
            SourceFormatError: none, as all were skipped.
        """
        if self.reasons and not plates:
            plate, reason = next(iter(self.reasons.items()))
            others = len(self.reasons) - 1
            more = f" (and {others} more: converted alone, each says why)" if others else ""
            raise SourceFormatError(f"no plate can be converted; {plate}: {reason}{more}")
