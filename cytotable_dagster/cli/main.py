"""The command line: `cytotable-dagster COMMAND`, see `_parser` for the commands.

Exit status: 0 done, 1 the work failed or plates were skipped (one line says why), 2 the command was not understood.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cytotable_dagster.cli import commands
from cytotable_dagster.core.conversion.skipping import ON_ERROR
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.images import CROP_TYPES, VERIFY
from cytotable_dagster.core.intake.discover import DATATYPES
from cytotable_dagster.core.model.names import NAMES
from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster.core.planning.options import EQUAL_SITES, UNMATCHED
from cytotable_dagster.core.support.machine_errors import errors_of_machine
from cytotable_dagster.core.version import VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        with errors_of_machine():
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
    among = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_convert(_command(among, "convert", commands.convert, "convert a plate to Parquet"))
    _add_provenance(
        _command(among, "provenance", commands.provenance, "find the images of a plate's cells, and verify them")
    )
    _add_crops(_command(among, "crops", commands.crops, "show crops of single cells as a picture, or keep them"))
    _add_inspect(
        _command(among, "inspect", commands.inspect, "show what a plate holds, and the chunks of a conversion")
    )
    _add_dataset(_command(among, "dataset", None, "add plates to a dataset of many, list or remove them, align"))
    _add_plate(_command(among, "plate", None, "add, list or remove plates of the Dagster instance"))
    _command(among, "home", commands.home, "set up the Dagster instance of DAGSTER_HOME: dagster.yaml, pools")
    doctor = _command(among, "doctor", commands.doctor, "show what state the installation and its folders are in")
    doctor.add_argument(
        "--clean", nargs="*", metavar="DEST", help="remove what killed processes left in all these folders, and in DEST"
    )
    doctor.add_argument("--compile", action="store_true", help="compile the readers first, as for a container's image")
    _add_demo(
        _command(among, "demo", commands.demo, "make a plate, serve it on loopback, convert it in the Dagster web UI")
    )
    return parser


def _command(among: Any, name: str, run: Callable[..., None] | None, text: str) -> argparse.ArgumentParser:
    parser = among.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _add_source(parser: argparse.ArgumentParser, *, several: bool = False, chunks: bool = True) -> None:
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
    parser.add_argument("--delimiter", help="of CSV files' fields, such as ';' or tab (default: what each shows)")
    parser.add_argument("--decimal", help="of CSV files' numbers, . or , (default: what each shows)")
    parser.add_argument("--plate-pattern", metavar="PATTERN", help="folders of CSV plates, as in '{plate}/{site}/...'")
    parser.add_argument("--site-pattern", metavar="PATTERN", help="what folders are called: '{plate}-{well}-{site}'")
    parser.add_argument("--equal-sites", choices=EQUAL_SITES, help="sites with equal image tables (default: refuse)")
    if chunks:
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
    parser.add_argument(
        "dest_path", metavar="DEST", help="a folder or s3:// prefix, or one ending in NAME.parquet for joined cells"
    )
    _add_options(parser)
    parser.add_argument("--provenance", action="store_true", help="find the images of the cells: docs/images.md")
    _add_images(parser)
    parser.add_argument("--concat", action=argparse.BooleanOptionalAction, default=True, help="one file a table")
    parser.add_argument("--join", action=argparse.BooleanOptionalAction, help="joined table or not (default: by DEST)")
    parser.add_argument("--joins", metavar="SQL", help="a DuckDB query over 'cells.parquet', ...")
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")


def _add_provenance(parser: argparse.ArgumentParser) -> None:
    _add_source(parser, several=True, chunks=False)
    parser.add_argument(
        "--dest", dest="dest_path", metavar="DEST", default=".", help="the folder or prefix of the tables (default: .)"
    )
    _add_images(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the file that is there")


def _add_crops(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("single_cells", metavar="PLATE", help="its single_cells.parquet, or the folder that has it")
    parser.add_argument("--out", required=True, metavar="FILE", help="a picture, .png, or a dataset, .lance")
    parser.add_argument("--where", metavar="SQL", help="such as 'Cells_AreaShape_Area > 2000'")
    parser.add_argument("--limit", type=int, metavar="CELLS", help="at most so many (default of a picture: 64)")
    parser.add_argument("--per-well", type=int, metavar="CELLS", help="of each well at most so many")
    parser.add_argument("--channels", type=_names, metavar="A,B", help="by name, such as DNA,ER,AGP (default: all)")
    parser.add_argument("--segmentations", type=_names, metavar="A,B", help="outlines or masks, into a dataset")
    parser.add_argument("--columns", type=_names, metavar="A,B", help="features that go into a dataset")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="edge of a crop (default: 96)")
    parser.add_argument("--around", choices=["centre", "box"], help="what is cut out (default: centre)")
    parser.add_argument("--fit", choices=["pad", "resize"], help="how a box becomes a crop (default: pad)")
    parser.add_argument("--crop-type", choices=CROP_TYPES, help="of a dataset (default: tensor)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    images = parser.add_argument_group("images, where no provenance lies beside the table")
    images.add_argument("--provenance", metavar="FILE")
    _add_places(images)
    _add_store(parser)


def _add_images(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("images")
    _add_places(images)
    images.add_argument("--verify", choices=VERIFY, help="what is looked at (default: exists)")


def _add_places(images: Any) -> None:
    images.add_argument("--image-dir", metavar="DIR", help="a folder or prefix with them; {plate} is the plate's name")
    images.add_argument("--mask-dir", metavar="DIR")
    images.add_argument("--outline-dir", metavar="DIR")
    images.add_argument(
        "--segmentation-file-regex",
        type=_pair,
        action="append",
        metavar="FILE=IMAGE",
        help="patterns of a mask's or outline's name, and of its image's",
    )
    images.add_argument("--path-rules", metavar="FILE.toml", help="which folder of another machine is which here")
    images.add_argument("--load-data", metavar="FILE", help="a load_data file, .csv, .csv.gz or .parquet")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", type=_names, metavar="A,B", help="only these tables, e.g. cells,nuclei")
    parser.add_argument("--metadata", type=_names, metavar="A,B")
    parser.add_argument("--compartments", type=_names, metavar="A,B", help="object tables, instead of the preset's")
    parser.add_argument("--identifying-columns", type=_names, metavar="A,B", help="columns that become Metadata_...")
    parser.add_argument("--drop-null", action="store_true", help="leave out joined rows with any null")
    parser.add_argument("--cast", type=_pair, action="append", metavar="float=float32", dest="casts")
    parser.add_argument("--add-tablenumber", action=argparse.BooleanOptionalAction)
    parser.add_argument("--image-features", action="store_true", help="all image columns in the joined table")
    parser.add_argument("--names", choices=NAMES, help="of columns: cytotable gives those that CytoTable gives")
    parser.add_argument(
        "--unmatched", choices=UNMATCHED, help="joined rows that lack a cell or nucleus (default: keep)"
    )
    parser.add_argument("--strict", action="store_true", help="fail where a value or a row does not fit")
    parser.add_argument(
        "--on-error", choices=ON_ERROR, help="of several plates: skip those that cannot be converted (default: stop)"
    )
    parser.add_argument("--report", metavar="FILE", help="write what was read, written and did not fit as JSON")
    parser.add_argument(
        "--schema", choices=["union", "intersection"], help="columns of plates that differ (default: union)"
    )
    parser.add_argument("--parsl-config", metavar="MODULE:NAME", help="a parsl.Config, or a function that makes one")
    parser.add_argument("--dest-endpoint-url", metavar="URL", help="of the results' store, where it is another one")
    parser.add_argument("--dest-profile-name", metavar="NAME")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    among = parser.add_subparsers(required=True, metavar="add|list|remove|align")
    add = _command(
        among, "add", commands.dataset_add, "convert plates into a dataset; those of its plates are replaced"
    )
    _add_source(add, several=True)
    add.add_argument("dataset_path", metavar="DATASET", help="its folder or s3:// prefix")
    _add_options(add)
    add.add_argument("--join", action="store_true", help="the joined single cells instead of the compartments")
    shown = _command(among, "list", commands.dataset_list, "list tables and plates, and where they come from")
    remove = _command(among, "remove", commands.dataset_remove, "remove a plate")
    align = _command(among, "align", commands.dataset_align, "give all plates' files the same columns")
    for command in (shown, remove, align):
        command.add_argument("dataset_path", metavar="DATASET")
        _add_store(command)
    remove.add_argument("plate", metavar="PLATE")
    align.add_argument("--schema", choices=["union", "intersection"], default="union")


def _add_plate(parser: argparse.ArgumentParser) -> None:
    among = parser.add_subparsers(required=True, metavar="add|list|remove")
    add = _command(among, "add", commands.plate_add, "add a plate as a partition")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--source", metavar="ADDRESS", help="its file: a path or s3://... (default: found by its name)")
    _command(among, "list", commands.plate_list, "list the plates and where they come from")
    remove = _command(among, "remove", commands.plate_remove, "remove a plate's partition; its files stay")
    remove.add_argument("name", metavar="NAME")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=3000, help="of the web server on 127.0.0.1; 0 for a free one")
    parser.add_argument("--once", action="store_true", help="stop when the plate is converted")
    parser.add_argument("--folder", default=".demo", help="where everything of the demo lies")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pair(text: str) -> tuple[str, str]:
    group, found, wanted = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as group=type, e.g. float=float32")
    return group, wanted
