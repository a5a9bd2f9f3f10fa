"""Plates of CSV files to measure with."""

import csv
import shutil
from pathlib import Path

TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")
SITES, OBJECTS, COLUMNS = 64, 150, 1900


def copies_of(export: Path, folder: Path, times: int, *, sites: bool = False) -> Path:
    """The rows of `export` so many times, its ImageNumbers shifted each time: in one export, or one for each site."""
    path = folder / f"{export.name}-{times}{'-sites' if sites else ''}"
    if path.exists():
        return path
    unfinished = path.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    for table in TABLES:
        with (export / f"{table}.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        image = head.index("ImageNumber")
        for time in range(times):
            own = unfinished / _site(time) / f"{table}.csv" if sites else unfinished / f"{table}.csv"
            is_new = not own.exists()
            own.parent.mkdir(parents=True, exist_ok=True)
            with own.open("a", newline="") as out:
                writer = csv.writer(out)
                if is_new:
                    writer.writerow(head)
                writer.writerows([*row[:image], int(row[image]) + time, *row[image + 1 :]] for row in rows)
    return unfinished.rename(path)


def small_sites(folder: Path, sites: int) -> Path:
    """A plate of small files, in a folder of its own: four CSV for each site, of at most 8 KB."""
    (folder / f"small-{sites}-bucket").mkdir(exist_ok=True)
    return jump_folder(folder / f"small-{sites}-bucket", sites, objects=4, columns=100)


def jump_folder(folder: Path, sites: int = SITES, objects: int = OBJECTS, columns: int = COLUMNS) -> Path:
    """A plate of a JUMP shape: a folder for each site, 150 objects, 1,900 columns a table.

    Sites have ImageNumbers of their own: CytoTable would join the objects of all sites that share one.
    """
    import numpy as np

    path = folder / f"jump-{sites}"
    if path.exists():
        return path
    unfinished = path.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    chance = np.random.default_rng(sites)
    for site in range(sites):
        own = unfinished / _site(site)
        own.mkdir(parents=True)
        (own / "Image.csv").write_text(
            "ImageNumber,FileName_DNA,Metadata_Plate,Metadata_Site,Metadata_Well\n"
            f"{site + 1},r{site:04d}.tiff,P1,{site},{own.name.split('-')[1]}\n"
        )
        for table in TABLES[1:]:
            _write_objects(own / f"{table}.csv", table, site + 1, chance, (objects, columns))
    return unfinished.rename(path)


def _site(number: int) -> str:
    return f"P1-{'ABCDEFGHIJKLMNOP'[number // 24 % 16]}{number % 24 + 1:02d}-{number}"


def _write_objects(path: Path, table: str, image: int, chance: object, shape: tuple[int, int]) -> None:
    objects, columns = shape
    parents = {"Cells": ["Parent_Nuclei"], "Cytoplasm": ["Parent_Cells", "Parent_Nuclei"]}.get(table, [])
    features = [f"Texture_Variance_{number}" for number in range(columns - 3 - len(parents))]
    values = chance.normal(size=(objects, len(features)))  # type: ignore[attr-defined]
    with path.open("w") as out:
        out.write(",".join(["ImageNumber", "ObjectNumber", "Number_Object_Number", *parents, *features]) + "\n")
        for number, row in enumerate(values, start=1):
            texts = [str(int(v * 1000)) if place % 8 == 0 else repr(float(v)) for place, v in enumerate(row)]
            out.write(",".join([str(image), *[str(number)] * (2 + len(parents)), *texts]) + "\n")
