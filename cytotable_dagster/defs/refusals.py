"""Files that were found and cannot be plates: an asset check of `plate_source`, red while there are any, which names
them all. A file leaves it when it is replaced by a good one, is removed, or its plate is added by hand.

What is refused is read from the check's last evaluation, so that the web UI shows what sensors and notices go by.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.intake.listing import Listing
from cytotable_dagster.defs.assets.common import PLATE_SOURCE

UPLOADS_ACCEPTED = dg.AssetCheckKey(PLATE_SOURCE, "uploads_accepted")
# Files that are named one by one; that are kept; that are looked at again in one tick.
_NAMED, _KEPT, _LOOKED_AT = 20, 1000, 20
# Evaluations among which the last is looked for: one that is asked for and not made leaves a record too.
_LAST = 20


@dataclass(frozen=True)
class Refused:
    """A file: its address and version, why it is refused, since when (seconds since 1970), and its batch."""

    uri: str
    version: str
    reason: str
    since: float
    batch: str | None = None

    @classmethod
    def now(cls, uri: str, version: str, reason: str, places: Mapping[str, str]) -> "Refused":
        return cls(uri, version, reason, time.time(), places.get("batch"))

    @property
    def name(self) -> str:
        """What it is called in its folder."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]


def refused_now(instance: dg.DagsterInstance) -> dict[str, Refused]:
    """What is refused, by address."""
    return told_last(instance) or {}


def told_last(instance: dg.DagsterInstance) -> dict[str, Refused] | None:
    """The same, and None where nobody has looked yet."""
    for record in instance.event_log_storage.get_asset_check_execution_history(UPLOADS_ACCEPTED, limit=_LAST):
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            with suppress(LookupError, ValueError, TypeError):
                kept: Any = event.asset_check_evaluation_data.metadata["refused"].value
                return {one["uri"]: Refused(**one) for one in kept}
    return None


def after_look(
    source: Listing, before: Mapping[str, Refused], found: Iterable[Refused], good: Iterable[str]
) -> dict[str, Refused]:
    """What is refused after a look that found these, and good plates at those addresses; files that went are out."""
    refused = dict(before)
    for one in found:
        known = before.get(one.uri)
        # Of a look that begins anew.
        if known is None or (known.version, known.reason) != (one.version, one.reason):
            refused[one.uri] = one
    for uri in good:
        refused.pop(uri, None)
    for uri in list(before)[:_LOOKED_AT]:
        with suppress(CytoTableError):
            if uri in refused and source.look(uri) is None:
                del refused[uri]
    return refused


def evaluation(refused: Mapping[str, Refused]) -> dg.AssetCheckEvaluation:
    """What the web UI shows of the files that are refused."""
    files = sorted(refused.values(), key=lambda one: one.since, reverse=True)[:_KEPT]
    more = f"; and {len(files) - 3:,} more" if len(files) > 3 else ""
    head = "1 file is refused" if len(files) == 1 else f"{len(files):,} files are refused"
    return dg.AssetCheckEvaluation(
        asset_key=PLATE_SOURCE,
        check_name=UPLOADS_ACCEPTED.name,
        passed=not files,
        severity=dg.AssetCheckSeverity.ERROR,
        # Dagster keeps showing an evaluation of a partition that no plate has, whatever plates come after it, and takes
        # one of each name.
        partition=datetime.now(UTC).isoformat(" ", "milliseconds"),
        description=f"{head}: {'; '.join(one.reason for one in files[:3])}{more}"
        if files
        else "no file that was found is refused",
        metadata={
            **{one.name: one.reason for one in files[:_NAMED] if one.name != "refused"},
            "refused": dg.MetadataValue.json([asdict(one) for one in files]),
        },
    )


def accept(instance: dg.DagsterInstance, uri: str) -> None:
    """Take a file that a plate was made of by hand for accepted."""
    refused = refused_now(instance)
    if refused.pop(uri, None) is not None:
        instance.report_runless_asset_event(evaluation(refused))
