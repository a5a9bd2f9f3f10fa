"""What a conversion did, for people and programs."""

import os
from dataclasses import dataclass
from pathlib import Path

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
    """

    outputs: tuple[FileFacts, ...]
    source: Source
    preset: str
    readers: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def path(self) -> Path:
        """The one output, or the folder of the outputs."""
        return self.outputs[0].path if len(self.outputs) == 1 else self.outputs[0].path.parent

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        heads = ("file", "rows", "columns", "bytes", "seconds")
        rows = [(str(o.path), f"{o.rows:,}", f"{o.columns:,}", f"{o.size:,}", f"{o.seconds:.2f}") for o in self.outputs]
        widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            for cells in (heads, *rows)
        ]
        lines.append(f"plate {self.source.plate} from {self.source.uri}, preset {self.preset}, {self.seconds:.2f} s")
        lines.extend(f"{table}: read by scanning ({reason})" for table, reason in self.readers)
        lines.extend(
            f"{o.path.name}: {c.count} values of {c.column} are not of its type and became null, such as {c.example}"
            for o in self.outputs
            for c in o.coercions
        )
        return "\n".join(lines)
