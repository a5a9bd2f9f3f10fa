"""Where the steps run: on Parsl executors, or where nobody brought Parsl, in threads of this process."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError

if TYPE_CHECKING:
    from parsl import Config
    from parsl.dataflow.dflow import DataFlowKernel

# What Parsl itself uses where nobody chose a folder: the working directory, where we leave nothing.
_PARSL_DEFAULT_RUN_DIR = "runinfo"
_AHEAD_OF_OTHER_EXECUTORS = 256

Call = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Runner:
    """Runs plain functions; `submit` starts one call, `ahead` is how many calls may wait or run at once, `in_process`
    says that results are handed over as they are.

    Functions are sent by name where they run in another process, so they have to live in an installed package.
    """

    submit: "Callable[..., Future[Any]]"
    ahead: int
    in_process: bool = False

    def run(self, calls: Iterable[Call]) -> Iterator[tuple[int, Any]]:
        """Run calls, a bounded number ahead, and give (position, result) as each ends.

        The first error stops what has not started, waits for what has, and is raised.
        """
        waiting: dict[Future[Any], int] = {}
        try:
            for position, (function, arguments) in enumerate(calls):
                while len(waiting) >= self.ahead:
                    yield from _ended(waiting)
                waiting[self.submit(function, *arguments)] = position
            while waiting:
                yield from _ended(waiting)
        finally:
            wait(waiting)


@contextmanager
def runner(parsl_config: "Config | None", scratch: Path) -> Iterator[Runner]:
    """A runner on `parsl_config`, else on the Parsl kernel that is loaded, else in threads of this process.

    A kernel that was loaded before is left as it was; one started here is cleaned up. Threads are the same without
    Parsl as with its ThreadPoolExecutor, but for the second or more that importing Parsl takes.

    Args:
        scratch: a folder for Parsl's own files.

    Raises:
        OptionError: `parsl_config` is something else.
    """
    if parsl_config is None and "parsl" not in sys.modules:
        with _threads() as run:
            yield run
        return

    import parsl
    from parsl.errors import NoDataFlowKernelError

    if not isinstance(parsl_config, parsl.Config | None):
        raise OptionError(f"parsl_config: a parsl.Config is expected, not a {type(parsl_config).__name__}")
    if parsl_config is not None:
        with _run_dir_in(parsl_config, scratch), parsl.DataFlowKernel(parsl_config) as kernel:
            yield _on_kernel(kernel, _calls_ahead(parsl_config))
        return
    try:
        loaded = parsl.dfk()
    except NoDataFlowKernelError:
        with _threads() as run:
            yield run
    else:
        yield _on_kernel(loaded, _AHEAD_OF_OTHER_EXECUTORS)


@contextmanager
def _threads() -> Iterator[Runner]:
    count = os.cpu_count() or 1
    pool = ThreadPoolExecutor(count, thread_name_prefix="cytotable_dagster")
    try:
        yield Runner(pool.submit, 2 * count, in_process=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_kernel(kernel: "DataFlowKernel", ahead: int) -> Runner:
    from parsl import python_app

    return Runner(lambda function, *arguments: python_app(function, data_flow_kernel=kernel)(*arguments), ahead)


def thread_config(threads: int | None = None) -> "Config":
    """A Parsl configuration of threads in this process, one for each core unless told otherwise."""
    from parsl import Config, ThreadPoolExecutor

    return Config(
        executors=[ThreadPoolExecutor(label="threads", max_threads=threads or os.cpu_count() or 1)],
        initialize_logging=False,
        usage_tracking=0,
    )


def _ended(waiting: "dict[Future[Any], int]") -> Iterator[tuple[int, Any]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        position = waiting.pop(future)
        yield position, future.result()


def _calls_ahead(config: "Config") -> int:
    from parsl import ThreadPoolExecutor

    threads = [e.max_threads or 1 for e in config.executors if isinstance(e, ThreadPoolExecutor)]
    return 2 * max(threads) if len(threads) == len(config.executors) else _AHEAD_OF_OTHER_EXECUTORS


@contextmanager
def _run_dir_in(config: "Config", scratch: Path) -> Iterator[None]:
    chosen = config.run_dir
    if chosen == _PARSL_DEFAULT_RUN_DIR:
        config.run_dir = str(scratch / "parsl")
    try:
        yield
    finally:
        config.run_dir = chosen
