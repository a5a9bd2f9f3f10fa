"""The command line: `cytotable-dagster COMMAND`, see `_parser` for the commands.

Exit status: 0 done, 1 the work failed or plates were skipped (one line says why), 2 the command was not understood.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cytotable_dagster.cli import commands, instance, options
from cytotable_dagster.cli.parser import Parser, command, read
from cytotable_dagster.cli.screen import say
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.version import VERSION

_GALLERY = "s3://cellpainting-gallery/cpg0016-jump/source_4/workspace/backend/2021_08_23_Batch12"
_PLATE = f"{_GALLERY}/BR00126114/BR00126114.sqlite"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    chosen = read(parser, arguments)
    try:
        with errors_of_machine(), _warnings_in_a_line(chosen):
            chosen.run(chosen)
    except CytoTableError as error:
        say(f"cytotable-dagster: {chosen.told(error)}", sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing is left to be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("cytotable-dagster: interrupted; nothing half-written was left", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _warnings_in_a_line(chosen: argparse.Namespace) -> Iterator[None]:
    """Warnings of the library as its errors are told, without where in its code they are raised."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if category is UserWarning and isinstance(message, Warning):
                say(f"cytotable-dagster: {chosen.told(message)}", sys.stderr)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _parser() -> Parser:
    parser = Parser(
        prog="cytotable-dagster",
        description="Plates of single-cell measurements to Parquet.",
        usage="%(prog)s COMMAND ...",
        epilog="examples:\n  cytotable-dagster inspect plate.sqlite\n  cytotable-dagster convert plate.sqlite out/\n"
        "  cytotable-dagster convert --help",
    )
    parser.add_argument("--version", action="version", version=VERSION, help="show the version and exit")
    among = parser.add_subparsers(required=True, metavar="COMMAND", title="commands", prog=parser.prog)
    options.add_convert(
        command(
            among,
            "convert",
            commands.convert,
            "convert a plate, or several, to Parquet or AnnData",
            "SOURCE [SOURCE ...] DEST [options]",
            (
                "convert plate.sqlite out/",
                "convert plate.sqlite cells.parquet --unmatched drop",
                "convert plate.sqlite cells.h5ad",
                "convert plates/ all/ --on-error skip --report report.json",
                f"convert --no-sign-request out/ \\\n      {_PLATE}",
            ),
        )
    )
    inspect = command(
        among,
        "inspect",
        commands.inspect,
        "show what a plate holds, its chunks, and what a conversion would complain of",
        "SOURCE [options]",
        ("inspect plate.sqlite", "inspect screen/ --plate-pattern '{plate}/{site}/...'", "inspect plates/ --json"),
    )
    options.add_source(inspect)
    _add_json(inspect)
    _add_dataset(among)
    options.add_provenance(
        command(
            among,
            "provenance",
            commands.provenance,
            "find the images of a plate's cells, and verify them",
            "SOURCE [SOURCE ...] [options]",
            ("provenance plate.sqlite --dest tables/ --image-dir images/",),
        )
    )
    options.add_crops(
        command(
            among,
            "crops",
            commands.crops,
            "show crops of single cells as a picture, or keep them",
            "PLATE --out FILE [options]",
            (
                "crops out/ --out a.png --where 'Cells_AreaShape_Area > 900'",
                "crops out/ --out cells.lance --channels DNA,ER --per-well 20",
            ),
        )
    )
    trace = command(
        among,
        "trace",
        commands.trace,
        "tell which source column, table and file a column comes from",
        "FILE COLUMN [options]",
        (
            "trace out/single_cells.parquet Cells_AreaShape_Area",
            "trace out/single_cells.parquet Cells_AreaShape_Area --json",
        ),
    )
    trace.add_argument("path", metavar="FILE", help="a table that was made with --column-map, or by Dagster")
    trace.add_argument("column", metavar="COLUMN", help="such as Cells_AreaShape_Area")
    _add_json(trace)
    options.add_store(trace)
    _add_plate(among)
    command(
        among,
        "home",
        instance.home,
        "set up the Dagster instance of DAGSTER_HOME: dagster.yaml, pools",
        "",
        ("home",),
    )
    _add_doctor(among)
    _add_demo(among)
    completion = command(
        among,
        "completion",
        commands.completion,
        "print what makes a shell complete commands and options",
        "SHELL",
        (
            "completion bash >> ~/.bashrc",
            "completion zsh > ~/.zfunc/_cytotable-dagster",
            "completion fish > \\\n      ~/.config/fish/completions/cytotable-dagster.fish",
        ),
    )
    completion.add_argument("shell", metavar="SHELL", choices=["bash", "zsh", "fish"], help="bash, zsh or fish")
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_dataset(among: Any) -> None:
    parser = command(
        among,
        "dataset",
        None,
        "add plates to a dataset of many, list or remove them, align",
        "add|list|remove|align ...",
        ("dataset add plates/ dataset/", "dataset list dataset/"),
    )
    parts = parser.add_subparsers(required=True, prog=parser.prog, metavar="COMMAND", title="commands")
    options.add_dataset_add(
        command(
            parts,
            "add",
            commands.dataset_add,
            "convert plates into a dataset; those of its plates are replaced",
            "SOURCE [SOURCE ...] DATASET [options]",
            ("dataset add plates/ dataset/", "dataset add plates/P2.sqlite s3://bucket/dataset --join"),
        )
    )
    shown = command(
        parts,
        "list",
        commands.dataset_list,
        "list tables and plates, and where they come from",
        "DATASET [options]",
        ("dataset list dataset/",),
    )
    remove = command(
        parts,
        "remove",
        commands.dataset_remove,
        "remove a plate",
        "DATASET PLATE [options]",
        ("dataset remove dataset/ BR00126115",),
    )
    align = command(
        parts,
        "align",
        commands.dataset_align,
        "give all plates' files the same columns",
        "DATASET [options]",
        ("dataset align dataset/ --schema intersection",),
    )
    for part in (shown, remove, align):
        part.add_argument("dataset_path", metavar="DATASET", help="its folder or prefix of a store")
        options.add_store(part)
    remove.add_argument("plate", metavar="PLATE", help="its name, as `dataset list` shows it")
    align.add_argument(
        "--schema", choices=["union", "intersection"], default="union", help="of all plates' columns (default: union)"
    )


