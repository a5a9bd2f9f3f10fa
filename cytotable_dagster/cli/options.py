"""The arguments that commands share, and those of each."""

import argparse
from typing import Any

from cytotable_dagster.cli.parser import Names, pair
from cytotable_dagster.core.conversion.skipping import ON_ERROR
from cytotable_dagster.core.model.choices import BACKENDS, CROP_TYPES, DEST_DATATYPES, VERIFY
from cytotable_dagster.core.model.names import NAMES
from cytotable_dagster.core.model.presets import DATATYPES, PRESETS
from cytotable_dagster.core.planning.options import BOTH, EQUAL_SITES, UNMATCHED


def add_source(parser: argparse.ArgumentParser, *, several: bool = False, chunks: bool = True) -> None:
    """Plates, and how their files are read."""
    _add_plates(parser, several=several)
    _add_reading(parser, chunks=chunks)


def _add_plates(parser: argparse.ArgumentParser, *, several: bool) -> None:
    parser.add_argument(
        "source_path",
        metavar="SOURCE",
        nargs="+" if several else None,
        help="a SQLite file, a folder of CSV or NPZ files, or the address of one (s3://, gs://, az://)"
        + ("; several of these, a pattern, or a folder of plates" if several else ""),
    )


def _add_reading(parser: argparse.ArgumentParser, *, chunks: bool = True) -> None:
    source = parser.add_argument_group("source")
    source.add_argument("--source-datatype", choices=DATATYPES, help="which files are meant (default: what is there)")
    preset = source.add_argument(
        "--preset", help=f"the dialect (default: detected): a .toml file, or {', '.join(PRESETS)}"
    )
    preset.completer = _presets  # type: ignore[attr-defined]
    source.add_argument("--encoding", metavar="NAME", help="of CSV files, such as latin-1 (default: utf-8)")
    source.add_argument(
        "--delimiter", metavar="SIGN", help="of CSV files' fields: ';', tab, ... (default: what each shows)"
    )
    source.add_argument("--decimal", metavar="SIGN", help="of CSV files' numbers, . or , (default: what each shows)")
    source.add_argument("--plate-pattern", metavar="PATTERN", help="folders of CSV plates, as in '{plate}/{site}/...'")
    source.add_argument("--site-pattern", metavar="PATTERN", help="what folders are called: '{plate}-{well}-{site}'")
    source.add_argument("--equal-sites", choices=EQUAL_SITES, help="sites with equal image tables (default: refuse)")
    if chunks:
        source.add_argument("--chunk-size", type=int, metavar="OBJECTS", help="objects a chunk aims at")
    add_store(parser)


def add_store(parser: argparse.ArgumentParser) -> None:
    """Where a store is, and how it is entered."""
    store = parser.add_argument_group("stores", "credentials are those of the environment; see docs/stores.md")
    store.add_argument("--local-cache-dir", metavar="FOLDER", help="where downloaded plates are kept")
    store.add_argument(
        "--no-sign-request", action="store_true", default=None, help="for public data, without credentials"
    )
    store.add_argument("--endpoint-url", metavar="URL", help="of an S3 store that is not AWS")
    store.add_argument("--profile-name", metavar="NAME", help="of S3's credentials, in ~/.aws")


def add_convert(parser: argparse.ArgumentParser) -> None:
    _add_plates(parser, several=True)
    parser.add_argument(
        "dest_path",
        metavar="DEST",
        help="a folder or a store's prefix; NAME.parquet for joined cells, NAME.h5ad or NAME.zarr for AnnData",
    )
    results = _add_results(parser)
    results.add_argument(
        "--dest-datatype",
        choices=DEST_DATATYPES,
        default=DEST_DATATYPES[0],
        help="of a DEST that is called otherwise (default: parquet)",
    )
    results.add_argument(
        "--dest-backend",
        choices=BACKENDS,
        default=BACKENDS[0],
        help="iceberg makes DEST a warehouse, or adds plates to it (default: parquet)",
    )
    results.add_argument("--concat", action=argparse.BooleanOptionalAction, default=True, help="one file a table")
    results.add_argument("--join", action=argparse.BooleanOptionalAction, help="joined table or not (default: by DEST)")
    results.add_argument(
        "--both", action="store_const", dest="join", const=BOTH, help="single_cells.parquet beside the other tables"
    )
    results.add_argument("--joins", metavar="SQL", help="a DuckDB query over 'cells.parquet', ...")
    results.add_argument("--overwrite", action="store_true", help="replace results that exist")
    images = add_images(parser)
    parser.add_argument("--column-map", action="store_true", help="write _about/columns.parquet, for trace")
    images.add_argument("--provenance", action="store_true", help="find the images of the cells: docs/images.md")
    images.add_argument("--include-source-images", action="store_true", help="whole, beside the crops of a warehouse")
    _add_reading(parser)


def add_dataset_add(parser: argparse.ArgumentParser) -> None:
    _add_plates(parser, several=True)
    parser.add_argument("dataset_path", metavar="DATASET", help="its folder or prefix of a store")
    results = _add_results(parser)
    results.add_argument("--join", action="store_true", help="the joined single cells instead of the compartments")
    results.add_argument("--both", action="store_const", dest="join", const=BOTH, help="the joined ones and the others")
    results.add_argument("--overwrite", action="store_true", help="replace plates of that name from other places, too")
    _add_reading(parser)


