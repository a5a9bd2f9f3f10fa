"""What the converter's commands do, given what was chosen on the command line; those of a Dagster instance are in
`cli.instance`."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from cytotable_dagster.cli.progress import shown_progress
from cytotable_dagster.cli.screen import say
from cytotable_dagster.core.errors import CytoTableError, StrictError
from cytotable_dagster.core.shown import counted, human_bytes


def convert(chosen: argparse.Namespace) -> None:
    """Convert plates, and print what was written."""
    from cytotable_dagster.core import convert as library

    _convert_by(library.convert, chosen)


def dataset_add(chosen: argparse.Namespace) -> None:
    """Convert plates into a dataset."""
    from cytotable_dagster import datasets

    _convert_by(datasets.add, chosen)


def _convert_by(function: Callable[..., Any], chosen: argparse.Namespace) -> None:
    from cytotable_dagster.core.reports.records import check_report_place

    store = {"endpoint_url": chosen.dest_endpoint_url, "profile_name": chosen.dest_profile_name}
    known = _known(chosen, "casts", "parsl_config", "report", *(f"dest_{name}" for name in store))
    given = {name: value for name, value in store.items() if value is not None}
    if chosen.report is not None:
        check_report_place(chosen.report)
    try:
        with shown_progress() as progress:
            result = function(
                **known,
                data_type_cast_map=dict(chosen.casts) if chosen.casts else None,
                parsl_config=_loaded_config(chosen.parsl_config),
                dest_cloud=given or None,
                progress=progress,
            )
    except StrictError as error:
        _write_report(error.report, chosen.report)
        raise
    say(chosen.told(result))
    _write_report(result.report, chosen.report)
    if skipped := result.report.skipped_plates:
        named = ", ".join(plate for plate, _ in skipped)
        of = counted(len(skipped) + len(result.sources), "plate")
        raise CytoTableError(f"{len(skipped)} of {of} {'was' if len(skipped) == 1 else 'were'} skipped: {named}")


def provenance(chosen: argparse.Namespace) -> None:
    """Find and verify the images of plates, and print what became of them."""
    from cytotable_dagster.core.images import find_provenance

    known = _known(chosen)
    with shown_progress() as progress:
        found = find_provenance(**known, progress=progress)
    say(chosen.told(found))


def trace(chosen: argparse.Namespace) -> None:
    """Print where a column comes from."""
    import json

    from cytotable_dagster.core.about.trace import trace as library

    found = library(**_known(chosen, "json"))
    if chosen.json:
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        say(found)


def crops(chosen: argparse.Namespace) -> None:
    """Show crops of single cells as a picture, or keep them as a dataset."""
    import posixpath

    from cytotable_dagster.core.errors import OptionError
    from cytotable_dagster.core.images import contact_sheet, save_crops
    from cytotable_dagster.core.images import crops as library
    from cytotable_dagster.core.storage.store_destination import destination_of
    from cytotable_dagster.core.support.publication import exists_already

    known = _known(chosen, "out", "overwrite")
    folder, name = posixpath.split(chosen.out.rstrip("/"))
    if name.endswith(".lance"):
        made = library(**known)
        with shown_progress() as progress:
            saved = save_crops(made, chosen.out, overwrite=chosen.overwrite, progress=progress)
            print(chosen.told(saved))
        _tell_lacking(made, chosen)
        return
    if not name.endswith(".png"):
        raise OptionError(f"--out {chosen.out}: a picture ends in .png, a dataset in .lance")
    made = library(**{"limit": 64, **known})
    place = destination_of(folder or ".", made.cache.store.to_write(None))
    if place.exists(name) and not chosen.overwrite:
        raise exists_already(place.address(name))
    of = posixpath.basename(chosen.single_cells.rstrip("/"))
    where = f" where {chosen.where}" if chosen.where else ""
    with place.create(name) as out:
        out.write(contact_sheet(made, title=f"{of}: {counted(len(made), 'cell')}{where}"))
    print(place.path(name))
    _tell_lacking(made, chosen)


def _tell_lacking(made: Any, chosen: argparse.Namespace) -> None:
    """Say of which crops something is lacking; an error where none has pixels."""
    count = made.lacking.total()
    if not count:
        return
    statuses: Counter[str] = Counter()
    for (status, _), number in made.lacking.items():
        statuses[status] += number
    named = ", ".join(f"{number:,} {status}" for status, number in statuses.most_common())
    (_, example), _ = made.lacking.most_common(1)[0]
    line = f"{count:,} of {counted(len(made), 'crop')} not ok: {named}; such as {example}"
    if statuses["no image"] + statuses["unreadable"] == len(made):
        raise CytoTableError(line)
    say(f"cytotable-dagster: {chosen.told(line)}", sys.stderr)


def _write_report(report: Any, path: str | None) -> None:
    if path is not None:
        report.write(path)


def inspect(chosen: argparse.Namespace) -> None:
    """Show what a plate holds, or each of several."""
    from cytotable_dagster.core.inspection import as_json, inspect_plates

    asked = (
        *("source_datatype", "preset", "chunk_size", "encoding", "delimiter", "decimal"),
        *("plate_pattern", "site_pattern", "equal_sites"),
    )
    given = {name: getattr(chosen, name) for name in asked if getattr(chosen, name) is not None}
    found = inspect_plates(chosen.source_path, cloud=_known(chosen, "source_path", "json", *asked), **given)
    if chosen.json:
        print(as_json(found))
    else:
        say(chosen.told("\n\n".join(map(str, found))))


def _known(chosen: argparse.Namespace, *but: str) -> dict[str, Any]:
    """What was given on the command line; pairs of patterns as the library takes them."""
    known = {
        name: value for name, value in vars(chosen).items() if value is not None and name not in ("run", "told", *but)
    }
    if pairs := known.get("segmentation_file_regex"):
        known["segmentation_file_regex"] = dict(pairs)
    return known


def dataset_list(chosen: argparse.Namespace) -> None:
    """List a dataset's tables and plates."""
    from cytotable_dagster import datasets
    from cytotable_dagster.core.support.text_table import text_table

    members = [
        (name, plate, member)
        for name, table in datasets.tables(**_known(chosen)).items()
        for plate, member in table.members.items()
    ]
    rows = [
        (name, plate, f"{member.content.rows:,}", f"{len(member.content.columns):,}", human_bytes(member.size))
        for name, plate, member in members
    ]
    sources = {plate: member.content.facts.get("source_uri", "") for _, plate, member in members}
    say("\n".join(text_table(("table", "plate", "rows", "columns", "size"), rows, left=("plate",))))
    say("\n".join(f"plate {plate} from {uri}" for plate, uri in sorted(sources.items())))


