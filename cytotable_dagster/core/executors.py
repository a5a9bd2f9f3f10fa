"""Where the steps run: Parsl executors, by default threads of this machine."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
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
    """Runs plain functions on a Parsl kernel; `ahead` is how many calls may wait or run at once."""

    kernel: "DataFlowKernel"
    ahead: int

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Start one call. The function is sent by name, so it has to live in an installed package."""
        from parsl import python_app

        return python_app(function, data_flow_kernel=self.kernel)(*arguments)

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
    """A runner on `parsl_config`, else on the kernel that is loaded, else on threads of this machine.

    A kernel that was loaded before is left as it was; one started here is cleaned up.

    Args:
        scratch: a folder for Parsl's own files.

    Raises:
        OptionError: `parsl_config` is something else.
    """
    import parsl
    from parsl.errors import NoDataFlowKernelError

    if not isinstance(parsl_config, parsl.Config | None):
        raise OptionError(f"parsl_config: a parsl.Config is expected, not a {type(parsl_config).__name__}")
    if parsl_config is None:
        try:
            yield Runner(parsl.dfk(), _AHEAD_OF_OTHER_EXECUTORS)
            return
        except NoDataFlowKernelError:
            pass
    config = parsl_config or thread_config()
    with _run_dir_in(config, scratch), parsl.DataFlowKernel(config) as kernel:
        yield Runner(kernel, _calls_ahead(config))


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
