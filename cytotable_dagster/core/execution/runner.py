"""Where the steps run: on Parsl executors, or where nobody brought Parsl, in threads of this process."""

import logging
import os
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.errors import OptionError, WorkerLostError
from cytotable_dagster.core.execution.stopping import unless_stopped
from cytotable_dagster.core.shown import one_line
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.core.support.memory import memory_used_again

if TYPE_CHECKING:
    from parsl import Config
    from parsl.dataflow.dflow import DataFlowKernel

# What Parsl itself uses where nobody chose a folder: the working directory, where we leave nothing.
_PARSL_DEFAULT_RUN_DIR = "runinfo"
_AHEAD_OF_OTHER_EXECUTORS = 256
_INTERCHANGE = "interchange.py"
# How long workers of other processes are given to leave the task that they are at.
_STOP_SECONDS = 5
_STOP_FILE = "stop"

Call = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Runner:
    """Runs plain functions; `submit` starts one call, `ahead` is how many calls may wait or run at once, `in_process`
    says that results are handed over as they are; `stop` is a file that calls them off,
    after which running ones are waited for so many seconds (`patience`; None is to their end). Errors that say that a
    worker is gone are `lost`.

    Functions are sent by name where they run in another process, so they have to live in an installed package.
    """

    submit: "Callable[..., Future[Any]]"
    ahead: int
    stop: Path
    patience: float | None = None
    in_process: bool = False
    lost: tuple[type[Exception], ...] = ()

    def run(self, calls: Iterable[Call]) -> Generator[tuple[int, Any], None, None]:
        """Run calls, a bounded number ahead, and give (position, result) as each ends. To be closed before the runner.

        The first error, or the end of who wanted the results, calls off what has not ended.

        Raises:
            WorkerLostError: a process that did the work is gone.
        """
        waiting: dict[Future[Any], int] = {}
        patience = None
        try:
            for position, (function, arguments) in enumerate(calls):
                while len(waiting) >= self.ahead:
                    yield from self._ended(waiting)
                waiting[self.submit(unless_stopped, self.stop, function, *arguments)] = position
            while waiting:
                yield from self._ended(waiting)
        except BaseException:
            self.stop.touch()
            patience = self.patience
            raise
        finally:
            wait(waiting, patience)

    def _ended(self, waiting: "dict[Future[Any], int]") -> Iterator[tuple[int, Any]]:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            position = waiting.pop(future)
            yield position, self._result(future)

    def _result(self, future: "Future[Any]") -> Any:
        try:
            return future.result()
        except self.lost as error:
            raise WorkerLostError(
                f"a worker is gone ({error}); if it ran out of memory, give it fewer neighbours"
            ) from error


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
    with memory_used_again(), _runner(parsl_config, scratch) as run:
        yield run


@contextmanager
def _runner(parsl_config: "Config | None", scratch: Path) -> Iterator[Runner]:
    if parsl_config is None and "parsl" not in sys.modules:
        with _threads(scratch) as run:
            yield run
        return

    import parsl
    from parsl.errors import NoDataFlowKernelError

    if not isinstance(parsl_config, parsl.Config | None):
        raise OptionError(f"parsl_config: a parsl.Config is expected, not a {type(parsl_config).__name__}")
    if parsl_config is not None:
        with (
            _run_dir_in(parsl_config, scratch),
            _kernel_of(parsl_config) as kernel,
        ):
            threads = _threads_of(parsl_config)
            # Threads cannot be ended from outside; workers of other processes end with their kernel.
            ahead, patience = (2 * threads, None) if threads else (_AHEAD_OF_OTHER_EXECUTORS, _STOP_SECONDS)
            # What was handed over is not to be made again by Parsl.
            yield _on_kernel(kernel, scratch, ahead, patience, bool(threads) and not parsl_config.retries)
        return
    try:
        loaded = parsl.dfk()
    except NoDataFlowKernelError:
        with _threads(scratch) as run:
            yield run
    else:
        yield _on_kernel(loaded, scratch, _AHEAD_OF_OTHER_EXECUTORS)


