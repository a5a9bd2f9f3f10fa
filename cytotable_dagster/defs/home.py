"""What a Dagster instance needs to convert plates: its `dagster.yaml`, and how many steps may run at once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cytotable_dagster.core.errors import OptionError
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.defs.yaml_merge import Merged, lacking, merged

if TYPE_CHECKING:
    from dagster import DagsterInstance

# The module that Dagster loads, and what Dagster calls it where nobody names it otherwise (`-m`): whatever remembers a
# sensor or a run by its code location finds it again, however Dagster was started.
LOCATION = "cytotable_dagster.definitions"

INSTANCE = """\
# No connection to anywhere but this machine, and no dialog before the first page.
telemetry:
  enabled: false
nux:
  enabled: false

# Each run is a process; those beyond the limits wait in the queue. By step, a waiting run would be a process that
# spins, and one that was killed would keep its place in a pool for ever.
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
concurrency:
  runs:
    max_concurrent_runs: 4
  pools:
    granularity: run
    default_limit: 1

# A run whose process died is started again, and does what is missing. What fails by itself is retried by its step.
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60
  poll_interval_seconds: 15
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false

# A sensor leaves a record of every tick, four a minute.
retention:
  sensor:
    purge_after_days:
      skipped: 1
      success: 30
      failure: 30
"""

# How many runs may fetch, and how many convert: one plate comes while another is worked at, on all cores.
POOLS: Mapping[str, int] = {"fetch": 2, "parsl": 2}

# What to do about a package that is missing.
_ADVICE = {
    "module dagster_postgres": "; pip install 'cytotable-dagster[postgres]'",
    "'psycopg'": "; give postgresql+psycopg2:// in postgres_url, or scheme: postgresql+psycopg2 in postgres_db",
}


def write_settings(home: Path) -> bool:
    """Write `dagster.yaml` unless there is one; whether it was written."""
    file = home / "dagster.yaml"
    if file.exists():
        return False
    file.write_text(INSTANCE)
    return True


def merge_settings(home: Path) -> Merged:
    """Put what it lacks into the `dagster.yaml` that is there, where Dagster takes it so.

    Raises:
        OptionError: the file cannot be read as settings, or cannot be written.
    """
    # Where it is a link, what it leads to.
    file = (home / "dagster.yaml").resolve()
    try:
        text = file.read_text()
        # Limits have other names too, and Dagster takes no two of them.
        tries = (merged(text, INSTANCE), merged(text, INSTANCE, but=("concurrency",)))
        found = next((found for found in tries if not found.added or _is_accepted(found.text)), None)
        if found is None:
            return Merged(text, kept=tries[0].kept, lacking=lacking(text, INSTANCE))
        if not found.added:
            return found
        with whole_file(file) as temporary:
            temporary.write_text(found.text)
            shutil.copymode(file, temporary)
    except OptionError as error:
        raise OptionError(f"{file}: {error}") from error
    except OSError as error:
        raise OptionError(f"{file}: cannot be read and written ({error.strerror}); check its permissions") from error
    return found


def _is_accepted(settings: str) -> bool:
    from dagster import DagsterInstance

    with TemporaryDirectory() as trial:
        (Path(trial) / "dagster.yaml").write_text(settings)
        try:
            DagsterInstance.from_config(trial).dispose()
        except Exception:
            return False
    return True


def set_pools(instance: "DagsterInstance") -> None:
    """Limit the pools of an instance, unless it has limits for them."""
    limited = {pool.name for pool in instance.event_log_storage.get_pool_limits()}
    for name, limit in POOLS.items():
        if name not in limited:
            instance.event_log_storage.set_concurrency_slots(name, limit)


def open_instance() -> "DagsterInstance":
    """The instance of DAGSTER_HOME.

    Raises:
        OptionError: its settings lead to none: Dagster refuses them, a package is missing, a database does not answer.
    """
    from dagster import DagsterInstance

    try:
        return DagsterInstance.get()
    except Exception as error:
        reason: BaseException = error
        while reason.__cause__ is not None:
            reason = reason.__cause__
        advice = next((advice for missing, advice in _ADVICE.items() if missing in str(reason)), "")
        raise OptionError(f"the Dagster instance of DAGSTER_HOME cannot be opened: {reason}{advice}") from error
