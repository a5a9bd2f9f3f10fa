"""Runs attacks in processes of their own, so that a crash or a hang ends only the attack that it belongs to."""

import importlib
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from attacks.outcome import CRASH, HANG, RAW, Attack, Outcome, refused
from cytotable_dagster.core.errors import CytoTableError

_START_SECONDS = 120


@dataclass(frozen=True)
class Case:
    """An attack of a module, and what makes it what it is."""

    module: str
    seed: str


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    case: Case | None = None
    until: float = 0.0


def run(cases: Sequence[Case], seconds: float, workers: int) -> Iterator[tuple[Case, Outcome]]:
    """Outcomes, as they come. An attack that takes longer than `seconds` is a hang."""
    left = list(reversed(cases))
    pool = [_started() for _ in range(min(workers, len(cases)))]
    try:
        while left or any(worker.case for worker in pool):
            for place, worker in enumerate(pool):
                if worker.case is None and left:
                    pool[place] = _given(worker, left.pop(), seconds)
            busy = [worker for worker in pool if worker.case]
            wait([worker.pipe for worker in busy], timeout=max(0.0, min(w.until for w in busy) - time.monotonic()))
            for place, worker in enumerate(pool):
                if worker.case and (outcome := _outcome(worker)):
                    yield worker.case, outcome
                    worker.case = None
                    if outcome.kind in (CRASH, HANG):
                        _ended(worker)
                        pool[place] = _started()
    finally:
        for worker in pool:
            _ended(worker)


def _started() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()
    if not ours.poll(_START_SECONDS) or ours.recv() != "ready":
        raise RuntimeError("a process for attacks did not start")
    return _Worker(process, ours)


def _given(worker: _Worker, case: Case, seconds: float) -> _Worker:
    worker.pipe.send(case)
    worker.case, worker.until = case, time.monotonic() + seconds
    return worker


def _outcome(worker: _Worker) -> Outcome | None:
    """What came of a worker's case; None while it is under way."""
    if worker.pipe.poll():
        try:
            return worker.pipe.recv()
        except EOFError:
            worker.process.join()
            return Outcome(CRASH, f"exit status {worker.process.exitcode}")
    return Outcome(HANG) if time.monotonic() > worker.until else None


def _ended(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _serve(pipe: Connection) -> None:
    pipe.send("ready")
    while True:
        try:
            case: Case = pipe.recv()
        except EOFError:
            return
        pipe.send(_one(importlib.import_module(f"attacks.{case.module}").attack, case.seed))


def _one(attack: Attack, seed: str) -> Outcome:
    folder = Path(tempfile.mkdtemp(prefix="attack."))
    try:
        return attack(seed, folder)
    except CytoTableError as error:
        return refused(error)
    except Exception as error:
        return Outcome(RAW, f"{type(error).__name__}: {error}".replace("\n", " / "))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