def dataset_remove(chosen: argparse.Namespace) -> None:
    """Remove a plate from a dataset."""
    from cytotable_dagster import datasets

    print(f"removed plate {chosen.plate} from {', '.join(datasets.remove(**_known(chosen)))}")


def dataset_align(chosen: argparse.Namespace) -> None:
    """Give all plates' files the same columns."""
    from cytotable_dagster import datasets

    lines = [line for drift in datasets.align(**_known(chosen)) for line in (*drift.problems, *drift.lines)]
    print("\n".join(lines or ["all plates have the same columns"]))


def doctor(chosen: argparse.Namespace) -> None:
    """Show what state things are in."""
    from cytotable_dagster.cli import doctor
    from cytotable_dagster.core.errors import OptionError
    from cytotable_dagster.core.kernels.loading import load_all

    if chosen.compile:
        load_all()
    if chosen.clean is not None:
        from cytotable_dagster.defs.cleaning import clean

        print("\n".join(f"removed  {path}" for path in clean(chosen.clean)) or "nothing was left by a killed process")
    found = doctor.findings()
    if chosen.json:
        print(doctor.as_json(found))
    else:
        say(doctor.as_text(found))
    if wrong := [finding.what for finding in found if finding.state == doctor.WRONG]:
        raise OptionError(f"to be mended: {', '.join(wrong)}")


def completion(chosen: argparse.Namespace) -> None:
    """Print what makes a shell complete commands and options."""
    import argcomplete

    print(argcomplete.shellcode(["cytotable-dagster"], shell=chosen.shell))


def demo(chosen: argparse.Namespace) -> None:
    """Run the demo."""
    from pathlib import Path

    from cytotable_dagster.core.support.written_paths import expanded
    from cytotable_dagster.demo.another import add_another
    from cytotable_dagster.demo.run import run_demo

    folder = Path(expanded(chosen.folder))
    if chosen.another:
        add_another(folder)
        return
    run_demo(folder, port=chosen.port, once=chosen.once)


def _loaded_config(address: str | None) -> Any:
    """The parsl.Config at `module:name`, called if it is a function."""
    if address is None:
        return None
    from cytotable_dagster.loading import loaded

    return loaded(address, f"--parsl-config {address}", "write it as module:name")