@contextmanager
def _threads(scratch: Path) -> Iterator[Runner]:
    count = cores()
    pool = ThreadPoolExecutor(count, thread_name_prefix="cytotable_dagster")
    try:
        yield Runner(pool.submit, count + 1, scratch / _STOP_FILE, in_process=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _on_kernel(
    kernel: "DataFlowKernel", scratch: Path, ahead: int, patience: float | None = None, in_process: bool = False
) -> Runner:
    from parsl import python_app
    from parsl.executors.errors import BadStateException
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    # An error of a task is raised here, in one line; Parsl would print its stack where nobody set up logging.
    logging.getLogger("parsl").addHandler(logging.NullHandler())
    return Runner(
        lambda function, *arguments: python_app(function, data_flow_kernel=kernel)(*arguments),
        ahead,
        scratch / _STOP_FILE,
        patience,
        in_process,
        lost=(WorkerLost, ManagerLost, BadStateException),
    )


def thread_config(threads: int | None = None) -> "Config":
    """A Parsl configuration of threads in this process, one for each core unless told otherwise."""
    from parsl import Config, ThreadPoolExecutor

    return Config(
        executors=[ThreadPoolExecutor(label="threads", max_threads=threads or cores())],
        initialize_logging=False,
        usage_tracking=0,
    )


def _threads_of(config: "Config") -> int:
    """Threads of this process that a configuration asks for; 0 where it has other executors."""
    from parsl import ThreadPoolExecutor

    threads = [e.max_threads or 1 for e in config.executors if isinstance(e, ThreadPoolExecutor)]
    return max(threads) if len(threads) == len(config.executors) else 0


@contextmanager
def _kernel_of(config: "Config") -> "Iterator[DataFlowKernel]":
    """A kernel whose workers on this machine have ended with it: Parsl asks their process groups to end, does not wait,
    and does not always reach them."""
    _check_can_start(config)
    groups: set[int | None] = set()
    try:
        with _started(config) as kernel:
            try:
                yield kernel
            finally:
                groups = {_group_of(pid) for pid in _blocks_here(config)} - {None, os.getpgrp()}
    finally:
        _end(groups)


def _check_can_start(config: "Config") -> None:
    """Refuse what Parsl would wait two minutes for: its interchange, that cannot be started or listen.

    Raises:
        OptionError: naming the executor, and what to do.
    """
    from parsl import HighThroughputExecutor

    for executor in config.executors:
        if not isinstance(executor, HighThroughputExecutor):
            continue
        where = f"parsl_config: executor {executor.label!r}"
        # It may be started by another program.
        first, *others = executor.interchange_launch_cmd
        for command in (first, *(part for part in others if Path(part).name == _INTERCHANGE)):
            if shutil.which(command) is None:
                beside = Path(sys.executable).parent
                known = f"; {beside} has one" if (beside / command).exists() else ""
                raise OptionError(f"{where}: {command} is not on the PATH{known}; set PATH, or interchange_launch_cmd=")
        for address, port in ((executor.address, executor.worker_port), (executor.loopback_address, None)):
            if address is not None and (reason := _not_listened_at(address, port)):
                raise OptionError(
                    f"{where}: this machine cannot listen at address {address!r} ({reason}); give one of its own"
                )


def _not_listened_at(address: str, port: int | None) -> str | None:
    """Why nothing can listen at an IP address (any free port for None); None where it can."""
    try:
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port or 0))
    except ValueError:
        return "it is no IP address"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _started(config: "Config") -> "DataFlowKernel":
    """A kernel; OptionError where Parsl cannot start it."""
    import parsl

    try:
        return parsl.DataFlowKernel(config)
    except Exception as error:
        for executor in config.executors:
            with suppress(Exception):
                executor.shutdown()
        said = one_line(str(error)) or type(error).__name__
        raise OptionError(f"parsl_config: Parsl cannot start it ({said})") from error


def _blocks_here(config: "Config") -> list[int]:
    """The first process of each block that a configuration has on this machine."""
    from parsl.providers import LocalProvider

    providers = [getattr(executor, "provider", None) for executor in config.executors]
    here = [provider for provider in providers if isinstance(provider, LocalProvider)]
    return [block["remote_pid"] for provider in here for block in provider.resources.values()]


def _end(groups: "set[int | None]") -> None:
    """Wait for processes of these groups, and kill those that do not end."""
    import psutil

    left = [process for process in psutil.process_iter() if _group_of(process.pid) in groups] if groups else []
    for process in psutil.wait_procs(left, timeout=_STOP_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_STOP_SECONDS)


def _group_of(pid: int) -> int | None:
    """The process group of a process; None where it is gone."""
    try:
        return os.getpgid(pid)
    except OSError:
        return None


@contextmanager
def _run_dir_in(config: "Config", scratch: Path) -> Iterator[None]:
    chosen = config.run_dir
    if chosen == _PARSL_DEFAULT_RUN_DIR:
        config.run_dir = str(scratch / "parsl")
    try:
        yield
    finally:
        config.run_dir = chosen