def _add_plate(among: Any) -> None:
    parser = command(
        among,
        "plate",
        None,
        "add, list or remove plates of the Dagster instance",
        "add|list|remove ...",
        ("plate add BR00126114 --source /data/BR00126114.sqlite", "plate list"),
    )
    parts = parser.add_subparsers(required=True, prog=parser.prog, metavar="COMMAND", title="commands")
    add = command(
        parts,
        "add",
        instance.plate_add,
        "add a plate as a partition",
        "NAME [--source ADDRESS]",
        ("plate add BR00126114 --source s3://bucket/BR00126114.sqlite",),
    )
    add.add_argument("name", metavar="NAME", help="of the plate: its barcode")
    add.add_argument("--source", metavar="ADDRESS", help="its file: a path or an address (default: found by its name)")
    command(parts, "list", instance.plate_list, "list the plates and where they come from", "", ("plate list",))
    remove = command(
        parts,
        "remove",
        instance.plate_remove,
        "remove a plate's partition; its files stay",
        "NAME",
        ("plate remove BR00126114",),
    )
    remove.add_argument("name", metavar="NAME", help="of the plate, as `plate list` shows it")


def _add_doctor(among: Any) -> None:
    doctor = command(
        among,
        "doctor",
        commands.doctor,
        "show what state the installation, its folders and stores are in",
        "[options]",
        ("doctor", "doctor --json", "doctor --clean out/", "doctor --compile"),
    )
    doctor.add_argument(
        "--clean", nargs="*", metavar="DEST", help="remove what killed processes left in all these folders, and in DEST"
    )
    doctor.add_argument("--compile", action="store_true", help="compile the readers first, as for a container's image")
    _add_json(doctor)


def _add_demo(among: Any) -> None:
    demo = command(
        among,
        "demo",
        commands.demo,
        "make a plate, serve it on loopback, convert it in the Dagster web UI",
        "[options]",
        ("demo", "demo --port 3001 --folder /tmp/demo"),
    )
    demo.add_argument(
        "--port", type=int, default=3000, help="of the web server on 127.0.0.1; 0 for a free one (default: 3000)"
    )
    demo.add_argument("--once", action="store_true", help="stop when the plate is converted")
    demo.add_argument("--another", action="store_true", help="put one more plate into the bucket of the demo that runs")
    demo.add_argument("--folder", default=".demo", help="where everything of the demo lies (default: .demo)")
