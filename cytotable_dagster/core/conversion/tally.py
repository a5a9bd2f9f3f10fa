"""What is told of several plates when they are converted, noted as each one ends."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cytotable_dagster.core.conversion.several import Done, Ready, report_of
from cytotable_dagster.core.conversion.skipping import Skipping
from cytotable_dagster.core.model.types import FileFacts, Source
from cytotable_dagster.core.planning.unify import Drift
from cytotable_dagster.core.reports.records import ConversionReport
from cytotable_dagster.core.reports.results import ConversionResult


@dataclass
class Tally:
    """Plates that are done: `rows` and `seconds` by table, the others in the order of the plates."""

    started: float = field(default_factory=time.perf_counter)
    rows: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    reports: list[ConversionReport] = field(default_factory=list)
    readers: list[tuple[str, str]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def add(self, done: Done) -> None:
        """Note a plate."""
        for name, made in done.files.items():
            self.rows[name] += made.rows
            self.seconds[name] = self.seconds.get(name, 0.0) + made.seconds
        self.reports.append(done.report)
        self.readers += done.readers
        self.sources.append(done.plate.source)

    def result(
        self,
        files: dict[str, FileFacts],
        drifts: Sequence[Drift],
        ready: Sequence[Ready],
        skipping: Skipping,
        notes: Sequence[str] = (),
    ) -> ConversionResult:
        """The result, when all plates are done; `ready` are those that were looked through, `notes` more to tell."""
        report = report_of(self.reports, drifts, ready, skipping)
        return ConversionResult(
            files=files,
            sources=tuple(self.sources),
            readers=tuple(self.readers),
            seconds=time.perf_counter() - self.started,
            report=replace(report, notes=(*report.notes, *notes)),
        )
