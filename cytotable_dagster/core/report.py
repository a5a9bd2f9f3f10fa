"""What a conversion did, for people and programs."""

import os
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster.core.conversion_report import ConversionReport
from cytotable_dagster.core.text_table import text_table
from cytotable_dagster.core.types import FileFacts, Source


@dataclass(frozen=True)
class ConversionResult:
    """The files that a conversion wrote. Printed, a short table; with one output, a path (`os.PathLike`).

    Attributes:
        outputs: a file, or folder of chunk files, for each table.
        source: what was converted.
        preset: the dialect it was read as.
        readers: for each source table not read the fast way, why.
        seconds: wall time of the whole conversion.
        report: rows read and written, what did not fit or match.
    """

    outputs: tuple[FileFacts, ...]
    source: Source
    preset: str
    readers: tuple[tuple[str, str], ...]
    seconds: float
    report: ConversionReport

    @property
    def path(self) -> Path:
        """The one output, or the folder of the outputs."""
        return self.outputs[0].path if len(self.outputs) == 1 else self.outputs[0].path.parent

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        rows = [(str(o.path), f"{o.rows:,}", f"{o.columns:,}", f"{o.size:,}", f"{o.seconds:.2f}") for o in self.outputs]
        lines = text_table(("file", "rows", "columns", "bytes", "seconds"), rows)
        lines.append(f"plate {self.source.plate} from {self.source.uri}, preset {self.preset}, {self.seconds:.2f} s")
        lines.extend(f"{table}: read by scanning ({reason})" for table, reason in self.readers)
        return "\n".join((*lines, "", str(self.report)))
