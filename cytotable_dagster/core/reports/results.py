"""What a conversion did, for people and programs."""

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cytotable_dagster.core.errors import OptionError, TargetError
from cytotable_dagster.core.model.types import FileFacts, Source
from cytotable_dagster.core.planning.unify import Drift
from cytotable_dagster.core.reports.plates_text import plates_table, remarks_of
from cytotable_dagster.core.reports.records import ConversionReport, write_json
from cytotable_dagster.core.shown import counted, human_bytes
from cytotable_dagster.core.support.suggestions import there_are
from cytotable_dagster.core.support.text_table import text_table


@dataclass(frozen=True)
class ProvenanceFacts:
    """The file that says where images are (`docs/images.md`): its path, rows, rows by status, and the same for people.

    Printed, the last.
    """

    path: Path
    rows: int
    counts: Mapping[str, int]
    text: str

    def __str__(self) -> str:
        return f"{self.path}\n{self.text}"


@dataclass(frozen=True)
class PlatesReport:
    """The report of several plates: each plate's, how their columns differ, and what else is odd about them together.

    Printed, a table with a line for each plate, and the first of what does not fit.

    Attributes:
        plates: of the plates that were converted, by name.
        drift: of each table.
        skipped_plates: plates that could not be converted and were passed over, and why.
        query_problems: what does not fit of the rows of all plates that a query of the user's own gave (`joins=`).
    """

    plates: tuple[ConversionReport, ...]
    drift: tuple[Drift, ...]
    notes: tuple[str, ...]
    skipped_plates: tuple[tuple[str, str], ...] = ()
    query_problems: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What `strict=True` refuses, a line each."""
        of_plates = (f"{report.plate}: {line}" for report in self.plates for line in report.problems)
        return (*of_plates, *(line for table in self.drift for line in table.problems), *self.query_problems)

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "problems": self.problems}, indent=1)

    def write(self, path: str | Path) -> None:
        """Write the report as JSON, in place of any that is there."""
        write_json(self.to_json(), path)

    def __str__(self) -> str:
        drift = [line for table in self.drift for line in table.lines]
        skipped = [f"plate {plate} was skipped: {reason}" for plate, reason in self.skipped_plates]
        rounded = [line for table in self.drift for line in table.problems]
        told = (*remarks_of(self.plates), *rounded, *self.query_problems, *drift, *self.notes, *skipped)
        return "\n".join((*plates_table(self.plates), *told))

    __repr__ = __str__


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion of one plate or of several wrote. Printed, a short table.

    With one output it is that output's path (`os.PathLike`), if that is on this machine; with several it is none, and
    `result["Cells"]` is the path of one of them.

    Attributes:
        files: by table (`Cells`, ..., or `single_cells`), the file, folder of chunk files or folder of the dataset; the
            `path` of one in a store is cloudpathlib's.
        sources: what was converted; without plates that a dataset had already.
        readers: for each source table that was copied to be read, why; of several plates with the plate's name.
        seconds: wall time of the whole conversion.
        report: rows read and written, what did not fit or match, of one plate or of several.
        provenance: of the images, where it was asked for.
        columns: the map of the tables' columns, `_about/columns.parquet`, where it was asked for.
    """

    files: Mapping[str, FileFacts]
    sources: tuple[Source, ...]
    readers: tuple[tuple[str, str], ...]
    seconds: float
    report: ConversionReport | PlatesReport
    provenance: ProvenanceFacts | None = None
    columns: Path | None = None

    @property
    def outputs(self) -> tuple[FileFacts, ...]:
        return tuple(self.files.values())

    @property
    def path(self) -> Path:
        """The one output, or the folder of the outputs.

        Raises:
            TypeError: there is no output.
        """
        if not self.files:
            raise TypeError("this result has no output, and so no path")
        first = self.outputs[0].path
        return first if len(self.files) == 1 else first.parent

    @property
    def source(self) -> Source:
        """The one source.

        Raises:
            TypeError: there are several, or none.
        """
        if len(self.sources) != 1:
            raise TypeError(f"this result is of {len(self.sources)} plates; see result.sources")
        return self.sources[0]

    @property
    def preset(self) -> str:
        """The dialect that the source was read as; of several plates all dialects, with commas between."""
        return ", ".join(dict.fromkeys(plate.preset for plate in self.report.plates))

    def __getitem__(self, table: str) -> Path:
        """The path of a table, named in any case.

        Raises:
            TargetError: there is none of that name.
        """
        for name, facts in self.files.items():
            if isinstance(table, str) and name.lower() == table.lower():
                return facts.path
        raise TargetError(f"the result has no table {table!r}; {there_are(str(table), self.files)}")

    def __iter__(self) -> Iterator[str]:
        """The names of the tables."""
        return iter(self.files)

    def __contains__(self, table: object) -> bool:
        return isinstance(table, str) and table.lower() in map(str.lower, self.files)

    def __fspath__(self) -> str:
        if len(self.files) > 1:
            named = next(iter(self.files))
            raise TypeError(
                f"this result is {len(self.files)} outputs ({', '.join(self.files)}) and no path; "
                f'take one of them, as in result["{"Cells" if "Cells" in self.files else named}"]'
            )
        return _local(self.path)

    def __str__(self) -> str:
        lines = _table_of(self.outputs)
        if isinstance(self.report, ConversionReport):
            lines.append(
                f"plate {self.source.plate} from {self.source.uri}, preset {self.preset}, {self.seconds:.2f} s"
            )
        else:
            lines.append(f"{counted(len(self.sources), 'plate')} converted in {self.seconds:.2f} s")
        lines.extend(f"{table}: read from a copy ({reason})" for table, reason in self.readers)
        images = () if self.provenance is None else ("", str(self.provenance))
        columns = () if self.columns is None else ("", f"{self.columns}: where each column comes from, and its range")
        return "\n".join((*lines, "", str(self.report), *images, *columns))

    # What a notebook shows of it.
    __repr__ = __str__


# What several plates become is of the same kind as what one does.
PlatesResult = ConversionResult


def _local(path: Path) -> str:
    if not isinstance(path, Path):
        # As a path cloudpathlib's would fetch all of it.
        raise OptionError(
            f"{path}: is in a store and no file of this machine; open it by its address, str(result.path)"
        )
    return os.fspath(path)


def _table_of(outputs: tuple[FileFacts, ...]) -> list[str]:
    """The files by the folder that they lie in, so that long paths leave the table narrow; one alone is a line."""
    if len(outputs) == 1:
        (one,) = outputs
        told = (counted(one.rows, "row"), counted(one.columns, "column"), human_bytes(one.size))
        return [f"{one.path}: {', '.join(told)}, {one.seconds:.2f} s"]
    lines = []
    for folder, found in itertools.groupby(outputs, key=lambda output: output.path.parent):
        rows = [(o.path.name, f"{o.rows:,}", f"{o.columns:,}", human_bytes(o.size), f"{o.seconds:.2f}") for o in found]
        lines += [f"in {folder}:", *text_table(("file", "rows", "columns", "size", "seconds"), rows)]
    return lines
