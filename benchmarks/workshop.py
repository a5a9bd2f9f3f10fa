"""Where measurements are taken: every run in a process of its own, in a folder that is removed afterwards."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytotable_dagster_tests.parity.peer import ROOT, run_peer
from cytotable_dagster_tests.parity.processes import Finished, bare_environment, run_to_end

CHUNK_SIZE = 30_000
"""Objects a chunk at which CytoTable is at its best."""

TIMEOUT = 3600


@dataclass(frozen=True)
class Sample:
    """One run. `seconds` are those of the work itself, `whole_seconds` those of its process, `cpu_seconds` of the
    processor; memory in bytes, of the process and its descendants: `peak_anonymous` without pages of files,
    `peak_resident` with them."""

    seconds: float
    whole_seconds: float
    cpu_seconds: float
    peak_anonymous: int
    peak_resident: int
    facts: Mapping[str, Any]


class MeasurementError(Exception):
    """What was to be measured failed."""


@dataclass(frozen=True)
class Workshop:
    """A folder for plates and results. Compiled code is kept in it, so that only a first run compiles."""

    folder: Path

    @property
    def out(self) -> Path:
        """Where a run puts its results; emptied before each."""
        return self.folder / "out"

    def task(self, name: str, **arguments: Any) -> Sample:
        """Run a function of `benchmarks.tasks`."""
        self._clear()
        request, response = self.folder / "request.json", self.folder / "response.json"
        request.write_text(json.dumps({"task": name, "arguments": arguments}, default=str))
        response.unlink(missing_ok=True)
        finished = self._run([sys.executable, "-m", "benchmarks.tasks", str(request), str(response)])
        answer = json.loads(response.read_text())
        return _sample(answer.pop("seconds"), finished, answer)

    def shell(self, *command: str) -> Sample:
        """Run a command of this environment, as a user would from the shell."""
        self._clear()
        finished = self._run([str(Path(sys.executable).with_name(command[0])), *command[1:]])
        return _sample(finished.seconds, finished, {})

    def ours(self, source: Path | str, *, joined: bool, chunk_size: int | None = CHUNK_SIZE, **options: Any) -> Sample:
        """Our convert()."""
        dest = self.out / "single_cells.parquet" if joined else self.out
        return self.task("convert", source_path=source, dest_path=dest, chunk_size=chunk_size, **options)

    def theirs(self, source: Path | str, **options: Any) -> Sample:
        """CytoTable's convert() of one source; see `theirs_each`."""
        return self.theirs_each([source], **options)

    def theirs_each(
        self,
        sources: Sequence[Path | str],
        *,
        preset: str,
        joined: bool,
        executor: Any = "threads",
        chunk_size: int = CHUNK_SIZE,
        variables: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Sample:
        """CytoTable's convert() of one source after the other in one process, with these variables in its environment;
        `seconds` are those of all calls."""
        self._clear()
        calls = [
            {
                "source_path": source,
                "dest_path": self.out / f"theirs-{number}",
                "dest_datatype": "parquet",
                "preset": preset,
                "join": joined,
                "chunk_size": chunk_size,
                **options,
            }
            for number, source in enumerate(sources)
        ]
        answers, finished = run_peer(calls, executor=executor, timeout=TIMEOUT, variables=variables)
        for answer in answers:
            if answer.error:
                raise MeasurementError(f"CytoTable: {answer.error}")
        return _sample(sum(answer.seconds for answer in answers), finished, {})

    def _clear(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)

    def _run(self, command: Sequence[str]) -> Finished:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = {**bare_environment(home), "PYTHONPATH": str(ROOT)}
        finished = run_to_end(command, folder=self.folder, environment=environment, timeout=TIMEOUT)
        if finished.returncode:
            raise MeasurementError(
                f"{' '.join(command[1:4])} ended with {finished.returncode}:\n{finished.output[-4000:]}"
            )
        return finished


def _sample(seconds: float, finished: Finished, facts: Mapping[str, Any]) -> Sample:
    took = (finished.seconds, finished.cpu_seconds)
    return Sample(seconds, *took, finished.peak_anonymous, finished.peak_resident, facts)


@contextmanager
def workshop(parent: Path | None = None) -> Iterator[Workshop]:
    """A workshop in a temporary folder, in `parent` where that is given."""
    with tempfile.TemporaryDirectory(prefix="cytotable-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Workshop(Path(os.path.realpath(name)))
