"""What each command of the command line does, given what was chosen there."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cytotable_dagster.core.errors import CytoTableError, StrictError
from cytotable_dagster.core.model.types import Progress


def convert(chosen: argparse.Namespace) -> None:
    """Convert plates, and print what was written."""
    from cytotable_dagster.core import convert as library

    _convert_by(library.convert, chosen)


def dataset_add(chosen: argparse.Namespace) -> None:
    """Convert plates into a dataset."""
    from cytotable_dagster import datasets

    _convert_by(datasets.add, chosen)


def _convert_by(function: Callable[..., Any], chosen: argparse.Namespace) -> None:
    store = {"endpoint_url": chosen.dest_endpoint_url, "profile_name": chosen.dest_profile_name}
    known = _known(chosen, "casts", "parsl_config", "report", *(f"dest_{name}" for name in store))
    given = {name: value for name, value in store.items() if value is not None}
    if known.get("segmentation_file_regex"):
        known["segmentation_file_regex"] = dict(known["segmentation_file_regex"])
    try:
        with _progress() as progress:
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
    print(result)
    _write_report(result.report, chosen.report)
    if skipped := result.report.skipped_plates:
        named = ", ".join(plate for plate, _ in skipped)
        raise CytoTableError(f"{len(skipped)} of {len(skipped) + len(result.sources)} plates were skipped: {named}")


def provenance(chosen: argparse.Namespace) -> None:
    """Find and verify the images of plates, and print what became of them."""
    from cytotable_dagster.core.images import find_provenance

    known = _known(chosen)
    if known.get("segmentation_file_regex"):
        known["segmentation_file_regex"] = dict(known["segmentation_file_regex"])
    with _progress() as progress:
        found = find_provenance(**known, progress=progress)
    print(found)


def crops(chosen: argparse.Namespace) -> None:
    """Show crops of single cells as a picture, or keep them as a dataset."""
    from pathlib import Path

    from cytotable_dagster.core.errors import OptionError
    from cytotable_dagster.core.images import contact_sheet, save_crops
    from cytotable_dagster.core.images import crops as library
    from cytotable_dagster.core.support.files import whole_file
    from cytotable_dagster.core.support.publication import exists_already

    out = Path(chosen.out).expanduser()
    known = _known(chosen, "out", "overwrite")
    if known.get("segmentation_file_regex"):
        known["segmentation_file_regex"] = dict(known["segmentation_file_regex"])
    if out.suffix == ".lance":
        with _progress() as progress:
            print(save_crops(library(**known), out, overwrite=chosen.overwrite, progress=progress))
        return
    if out.suffix != ".png":
        raise OptionError(f"--out {out}: a picture ends in .png, a dataset in .lance")
    if out.exists() and not chosen.overwrite:
        raise exists_already(out)
    made = library(**{"limit": 64, **known})
    title = f"{Path(chosen.single_cells).name}: {len(made)} cells{f' where {chosen.where}' if chosen.where else ''}"
    with whole_file(out) as temporary:
        temporary.write_bytes(contact_sheet(made, title=title))
    print(out)


def _write_report(report: Any, path: str | None) -> None:
    if path is not None:
        report.write(path)


def inspect(chosen: argparse.Namespace) -> None:
    """Show what a plate holds, or each of several."""
    from cytotable_dagster.core.inspection import inspect_plates

    asked = (
        *("source_datatype", "preset", "chunk_size", "encoding", "delimiter", "decimal"),
        *("plate_pattern", "site_pattern", "equal_sites"),
    )
    given = {name: getattr(chosen, name) for name in asked if getattr(chosen, name) is not None}
    found = inspect_plates(chosen.source_path, cloud=_known(chosen, "source_path", *asked), **given)
    print("\n\n".join(map(str, found)))


def _known(chosen: argparse.Namespace, *but: str) -> dict[str, Any]:
    """What was given on the command line."""
    return {name: value for name, value in vars(chosen).items() if value is not None and name not in ("run", *but)}


def dataset_list(chosen: argparse.Namespace) -> None:
    """List a dataset's tables and plates."""
    from cytotable_dagster import datasets
    from cytotable_dagster.core.support.text_table import text_table

    rows = [
        (
            name,
            plate,
            f"{member.content.rows:,}",
            f"{len(member.content.columns):,}",
            f"{member.size:,}",
            member.content.facts.get("source_uri", ""),
        )
        for name, table in datasets.tables(**_known(chosen)).items()
        for plate, member in table.members.items()
    ]
    heads = ("table", "plate", "rows", "columns", "bytes", "source")
    print("\n".join(text_table(heads, rows, left=("plate", "source"))))


