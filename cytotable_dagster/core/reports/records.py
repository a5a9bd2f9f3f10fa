"""What a conversion read and wrote, and what did not fit or match: records, text and JSON. `account` makes them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cytotable_dagster.core.errors import OptionError, StrictError
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import Coercion, Unconverted
from cytotable_dagster.core.shown import counted
from cytotable_dagster.core.support.files import needed_folder, whole_file
from cytotable_dagster.core.support.leftovers import owned_file
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.support.text_table import text_table
from cytotable_dagster.core.support.written_paths import expanded


@dataclass(frozen=True)
class Found:
    """How many rows or images something holds for, and the key of the first of them, empty where there is none."""

    count: int = 0
    example: str = ""

    def such_as(self) -> str:
        return f", such as {self.example}" if self.example else ""


@dataclass(frozen=True)
class Match:
    """A compartment joined to the base: rows of the base that have one of it (`matched`) and that have none, and rows
    of its own that are in no row of the joined table. `by` is the link that leads to it, empty for images."""

    compartment: str
    matched: int
    unmatched: Found
    left_over: Found
    by: str = ""


@dataclass(frozen=True)
class Widened:
    """A column whose values do not fit the type that its table declares, and the type that holds them."""

    column: str
    source: str
    declared: str
    type: str


@dataclass(frozen=True)
class CompartmentReport:
    """What became of one compartment.

    Attributes:
        table: what the source calls it.
        rows_read: rows of the source table.
        rows_written: rows of its own file or folder; None where there is none.
        without_image: its rows whose image is not in the image table; None where there is no image table.
        images_without: images of the image table that none of its rows is of; None as above.
        coercions: values that became null in the result, or were rounded, because they are not of their column's type.
        added, dropped: columns of the result that the source has not, and of the source that the result has not.
        widened: columns of another type than declared, because of their values.
    """

    compartment: str
    table: str
    rows_read: int
    rows_written: int | None
    without_image: Found | None
    images_without: Found | None
    coercions: tuple[Coercion, ...]
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    widened: tuple[Widened, ...]


@dataclass(frozen=True)
class ImageCount:
    """A column of the image table that says how many objects each image has (`Image_Count_Cells`), and what there is.

    `images` have a number in it, `said` is their sum, `rows` are the compartment's rows of those images; `differing`
    are the images on which the two are not equal.
    """

    column: str
    compartment: str
    images: int
    said: int
    rows: int
    differing: Found


@dataclass(frozen=True)
class ConversionReport:
    """The account of one conversion. Printed, a table and a line for each thing that does not fit.

    Attributes:
        images: images that any table speaks of.
        base: the compartment that a joined table has one row for; None where there are no objects.
        joined: whether the joined table is a result.
        matches: how the others match it, whether or not the result is joined.
        unjoined: compartments that cannot be joined to the base, and why.
        without_cells: images without any row of `Cells`, or of the base where there are no `Cells`.
        joined_rows: rows of the joined table; None where it is no result.
        dropped_rows: rows of the base that `drop_null` left out of it.
        unmatched_rows: rows of the base that `unmatched="drop"` left out of it.
        skipped: files and records of the source that nothing was read from, and why.
        unconverted: tables of the source that nothing was made of, and what would take them; no problem of the plate.
        skipped_rows: how many such records there are: ragged ones of CSV files.
        notes: what else is worth knowing.
        query_problems: what the rows that a query of the user's own gave (`joins=`) contradict.
    """

    plate: str
    source: str
    preset: str
    version: str
    images: int
    base: str | None
    joined: bool
    compartments: tuple[CompartmentReport, ...]
    matches: tuple[Match, ...]
    unjoined: tuple[tuple[str, str], ...]
    without_cells: Found
    image_counts: tuple[ImageCount, ...]
    joined_rows: int | None
    dropped_rows: int
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    skipped_rows: int = 0
    unmatched_rows: int = 0
    query_problems: tuple[str, ...] = ()
    unconverted: tuple[Unconverted, ...] = ()

    @property
    def plates(self) -> "tuple[ConversionReport, ...]":
        """This one, as in the report of several plates."""
        return (self,)

    @property
    def skipped_plates(self) -> tuple[tuple[str, str], ...]:
        """None, as the report of several plates would say."""
        return ()

    @property
    def coercions(self) -> tuple[str, ...]:
        """A line for each column with values that are not of its type."""
        return tuple(_coerced(part.table, coercion) for part in self.compartments for coercion in part.coercions)

    @property
    def mismatches(self) -> tuple[str, ...]:
        """A line for each thing that contradicts another. An image without objects is none, unless its count is."""
        return (
            *(
                f"{part.table}: {part.rows_written} of {part.rows_read} rows were written"
                for part in self.compartments
                if part.rows_written not in (None, part.rows_read)
            ),
            *(
                f"{part.table}: {part.without_image.count} of {part.rows_read} rows are of no image in the image table"
                f"{part.without_image.such_as()}"
                for part in self.compartments
                if part.without_image and part.without_image.count
            ),
            *(line for match in self.matches if match.compartment != IMAGE for line in self._unmatched(match)),
            *(self._not_joined if self.joined else ()),
            *(
                f"{found.column} is not the number of rows in {found.compartment} on {found.differing.count} of "
                f"{found.images} images ({found.said:,} counted, {found.rows:,} rows){found.differing.such_as()}"
                for found in self.image_counts
                if found.differing.count
            ),
            *(f"{file}: skipped, {reason}" for file, reason in self.skipped),
            *self.query_problems,
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What `strict=True` refuses, a line each."""
        return (*self.mismatches, *self.coercions)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The problems, and what else is worth knowing, a line each."""
        left = (f"not converted: {table}" for table in self.unconverted)
        return (*self.problems, *(() if self.joined else self._not_joined), *left, *self.notes)

    def check(self) -> None:
        """Refuse what `strict=True` refuses.

        Raises:
            StrictError: naming the first problem; its `report` is this one.
        """
        if self.problems:
            others = len(self.problems) - 1
            more = f" (and {others} more: see the error's report)" if others else ""
            raise StrictError(
                f"{self.source}: {self.problems[0]}{more}; mend the source, or convert without strict=True", self
            )

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "problems": self.problems}, indent=1)

    def write(self, path: str | Path) -> None:
        """Write the report as JSON, in place of any that is there."""
        write_json(self.to_json(), path)

    @property
    def _partners(self) -> str:
        return " or ".join(match.compartment for match in self.matches if match.compartment != IMAGE)

    @property
    def _not_joined(self) -> tuple[str, ...]:
        return tuple(f"{compartment}: cannot be joined, for {reason}" for compartment, reason in self.unjoined)

    def _unmatched(self, match: Match) -> tuple[str, ...]:
        total = match.matched + match.unmatched.count
        # What was to be left out is told with the joined rows, and contradicts nothing.
        unmatched = Found() if self.unmatched_rows else match.unmatched
        lines = (
            (unmatched, f"{self.base}: {match.unmatched.count} of {total} rows have no {match.compartment}"),
            (match.left_over, f"{match.compartment}: {match.left_over.count} rows belong to no {self.base}"),
        )
        return tuple(f"{line}{found.such_as()}" for found, line in lines if found.count)

    def __str__(self) -> str:
        heads = ("table", "read", "written", "no image", "empty images", "coerced", "widened", "columns out")
        rows = [
            (
                part.table,
                f"{part.rows_read:,}",
                _number(part.rows_written),
                _number(part.without_image.count if part.without_image else None),
                _number(part.images_without.count if part.images_without else None),
                f"{sum(c.count for c in part.coercions):,}",
                f"{len(part.widened):,}",
                f"{len(part.dropped):,}",
            )
            for part in self.compartments
        ]
        lines = text_table(heads, rows)
        if self.joined_rows is not None:
            lacking = f", {self.unmatched_rows:,} left out that lack {self._partners}" if self.unmatched_rows else ""
            dropped = f", {self.dropped_rows:,} left out for a null in them" if self.dropped_rows else ""
            lines.append(f"joined: {self.joined_rows:,} rows, one for each of {self.base}{lacking}{dropped}")
        if self.without_cells.count:
            lines.append(
                f"{self.without_cells.count:,} of {self.images:,} images have no cells{self.without_cells.such_as()}"
            )
        return "\n".join((*lines, *self.remarks))

    # What a notebook shows of it.
    __repr__ = __str__


@errors_of_machine()
def check_report_place(path: str | Path) -> None:
    """Make sure that a report can be written there, which is known before it is made.

    Raises:
        OptionError: a folder is there. FileAccessError, FileSystemError: no file can be made there.
    """
    target = Path(expanded(path)).absolute()
    if target.is_dir():
        raise OptionError(f"report {target}: a folder is there; give the name of a file")
    with needed_folder(target.parent), owned_file(target.parent, target.name):
        pass


@errors_of_machine()
def write_json(text: str, path: str | Path) -> None:
    """Write a report, in place of any that is there."""
    target = Path(expanded(path)).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _coerced(table: str, found: Coercion) -> str:
    source, nulls = found.source or found.column, found.count - found.rounded
    parts = []
    if nulls:
        parts.append(
            f"{counted(nulls, 'value')} of {source} {'is' if nulls == 1 else 'are'} not of its type and became null"
        )
    if found.rounded:
        has, was = ("has", "was") if found.rounded == 1 else ("have", "were")
        parts.append(
            f"{counted(found.rounded, 'whole number')} of {source} {has} too many digits for its type and {was} rounded"
        )
    return f"{found.table or table}: {' and '.join(parts)} in {found.column}, such as {found.example}"


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
