"""What a conversion did, for people and programs."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cytotable_dagster.core.conversion_report import ConversionReport, write_json
from cytotable_dagster.core.drift import Drift
from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.text_table import text_table
from cytotable_dagster.core.types import FileFacts, Source


@dataclass(frozen=True)
class _Written:
    """What was written; with one local output, a path (`os.PathLike`)."""

    outputs: tuple[FileFacts, ...]

    @property
    def path(self) -> Path:
        """The one output, or the folder of the outputs."""
        return self.outputs[0].path if len(self.outputs) == 1 else self.outputs[0].path.parent

    def __fspath__(self) -> str:
        return _local(self.path)


@dataclass(frozen=True)
class ConversionResult(_Written):
    """The files that a conversion wrote. Printed, a short table; with one local output, a path (`os.PathLike`).

    Attributes:
        outputs: a file, or folder of chunk files, for each table; the `path` of one in a store is cloudpathlib's.
        source: what was converted.
        preset: the dialect it was read as.
        readers: for each source table that was copied to be read, why.
        seconds: wall time of the whole conversion.
        report: rows read and written, what did not fit or match.
    """

    source: Source
    preset: str
    readers: tuple[tuple[str, str], ...]
    seconds: float
    report: ConversionReport

    def __str__(self) -> str:
        lines = _table_of(self.outputs)
        lines.append(f"plate {self.source.plate} from {self.source.uri}, preset {self.preset}, {self.seconds:.2f} s")
        lines.extend(f"{table}: read from a copy ({reason})" for table, reason in self.readers)
        return "\n".join((*lines, "", str(self.report)))


@dataclass(frozen=True)
class PlatesReport:
    """The report of several plates: each plate's, how their columns differ, and what else is odd about them together.

    Attributes:
        plates: of the plates that were converted, by name.
        drift: of each table.
    """

    plates: tuple[ConversionReport, ...]
    drift: tuple[Drift, ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What `strict=True` refuses, a line each."""
        return tuple(f"{report.plate}: {line}" for report in self.plates for line in report.problems)

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "problems": self.problems}, indent=1)

    def write(self, path: str | Path) -> None:
        """Write the report as JSON, in place of any that is there."""
        write_json(self.to_json(), path)

    def __str__(self) -> str:
        drift = [line for table in self.drift for line in table.lines]
        plates = [text for report in self.plates for text in (f"plate {report.plate}", str(report), "")]
        return "\n".join((*plates, *drift, *self.notes))


@dataclass(frozen=True)
class PlatesResult(_Written):
    """The files (or datasets) that the conversion of several plates wrote; see `ConversionResult`.

    Attributes:
        outputs: for each table the file of all plates, or the folder of the dataset, with all that is in it now.
        sources: the plates that were converted; without those that a dataset had already.
    """

    sources: tuple[Source, ...]
    seconds: float
    report: PlatesReport

    def __str__(self) -> str:
        lines = _table_of(self.outputs)
        lines.append(f"{len(self.sources)} plates converted in {self.seconds:.2f} s")
        return "\n".join((*lines, "", str(self.report)))


def _local(path: Path) -> str:
    if not isinstance(path, Path):
        # As a path cloudpathlib's would fetch all of it.
        raise OptionError(
            f"{path}: is in a store and no file of this machine; open it by its address, str(result.path)"
        )
    return os.fspath(path)


def _table_of(outputs: tuple[FileFacts, ...]) -> list[str]:
    rows = [(str(o.path), f"{o.rows:,}", f"{o.columns:,}", f"{o.size:,}", f"{o.seconds:.2f}") for o in outputs]
    return text_table(("file", "rows", "columns", "bytes", "seconds"), rows)
