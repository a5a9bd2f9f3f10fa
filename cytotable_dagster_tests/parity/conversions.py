"""Every case converted by both tools, once, and what differs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cytotable_dagster import CytoTableError, convert
from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster_tests.parity.cases import CASES, Case
from cytotable_dagster_tests.parity.compare import Found, Where, compare, explained
from cytotable_dagster_tests.parity.listed import LISTED
from cytotable_dagster_tests.parity.peer import Arguments, PeerAnswer, run_peer
from cytotable_dagster_tests.parity.sources import REAL, SYNTHETIC, copy_of

JOINED = "single_cells"
COMPARTMENTS = ("Image", "Cells", "Cytoplasm", "Nuclei")


@dataclass
class Conversions:
    """Conversions below `folder`; `data` is the folder of real files, None where it is missing."""

    folder: Path
    data: Path | None
    _found: dict[Case, list[Found]] = field(default_factory=dict)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that can be converted here."""
        return tuple(case for case in CASES if self.data or case.source not in REAL)

    def differences(self, case: Case) -> list[Found]:
        if case not in self._found:
            self._found[case] = self._differences(case)
        return self._found[case]

    @cached_property
    def _sources(self) -> Mapping[str, Path]:
        builds = dict(SYNTHETIC)
        if self.data:
            builds |= {name: copy_of(self.data, file) for name, file in REAL.items()}
        return {name: build(self.folder / "sources" / name) for name, build in builds.items()}

    @cached_property
    def _answers(self) -> Mapping[Case, PeerAnswer]:
        """CytoTable's, all in one process: its imports alone take seconds."""
        asked = dict.fromkeys(case.peer for case in self.cases)
        answers, _ = run_peer([self._peer_arguments(case) for case in asked])
        return dict(zip(asked, answers, strict=True))

    def _peer_arguments(self, case: Case) -> Arguments:
        return {
            "source_path": self._sources[case.source],
            "dest_path": self.folder / "theirs" / case.name,
            "dest_datatype": "parquet",
            "preset": case.preset,
            "join": case.joined,
            "chunk_size": case.chunk_size,
            **case.options,
            **case.peer_options,
        }

    def _ours(self, case: Case) -> dict[str, Path]:
        folder = self.folder / "ours" / case.name
        result = convert(
            self._sources[case.source],
            folder / f"{JOINED}.parquet" if case.joined else folder,
            preset=case.preset,
            chunk_size=case.chunk_size,
            names="cytotable",
            **case.options,
        )
        return {output.path.stem: output.path for output in result.outputs}

    def _differences(self, case: Case) -> list[Found]:
        answer = self._answers[case.peer]
        where = Where(case.name, case.preset, JOINED if case.joined else "")
        try:
            ours = self._ours(case)
        except CytoTableError as error:
            told = f"{type(error).__name__}: {error}"
            return [explained("refuses", where, told, f"CytoTable's answer is {answer}", LISTED)]
        if answer.error is not None:
            return [explained("fails", where, answer.error, "where ours does not", LISTED)]
        theirs = _by_table(answer.files, case)
        found = []
        for table, paths in theirs.items():
            where = Where(case.name, case.preset, table)
            if table not in ours:
                found.append(explained("their table", where, "", "no such table in ours", LISTED))
                continue
            names = [str(path.relative_to(self.folder / "theirs" / case.peer.name)) for path in paths]
            if names != [ours[table].name]:
                found.append(explained("file name", where, "", f"{names} is {ours[table].name}", LISTED))
            found += compare(_read(paths), pq.read_table(ours[table]), where, LISTED)
        for table in ours.keys() - theirs.keys():
            found.append(Found("our table", Where(case.name, case.preset, table), "", "no such table in CytoTable's"))
        return found


def _by_table(files: tuple[Path, ...], case: Case) -> dict[str, list[Path]]:
    """CytoTable's files by the name that their table has in ours; by their own where it has none."""
    if case.joined:
        return {JOINED: list(files)}
    if PRESETS[case.preset].flat:
        return {"Cells": list(files)}
    tables: dict[str, list[Path]] = {}
    for path in files:
        folder = path.parents[1].name if case.options.get("concat") is False else path.parent.name
        whole = {name.lower(): name for name in COMPARTMENTS}
        tables.setdefault(whole.get(folder.removeprefix("per_"), folder), []).append(path)
    return tables


def _read(paths: list[Path]) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in paths])
