"""What a kind of results other than Parquet has to know."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cytotable_dagster.core.conversion.request import Request
from cytotable_dagster.core.images import Search
from cytotable_dagster.core.reports.results import ConversionResult
from cytotable_dagster.core.storage.destination import Claim, Destination


@dataclass(frozen=True)
class Target:
    """Where a sink writes: `name` in `place`, which is claimed; `scratch` is a folder of this machine for files on
    their way there. `search` says where images are, for a sink that takes them."""

    place: Destination
    name: str
    claim: Claim
    scratch: Path
    overwrite: bool
    search: Search | None

    @property
    def address(self) -> str:
        return self.place.address(self.name)


class Sink(ABC):
    """A kind of results; its options are its fields."""

    takes_images: ClassVar[bool] = False

    def joined(self, join: bool | None, joins: str | None, targets: str | Iterable[str] | None) -> bool | None:
        """Whether it is made of the joined table, given what was asked for."""
        return True if join is None else join

    @abstractmethod
    def request(self, request: Request, search: Search | None) -> Request:
        """What the tables that it is made of are to be; called before anything is looked at.

        Raises:
            OptionError: it cannot be what is asked for, or a package that it needs is not installed.
        """

    @abstractmethod
    def check(self, target: Target) -> None:
        """Look at what is there, before anything is downloaded.

        Raises:
            DestinationExistsError: something that it does not replace.
        """

    @abstractmethod
    def write(self, made: ConversionResult, target: Target, request: Request) -> ConversionResult:
        """Write what was made, and tell of it.

        Args:
            made: of Parquet files (of several plates with `one_file=False`: folders of them) of this machine, which go
                when this returns.
            request: what `request` gave.

        Returns:
            The same with what was written as `files`.
        """