def _add_results(parser: argparse.ArgumentParser) -> Any:
    results = parser.add_argument_group("results")
    results.add_argument("--targets", action=Names, metavar="A,B", help="only these tables, e.g. cells,nuclei")
    results.add_argument("--metadata", action=Names, metavar="A,B", help="tables of images; '' for none")
    results.add_argument("--compartments", action=Names, metavar="A,B", help="object tables, instead of the preset's")
    results.add_argument("--identifying-columns", action=Names, metavar="A,B", help="columns that become Metadata_...")
    results.add_argument("--drop-null", action="store_true", help="leave out joined rows with any null")
    results.add_argument(
        "--cast", type=pair, action="append", metavar="GROUP=TYPE", dest="casts", help="such as float=float32"
    )
    results.add_argument(
        "--add-tablenumber",
        action=argparse.BooleanOptionalAction,
        help="the plate's number as Metadata_TableNumber (default: of several plates)",
    )
    results.add_argument("--image-features", action="store_true", help="all image columns in the joined table")
    results.add_argument("--names", choices=NAMES, help="of columns: cytotable gives those that CytoTable gives")
    results.add_argument(
        "--unmatched", choices=UNMATCHED, help="joined rows that lack a cell or nucleus (default: keep)"
    )
    results.add_argument("--strict", action="store_true", help="fail where a value or a row does not fit")
    results.add_argument(
        "--on-error", choices=ON_ERROR, help="of several plates: skip those that cannot be converted (default: stop)"
    )
    results.add_argument("--report", metavar="FILE", help="write what was read, written and did not fit as JSON")
    results.add_argument(
        "--schema", choices=["union", "intersection"], help="columns of plates that differ (default: union)"
    )
    results.add_argument("--parsl-config", metavar="MODULE:NAME", help="a parsl.Config, or a function that makes one")
    results.add_argument("--dest-endpoint-url", metavar="URL", help="of the results' store, where it is another one")
    results.add_argument("--dest-profile-name", metavar="NAME", help="of the credentials for it")
    return results


def add_provenance(parser: argparse.ArgumentParser) -> None:
    add_source(parser, several=True, chunks=False)
    parser.add_argument(
        "--dest", dest="dest_path", metavar="DEST", default=".", help="the folder or prefix of the tables (default: .)"
    )
    add_images(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the file that is there")


def add_crops(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("single_cells", metavar="PLATE", help="its single_cells.parquet, or the folder that has it")
    parser.add_argument("--out", required=True, metavar="FILE", help="a picture, .png, or a dataset, .lance")
    parser.add_argument("--where", metavar="SQL", help="such as 'Cells_AreaShape_Area > 2000'")
    parser.add_argument("--limit", type=int, metavar="CELLS", help="at most so many (default of a picture: 64)")
    parser.add_argument("--per-well", type=int, metavar="CELLS", help="of each well at most so many")
    parser.add_argument("--channels", action=Names, metavar="A,B", help="by name, such as DNA,ER,AGP (default: all)")
    parser.add_argument("--segmentations", action=Names, metavar="A,B", help="outlines or masks, into a dataset")
    parser.add_argument("--columns", action=Names, metavar="A,B", help="features that go into a dataset")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="edge of a crop (default: 96)")
    parser.add_argument("--around", choices=["centre", "box"], help="what is cut out (default: centre)")
    parser.add_argument("--fit", choices=["pad", "resize"], help="how a box becomes a crop (default: pad)")
    parser.add_argument("--crop-type", choices=CROP_TYPES, help="of a dataset (default: tensor)")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    images = parser.add_argument_group("images, where no provenance lies beside the table")
    images.add_argument("--provenance", metavar="FILE", help="a Parquet file that says where images are")
    _add_places(images)
    add_store(parser)


def add_images(parser: argparse.ArgumentParser) -> Any:
    images = parser.add_argument_group("images")
    _add_places(images)
    images.add_argument("--verify", choices=VERIFY, help="what is looked at (default: exists)")
    return images


def _add_places(images: Any) -> None:
    images.add_argument("--image-dir", metavar="DIR", help="a folder or prefix with them; {plate} is the plate's name")
    images.add_argument("--mask-dir", metavar="DIR", help="the same of masks")
    images.add_argument("--outline-dir", metavar="DIR", help="the same of outlines")
    images.add_argument(
        "--segmentation-file-regex",
        type=pair,
        action="append",
        metavar="FILE=IMAGE",
        help="patterns of a mask's or outline's name, and of its image's",
    )
    images.add_argument("--path-rules", metavar="FILE.toml", help="which folder of another machine is which here")
    images.add_argument("--load-data", metavar="FILE", help="a load_data file, .csv, .csv.gz or .parquet")


def _presets(prefix: str, **_: Any) -> list[str]:
    """What the shell completes `--preset` by: names of presets, and files of one's own."""
    from argcomplete.completers import FilesCompleter

    return [*PRESETS, *FilesCompleter(["toml"])(prefix)]
