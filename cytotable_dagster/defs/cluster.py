"""What chunks are converted on, as Parsl is told of it."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.execution.runner import Runner, runner, thread_config
from cytotable_dagster.core.support.cores import cores
from cytotable_dagster.defs.settings import setting
from cytotable_dagster.loading import loaded

if TYPE_CHECKING:
    from parsl import Config


class ParslCluster(dg.ConfigurableResource):
    """What the chunks are converted on; a Parsl kernel is started for each step that needs one, and cleaned up."""

    executor: str | None = Field(
        default=None,
        description="threads; processes (a HighThroughputExecutor on this machine); or module:function, which "
        "returns a parsl.Config, for a cluster; the module is installed, or in the folder that Dagster was started in. "
        "Default: CYTOTABLE_EXECUTOR, else threads.",
    )
    workers: int | None = Field(
        default=None, description="Threads or processes. Default: CYTOTABLE_WORKERS, else one a core."
    )

    @contextmanager
    def runner(self, scratch: Path) -> Iterator[Runner]:
        """A runner on a kernel of its own; Parsl's files go into `scratch`."""
        with runner(self.config(scratch), scratch) as run:
            yield run

    def check(self) -> None:
        """See whether a kernel can be made of the settings, before a plate is fetched.

        Raises:
            OptionError: it cannot.
        """
        _workers(self.workers)
        if self._chosen() not in ("threads", "processes"):
            _loaded_config(self._chosen())

    def config(self, scratch: Path) -> "Config":
        chosen = self._chosen()
        workers = _workers(self.workers)
        if chosen == "threads":
            return thread_config(workers)
        if chosen == "processes":
            return _process_config(workers, scratch)
        return _loaded_config(chosen)

    def _chosen(self) -> str:
        return setting(self.executor, "CYTOTABLE_EXECUTOR", "threads")


def _workers(configured: int | None) -> int:
    text = str(configured or os.environ.get("CYTOTABLE_WORKERS") or cores())
    if not text.isdigit() or int(text) < 1:
        raise OptionError(f"CYTOTABLE_WORKERS={text!r}: give a number from 1")
    return int(text)


def _process_config(workers: int, scratch: Path) -> "Config":
    from parsl import Config, HighThroughputExecutor
    from parsl.providers import LocalProvider

    # Parsl looks for its scripts on the PATH, where an environment that is not activated is not.
    scripts = Path(sys.executable).parent
    # A run that is killed would leave its interchange, and that its workers; on Linux the kernel can end it too.
    mortal = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return Config(
        executors=[
            HighThroughputExecutor(
                interchange_launch_cmd=[*mortal, str(scripts / "interchange.py")],
                label="processes",
                address="127.0.0.1",
                loopback_address="127.0.0.1",
                max_workers_per_node=workers,
                worker_logdir_root=str(scratch / "parsl"),
                heartbeat_period=5,
                heartbeat_threshold=20,
                provider=LocalProvider(
                    init_blocks=1, max_blocks=1, worker_init=f"export PATH={shlex.quote(str(scripts))}:$PATH"
                ),
            )
        ],
        run_dir=str(scratch / "parsl"),
        initialize_logging=False,
        usage_tracking=0,
    )


def _loaded_config(address: str) -> "Config":
    """What the user's function at `module:function` returns."""
    found = loaded(address, f"executor {address!r}", "give threads, processes or module:function")
    from parsl import Config

    if not isinstance(found, Config):
        raise OptionError(f"executor {address!r}: a parsl.Config is expected, not a {type(found).__name__}")
    return found