def dataset_remove(chosen: argparse.Namespace) -> None:
    """Remove a plate from a dataset."""
    from cytotable_dagster import datasets

    print(f"removed plate {chosen.plate} from {', '.join(datasets.remove(**_known(chosen)))}")


def dataset_align(chosen: argparse.Namespace) -> None:
    """Give all plates' files the same columns."""
    from cytotable_dagster import datasets

    lines = [line for drift in datasets.align(**_known(chosen)) for line in drift.lines]
    print("\n".join(lines or ["all plates have the same columns"]))


def plate_add(chosen: argparse.Namespace) -> None:
    """Make a plate known to the Dagster instance."""
    import json
    import shlex

    from cytotable_dagster.defs import plates
    from cytotable_dagster.defs.home import LOCATION
    from cytotable_dagster.defs.partitions import key_of

    with _instance() as instance:
        plates.add(instance, chosen.name, chosen.source)
    tags = json.dumps({"dagster/partition": key_of(chosen.name)}, ensure_ascii=False)
    print(f"added plate {chosen.name}; convert it in the web UI, or here and now:")
    print(f"dagster job execute -m {LOCATION} -j convert_plate --tags {shlex.quote(tags)}")


def plate_list(chosen: argparse.Namespace) -> None:
    """List the plates of the Dagster instance."""
    from cytotable_dagster.core.shown import one_line
    from cytotable_dagster.defs import plates

    with _instance() as instance:
        for name, uri in plates.list_plates(instance):
            print(f"{one_line(name)}  {one_line(uri or '(found by its name)')}")


def plate_remove(chosen: argparse.Namespace) -> None:
    """Make the Dagster instance forget a plate."""
    from cytotable_dagster.defs import plates

    with _instance() as instance:
        plates.remove(instance, chosen.name)
    print(f"removed plate {chosen.name}; its files were left")


def home(chosen: argparse.Namespace) -> None:
    """Set up the Dagster instance."""
    from cytotable_dagster.defs.home import merge_settings, set_pools, write_settings

    home = _dagster_home()
    merged = None if write_settings(home) else merge_settings(home)
    with _instance() as instance:
        set_pools(instance)
    if merged is None:
        print(f"{home}: dagster.yaml written, pools limited")
        return
    added = f"was given {', '.join(merged.added)}" if merged.added else "was left as it is"
    print(f"{home}: pools limited; dagster.yaml {added}")
    for setting in merged.kept:
        print(f"  kept as it is there: {setting}")
    if merged.lacking:
        print("  lacks these settings, which do not fit what is there; see docs/operating.md:")
        print("".join(f"    {line}\n" for line in merged.lacking.splitlines()), end="")


def doctor(chosen: argparse.Namespace) -> None:
    """Show what state things are in."""
    from cytotable_dagster.cli import doctor
    from cytotable_dagster.core.errors import OptionError
    from cytotable_dagster.core.kernels.loading import kernels

    if chosen.compile:
        kernels()
    if chosen.clean is not None:
        from cytotable_dagster.defs.cleaning import clean

        print("\n".join(f"removed  {path}" for path in clean(chosen.clean)) or "nothing was left by a killed process")
    found = doctor.findings()
    width = max(len(finding.what) for finding in found)
    for finding in found:
        print(f"{finding.state:5}  {finding.what:{width}}  {finding.detail}")
    if wrong := [finding.what for finding in found if finding.state == doctor.WRONG]:
        raise OptionError(f"to be mended: {', '.join(wrong)}")


def _instance() -> Any:
    """The Dagster instance of DAGSTER_HOME."""
    _dagster_home()
    from cytotable_dagster.defs.home import open_instance

    return open_instance()


def _dagster_home() -> Any:
    import os
    from pathlib import Path

    from cytotable_dagster.core.errors import OptionError

    home = os.environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        raise OptionError("DAGSTER_HOME names no folder: make one for the Dagster instance and export DAGSTER_HOME")
    return Path(home)


def demo(chosen: argparse.Namespace) -> None:
    """Run the demo."""
    from pathlib import Path

    from cytotable_dagster.core.support.written_paths import expanded
    from cytotable_dagster.demo.run import run_demo

    run_demo(Path(expanded(chosen.folder)), port=chosen.port, once=chosen.once)


def _loaded_config(address: str | None) -> Any:
    """The parsl.Config at `module:name`, called if it is a function."""
    if address is None:
        return None
    from cytotable_dagster.loading import loaded

    return loaded(address, f"--parsl-config {address}", "write it as module:name")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, a line for each finished table in a log."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step, done, total: _log(console, step, done, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield show


def _log(console: Any, step: str, done: int, total: int) -> None:
    if done == total:
        console.print(f"{step}: {total} of {total}", highlight=False)
