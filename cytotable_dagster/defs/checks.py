"""Asset checks: facts of a plate's files, in sentences.

What would make the next asset wrong has failed the asset before; these show the facts, and `rows_reconciled` holds back
the single cells all the same. They are two steps of a run, for a step each would cost a run of a small plate more than
its conversion. A run of no plate ("Execute all" of the web UI) checks all plates, and shows them in a table.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cytotable_dagster.core.errors import CytoTableError, PlanError
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.lake.plans import kept_plan
from cytotable_dagster.core.model.presets import IMAGE
from cytotable_dagster.core.model.types import SINGLE_CELLS as JOINED
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.shown import counted
from cytotable_dagster.defs.assets.common import (
    COMPARTMENTS,
    CONVERT_POOL,
    SINGLE_CELLS,
    compartment_key,
    latest_record,
)
from cytotable_dagster.defs.assets.faults import step, told
from cytotable_dagster.defs.assets.unchecked import log_check, tell_unchecked
from cytotable_dagster.defs.check_limits import CheckLimits, Limits
from cytotable_dagster.defs.partitions import key_of, name_of, plates
from cytotable_dagster.defs.plate_facts import (
    Outcome,
    Subject,
    counts_agree,
    objects_matched,
    rows_reconciled,
    values_fit,
)
from cytotable_dagster.defs.resources import Lake

Check = Callable[[Subject], Outcome]
_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_BLOCKING = (rows_reconciled,)
# Facts of many a plate, and no errors of the conversion.
_WARNINGS = (values_fit, counts_agree, objects_matched)
# Of a run over all plates: those it names first, and rows of its table.
_NAMED, _ROWS = 3, 200


@dataclass(frozen=True)
class _Judged:
    """What a check says of a plate; `severity` is of an outcome that does not pass."""

    plate: str
    outcome: Outcome
    severity: dg.AssetCheckSeverity

    @property
    def rank(self) -> int:
        """What is worst comes first."""
        return 2 if self.outcome.passed else int(self.severity == _WARN)


def plate_checks(chunks: int, compartments: Sequence[str] = COMPARTMENTS) -> list[dg.AssetChecksDefinition]:
    """All checks of a plate's files. Those of compartments and of the joined file are steps of their own: between them
    is the step that makes single cells."""
    of_compartments: dict[Check, Sequence[str]] = {
        rows_reconciled: compartments,
        values_fit: compartments,
        counts_agree: (IMAGE,),
    }
    of_single_cells: dict[Check, Sequence[str]] = {rows_reconciled: (JOINED,), objects_matched: (JOINED,)}
    return [
        _checks("compartment_checks", of_compartments, chunks),
        _checks("single_cells_checks", of_single_cells, chunks),
    ]


def _checks(name: str, wanted: Mapping[Check, Sequence[str]], chunks: int) -> dg.AssetChecksDefinition:
    subjects = {(_asset(file), check.__name__): (check, file) for check, files in wanted.items() for file in files}
    with warnings.catch_warnings():
        # Checks by partition are a preview in this Dagster, which every process would say of each.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        specs = [
            dg.AssetCheckSpec(
                title,
                asset=asset,
                description=f"{' '.join((check.__doc__ or '').split())} {_if_not(check)}",
                partitions_def=plates,
                blocking=check in _BLOCKING,
            )
            for (asset, title), (check, _) in subjects.items()
        ]

    @dg.multi_asset_check(name=name, specs=specs, can_subset=True, pool=CONVERT_POOL)
    def checks(
        context: dg.AssetCheckExecutionContext, lake: Lake, check_limits: CheckLimits
    ) -> Iterator[dg.AssetCheckResult]:
        with step(context):
            judge = _Judge(context.instance, lake.options(chunks), check_limits.limits())
            keys = sorted(context.selected_asset_check_keys)
            if not context.has_partition_key:
                names = sorted(map(name_of, context.instance.get_dynamic_partitions(str(plates.name))))
                folders = lake.folders(names)
                for key in keys:
                    check, file = subjects[key.asset_key, key.name]
                    # A result would be asked for its plate.
                    log_check(context, _of_all(key, [judge.whatever(key, check, file, n, folders[n]) for n in names]))
                return
            plate = name_of(context.partition_key)
            found = {key: judge(key, *subjects[key.asset_key, key.name], plate, lake.of(plate)) for key in keys}
            if any(not judged.rank and key.name in {c.__name__ for c in _BLOCKING} for key, judged in found.items()):
                tell_unchecked(context, but=keys)
            for key, judged in found.items():
                yield _result(key, judged)

    return checks


def _if_not(check: Check) -> str:
    return "A warning where not." if check in _WARNINGS else "An error where not."


@dataclass(frozen=True)
class _Judge:
    instance: dg.DagsterInstance
    options: Options
    limits: Limits

    def __call__(self, key: dg.AssetCheckKey, check: Check, file: str, plate: str, folder: PlateFolder) -> _Judged:
        """What a check says of a plate. One that was not converted has nothing to check, and is no failure.

        Raises:
            CytoTableError: the lake cannot be read.
        """
        severity = _WARN if check in _WARNINGS else _ERROR
        try:
            plan = kept_plan(plate, folder, self.options)
        except PlanError as error:
            if not self._is_made(key, plate):
                return _Judged(plate, _passed(f"plate {plate} is not converted, and has no file to check"), severity)
            return _Judged(plate, Outcome(False, f"not checked: {told(error)}"), _WARN)
        if file != JOINED and file not in plan.compartments:
            return _Judged(plate, _passed(f"{plate} has no table for {file}"), severity)
        if file == JOINED and plan.base is None:
            return _Judged(plate, _passed(f"{plate} has no table of objects"), severity)
        if folder.stored(file) is None:
            if not self._is_made(key, plate):
                return _Judged(plate, _passed(f"plate {plate} is not converted, and has no file to check"), severity)
            said = f"{folder.address(file)} is not there any more; materialize {key.asset_key.to_user_string()} again"
            return _Judged(plate, Outcome(False, said), _ERROR)
        return _Judged(plate, check(Subject(plan, folder, file, self.limits)), severity)

    def _is_made(self, key: dg.AssetCheckKey, plate: str) -> bool:
        return latest_record(self.instance, key.asset_key, key_of(plate)) is not None

    def whatever(self, key: dg.AssetCheckKey, check: Check, file: str, plate: str, folder: PlateFolder) -> _Judged:
        """The same; what cannot be read is told, for the other plates have to be checked too."""
        try:
            return self(key, check, file, plate, folder)
        except CytoTableError as error:
            return _Judged(plate, Outcome(False, f"not checked: {told(error)}"), _WARN)


def _result(key: dg.AssetCheckKey, judged: _Judged) -> dg.AssetCheckResult:
    outcome = judged.outcome
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=outcome.passed,
        severity=judged.severity,
        description=outcome.said,
        metadata=dict(outcome.facts),
    )


def _of_all(key: dg.AssetCheckKey, found: Sequence[_Judged]) -> dg.AssetCheckEvaluation:
    """One result of all plates: the worst of them."""
    worst = sorted(found, key=lambda judged: judged.rank)
    odd = [judged for judged in worst if not judged.outcome.passed]
    checked = f"{counted(len(found), 'plate')} checked: {'it passes' if len(found) == 1 else 'all pass'}"
    said = f"{len(odd):,} of {counted(len(found), 'plate')} do not pass: " if odd else checked
    said += "; ".join(f"{judged.plate}: {judged.outcome.said}" for judged in odd[:_NAMED])
    said += f"; and {len(odd) - _NAMED:,} more" if len(odd) > _NAMED else ""
    rows = [
        dg.TableRecord({"plate": j.plate, "result": _word(j), "what was found": j.outcome.said}) for j in worst[:_ROWS]
    ]
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not odd,
        severity=odd[0].severity if odd else _WARN,
        description=said,
        metadata={
            "plates checked": len(found),
            "plates that do not pass": len(odd),
            **({"plates": dg.MetadataValue.table(rows)} if rows else {}),
            **({"plates not shown": len(found) - _ROWS} if len(found) > _ROWS else {}),
        },
    )


def _word(judged: _Judged) -> str:
    return ("error", "warning", "passed")[judged.rank]


def _passed(note: str) -> Outcome:
    return Outcome(True, note)


def _asset(name: str) -> dg.AssetKey:
    return SINGLE_CELLS if name == JOINED else compartment_key(name)
