"""Whether a plate is converted already, or is about to be, by what Dagster recorded of its runs."""

import dagster as dg

from cytotable_dagster.defs.assets.common import (
    CODE_VERSION,
    PLATE_SOURCE,
    PLATE_SQLITE,
    SINGLE_CELLS,
    data_version,
    latest_record,
)

UNDER_WAY = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def is_under_way(instance: dg.DagsterInstance, key: str) -> bool:
    """Whether a run of a plate waits or works, whoever started it."""
    return instance.get_runs_count(dg.RunsFilter(tags={"dagster/partition": key}, statuses=UNDER_WAY)) > 0


def is_converted(instance: dg.DagsterInstance, key: str, version: str) -> bool:
    """Whether the single cells of a plate were made of this version of its source, by this version of the converter."""
    plate = latest_record(instance, PLATE_SQLITE, key)
    cells = latest_record(instance, SINGLE_CELLS, key)
    return (
        plate is not None
        # Looked through once more, a plate is the same to what was made of it.
        and _version_made_of(instance, cells) == data_version(plate)
        and _tags(plate).get(f"dagster/input_data_version/{PLATE_SOURCE.to_user_string()}") == version
        and all(_tags(record).get("dagster/code_version") == CODE_VERSION for record in (plate, cells))
    )


def _version_made_of(instance: dg.DagsterInstance, cells: dg.EventLogRecord | None) -> str | None:
    """Of what the same run made before it, a step knows the event and no version."""
    event = _tags(cells).get(f"dagster/input_event_pointer/{PLATE_SQLITE.to_user_string()}")
    if event is None:
        return None
    wanted = dg.AssetRecordsFilter(asset_key=PLATE_SQLITE, storage_ids=[int(event)])
    return data_version(next(iter(instance.fetch_materializations(wanted, limit=1).records), None))


def _tags(record: dg.EventLogRecord | None) -> dict[str, str]:
    made = record.asset_materialization if record else None
    return dict(made.tags or {}) if made else {}
