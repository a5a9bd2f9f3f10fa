"""The command line: `cytotable-dagster convert | inspect | dataset | plate | home | demo`.

Exit status: 0 done, 1 the work failed (one line says why), 2 the command was not understood.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cytotable_dagster.core.discover import DATATYPES
from cytotable_dagster.core.errors import CytoTableError, StrictError
from cytotable_dagster.core.presets import PRESETS
from cytotable_dagster.core.version import VERSION
from cytotable_dagster.core.work import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except CytoTableError as error:
        print(f"cytotable-dagster: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing is left to be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("cytotable-dagster: interrupted; nothing half-written was left", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cytotable-dagster", description="Plates of single-cell measurements to Parquet."
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_convert(_command(commands, "convert", _convert, "convert a plate to Parquet"))
    _add_inspect(_command(commands, "inspect", _inspect, "show what a plate holds, and the chunks of a conversion"))
    _add_dataset(_command(commands, "dataset", None, "add plates to a dataset of many, list or remove them, align"))
    _add_plate(_command(commands, "plate", None, "add, list or remove plates of the Dagster instance"))
    _command(commands, "home", _home, "set up the Dagster instance of DAGSTER_HOME: dagster.yaml, pools")
    _add_demo(_command(commands, "demo", _demo, "make a plate, serve it on loopback, convert it in the Dagster web UI"))
    return parser


def _command(commands: Any, name: str, run: Callable[..., None] | None, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _add_source(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    parser.add_argument(
        "source_path",
        metavar="SOURCE",
        nargs="+" if several else None,
        help="a SQLite file, a folder of CSV or NPZ files, or the s3:// address of one"
        + ("; several of these, a pattern, or a folder of plates" if several else ""),
    )
    parser.add_argument("--source-datatype", choices=DATATYPES)
    parser.add_argument("--preset", help=f"the dialect (default: detected): a .toml file, or {', '.join(PRESETS)}")
    parser.add_argument("--encoding", help="of CSV files, such as latin-1 (default: utf-8)")
    parser.add_argument("--chunk-size", type=int, metavar="OBJECTS", help="objects a chunk aims at")
    _add_store(parser)


def _add_store(parser: argparse.ArgumentParser) -> None:
    store = parser.add_argument_group("S3")
    store.add_argument("--local-cache-dir", metavar="FOLDER", help="where downloaded plates are kept")
    store.add_argument(
        "--no-sign-request", action="store_true", default=None, help="for public data, without credentials"
    )
    store.add_argument("--endpoint-url", metavar="URL")
    store.add_argument("--profile-name", metavar="NAME")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    _add_source(parser, several=True)
    parser.add_argument("dest_path", metavar="DEST", help="a folder, or NAME.parquet for the joined single cells")
    _add_options(parser)
    parser.add_argument("--concat", action=argparse.BooleanOptionalAction, default=True, help="one file a table")
    parser.add_argument("--join", action=argparse.BooleanOptionalAction, help="joined table or not (default: by DEST)")
    parser.add_argument("--joins", metavar="SQL", help="a DuckDB query over 'cells.parquet', ...")
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", type=_names, metavar="A,B", help="only these tables, e.g. cells,nuclei")
    parser.add_argument("--metadata", type=_names, metavar="A,B")
    parser.add_argument("--compartments", type=_names, metavar="A,B", help="object tables, instead of the preset's")
    parser.add_argument("--identifying-columns", type=_names, metavar="A,B", help="columns that become Metadata_...")
    parser.add_argument("--drop-null", action="store_true", help="leave out joined rows with any null")
    parser.add_argument("--cast", type=_pair, action="append", metavar="float=float32", dest="casts")
    parser.add_argument("--add-tablenumber", action=argparse.BooleanOptionalAction)
    parser.add_argument("--image-features", action="store_true", help="all image columns in the joined table")
    parser.add_argument("--strict", action="store_true", help="fail where a value or a row does not fit")
    parser.add_argument("--report", metavar="FILE", help="write what was read, written and did not fit as JSON")
    parser.add_argument(
        "--schema", choices=["union", "intersection"], help="columns of plates that differ (default: union)"
    )
    parser.add_argument("--parsl-config", metavar="MODULE:NAME", help="a parsl.Config, or a function that makes one")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="add|list|remove|align")
    add = _command(commands, "add", _dataset_add, "convert plates into a dataset; those of its plates are replaced")
    _add_source(add, several=True)
    add.add_argument("dataset_path", metavar="DATASET", help="its folder")
    _add_options(add)
    add.add_argument("--join", action="store_true", help="the joined single cells instead of the compartments")
    shown = _command(commands, "list", _dataset_list, "list tables and plates, and where they come from")
    remove = _command(commands, "remove", _dataset_remove, "remove a plate")
    align = _command(commands, "align", _dataset_align, "give all plates' files the same columns")
    for command in (shown, remove, align):
        command.add_argument("dataset_path", metavar="DATASET")
        _add_store(command)
    remove.add_argument("plate", metavar="PLATE")
    align.add_argument("--schema", choices=["union", "intersection"], default="union")


def _add_plate(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="add|list|remove")
    add = _command(commands, "add", _plate_add, "add a plate as a partition")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--source", metavar="ADDRESS", help="its file: a path or s3://... (default: found by its name)")
    _command(commands, "list", _plate_list, "list the plates and where they come from")
    remove = _command(commands, "remove", _plate_remove, "remove a plate's partition; its files stay")
    remove.add_argument("name", metavar="NAME")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=3000, help="of the web server on 127.0.0.1; 0 for a free one")
    parser.add_argument("--once", action="store_true", help="stop when the plate is converted")
    parser.add_argument("--folder", default=".demo", help="where everything of the demo lies")


def _convert(chosen: argparse.Namespace) -> None:
    from cytotable_dagster.core.convert import convert

    _convert_by(convert, chosen)


def _dataset_add(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import datasets

    _convert_by(datasets.add, chosen)


def _convert_by(convert: Callable[..., Any], chosen: argparse.Namespace) -> None:
    known = _known(chosen, "casts", "parsl_config", "report")
    try:
        with _progress() as progress:
            result = convert(
                **known,
                data_type_cast_map=dict(chosen.casts) if chosen.casts else None,
                parsl_config=_loaded_config(chosen.parsl_config),
                progress=progress,
            )
    except StrictError as error:
        _write_report(error.report, chosen.report)
        raise
    print(result)
    _write_report(result.report, chosen.report)


def _write_report(report: Any, path: str | None) -> None:
    if path is not None:
        report.write(path)


def _inspect(chosen: argparse.Namespace) -> None:
    from cytotable_dagster.core.inspection import inspect_plate

    asked = ("source_datatype", "preset", "chunk_size", "encoding")
    given = {name: getattr(chosen, name) for name in asked if getattr(chosen, name) is not None}
    print(inspect_plate(chosen.source_path, cloud=_known(chosen, "source_path", *asked), **given))


def _known(chosen: argparse.Namespace, *but: str) -> dict[str, Any]:
    """What was given on the command line."""
    return {name: value for name, value in vars(chosen).items() if value is not None and name not in ("run", *but)}


def _dataset_list(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import datasets
    from cytotable_dagster.core.text_table import text_table

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


def _dataset_remove(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import datasets

    print(f"removed plate {chosen.plate} from {', '.join(datasets.remove(**_known(chosen)))}")


def _dataset_align(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import datasets

    lines = [line for drift in datasets.align(**_known(chosen)) for line in drift.lines]
    print("\n".join(lines or ["all plates have the same columns"]))


def _plate_add(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import plates

    with _instance() as instance:
        plates.add(instance, chosen.name, chosen.source)
    print(f"added plate {chosen.name}; convert it: dg launch --job convert_plate --partition {chosen.name}")


def _plate_list(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import plates

    with _instance() as instance:
        for name, uri in plates.list_plates(instance):
            print(f"{name}  {uri or '(found by its name)'}")


def _plate_remove(chosen: argparse.Namespace) -> None:
    from cytotable_dagster import plates

    with _instance() as instance:
        plates.remove(instance, chosen.name)
    print(f"removed plate {chosen.name}; its files were left")


def _home(chosen: argparse.Namespace) -> None:
    from cytotable_dagster.home import set_pools, write_settings

    home = _dagster_home()
    written = write_settings(home)
    with _instance() as instance:
        set_pools(instance)
    print(f"{home}: " + ("dagster.yaml written, pools limited" if written else "has a dagster.yaml, which was left"))


def _instance() -> Any:
    """The Dagster instance of DAGSTER_HOME."""
    _dagster_home()
    from dagster import DagsterInstance

    return DagsterInstance.get()


def _dagster_home() -> Any:
    import os
    from pathlib import Path

    from cytotable_dagster.core.errors import OptionError

    home = os.environ.get("DAGSTER_HOME")
    if not home or not Path(home).is_dir():
        raise OptionError("DAGSTER_HOME names no folder: make one for the Dagster instance and export DAGSTER_HOME")
    return Path(home)


def _demo(chosen: argparse.Namespace) -> None:
    from pathlib import Path

    from cytotable_dagster.demo.run import run_demo

    run_demo(Path(chosen.folder), port=chosen.port, once=chosen.once)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pair(text: str) -> tuple[str, str]:
    group, found, wanted = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as group=type, e.g. float=float32")
    return group, wanted


def _loaded_config(address: str | None) -> Any:
    """The parsl.Config at `module:name`, called if it is a function."""
    if address is None:
        return None
    import importlib

    from cytotable_dagster.core.errors import OptionError

    module, _, name = address.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(f"--parsl-config {address}: cannot be loaded ({error}); write it as module:name") from error
    return found() if callable(found) else found


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
