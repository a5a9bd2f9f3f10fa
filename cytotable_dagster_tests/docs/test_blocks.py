"""Every block of README and docs runs as it is written, in order, in the page's own folder.

Files, stores and folders that pages name are small ones of the same names (`stage.py`). What cannot run here stands in
`NOT_RUN`, with the reason and what is looked at instead; a block in a language that is not known fails.
"""

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks import readme
from cytotable_dagster_tests.docs.blocks import PAGES, ROOT, Block, blocks
from cytotable_dagster_tests.docs.stage import SERVERS, Stage, filled, write_plates

pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")

# Blocks of text, by their first lines: no code, and what holds them to the truth.
TEXT = {
    "plate_source -> plate_sqlite -> image_chunk, cells_chunk, cytoplasm_chunk, nuclei_chunk      (plate x chunk)": (
        "test_the_graph_that_is_shown_names_all_assets"
    ),
    "table          read  written  no image  empty images  coerced  widened  columns out": (
        "test_the_report_that_is_shown_is_the_real_plates"
    ),
    "dataset/Cells/BR00126114.parquet": "test_the_dataset_that_is_shown_is_what_add_makes",
    "screen/BR00126114/BR00126114-A01-1/Cells.csv": "test_the_screen_that_is_shown_is_the_one_converted",
}


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plates")
    write_plates(folder)
    return folder


@pytest.fixture(scope="module")
def store(plates: Path) -> Iterator[object]:
    from cytotable_dagster.demo.s3_server import s3_server

    with s3_server() as running, filled(running, plates / "plates") as store:
        yield store


@pytest.fixture
def stage(tmp_path: Path, plates: Path, store, monkeypatch: pytest.MonkeyPatch, request) -> Iterator[Stage]:
    """A folder in which a page begins, and the working folder and environment of this process."""
    folder = tmp_path / "page"
    folder.mkdir()
    shutil.copy(plates / "plate.sqlite", folder)
    shutil.copytree(plates / "plates", folder / "plates")
    for name in ("images", "screen"):
        (folder / name).symlink_to(plates / name)
    (folder / "outlines").mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "opt" / "cytotable").mkdir(parents=True)
    (folder / "opt" / "cytotable" / "bin").symlink_to(Path(sys.executable).parent)
    _readers_are_in(folder / "opt" / "cytotable" / "kernels")
    for name in ("etc", "srv/cytotable/dagster", "scratch/tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "aws.config").write_text("[profile lab]\naws_access_key_id = a\naws_secret_access_key = b\n")
    staged = Stage(folder, store, wholly=getattr(request, "param", False))
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("CYTOTABLE_") and name != "CYTOTABLE_KERNEL_CACHE"]:
        monkeypatch.delenv(name)
    for name, value in staged.environment().items():
        monkeypatch.setenv(name, value)
    yield staged
    staged.stop()


def _readers_are_in(folder: Path) -> None:
    """As if compiled there already, which takes a while and has a test of its own."""
    from cytotable_dagster.core.kernels.loading import kept_in, load_all

    load_all()
    kept = kept_in()
    assert kept is not None
    folder.mkdir()
    for path in kept.glob("*.o"):
        shutil.copy(path, folder)


def _run(stage: Stage, block: Block) -> None:
    if block.file is not None:
        _check_file(stage.write(block), block)
    elif block.language == "python":
        stage.run_python(block)
    elif block.language == "diff":
        _run_both_sides(stage, block)
    elif block.language == "shell":
        stage.run_shell(block)
    elif block.language == "yaml":
        # A part of dagster.yaml, which tests of instances run with.
        assert isinstance(yaml.safe_load(block.text), dict)
    elif block.language == "toml":
        _check_preset(stage.folder / "unnamed.toml", block.text)
    else:
        assert block.language == "text", f"{block}: no one can run {block.language or 'a block without a language'}"
        assert block.first in TEXT, f"{block}: text that nothing holds to the truth"


def _run_both_sides(stage: Stage, block: Block) -> None:
    """A program of CytoTable's and what it becomes: that runs, the other is at least Python."""
    before, after = ("\n".join(re.findall(rf"^[ {side}](.*)$", block.text, re.MULTILINE)) for side in "-+")
    compile(before, f"{block}, before", "exec")
    stage.run_python(replace(block, text=after))


def _check_file(path: Path, block: Block) -> None:
    """Files are read by what they are for; those of services in tests of their own."""
    if path.suffix == ".toml":
        tomllib.loads(block.text)
    elif path.suffix in (".yaml", ".yml"):
        assert yaml.safe_load(block.text)
    elif path.suffix == ".py":
        compile(block.text, str(block), "exec")
    else:
        assert block.file in CHECKED_FILES, f"{block}: nothing reads {block.file}"


# Files of services, which `test_services.py` reads, starts and asks.
CHECKED_FILES = (
    "/etc/cytotable.env",
    "/etc/systemd/system/cytotable-daemon.service",
    "/etc/systemd/system/cytotable-web.service",
    "/etc/nginx/conf.d/cytotable.conf",
    "Dockerfile",
)


def _check_preset(path: Path, text: str) -> None:
    from cytotable_dagster.core.model.preset_file import read_preset

    path.write_text(text)
    read_preset(path)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_as_they_are_written(page: str, stage: Stage):
    for block in blocks(page):
        _run(stage, block)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [True], indirect=True)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(server in block.text for block in blocks(page) for server in SERVERS)]
)
def test_servers_start_as_they_are_written(page: str, stage: Stage):
    for block in blocks(page):
        _run(stage, block)


def test_every_test_that_is_named_is_there():
    here = {name for name in globals() if name.startswith("test_")}
    assert here >= {*TEXT.values()}


def _block(page: str, first: str) -> Block:
    (block,) = [block for block in blocks(page) if block.first.startswith(first)]
    return block


def test_the_graph_that_is_shown_names_all_assets():
    from cytotable_dagster.definitions import defs

    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    words = set(_block("docs/dagster.md", "plate_source ->").text.replace(",", " ").split())
    named = {word for word in words if word.replace("_", "").isalpha() and word not in ("x", "all", "plates")}
    assert named <= keys
    datasets = {f"{name}_dataset" for name in ("image", "cells", "cytoplasm", "nuclei", "single_cells")}
    assert keys - named <= datasets


def test_the_report_that_is_shown_is_the_real_plates(real_data: Path, tmp_path: Path):
    import cytotable_dagster

    result = cytotable_dagster.convert(real_data / "nf1_schwann" / "all_cellprofiler.sqlite", tmp_path / "out")
    assert _block("docs/report.md", "table").text.strip() in str(result)


def test_the_dataset_that_is_shown_is_what_add_makes(stage: Stage):
    from cytotable_dagster import datasets

    datasets.add("plates/", "dataset/")
    for line in _block("docs/datasets.md", "dataset/Cells/BR").text.splitlines():
        assert (stage.folder / line.removesuffix("...")).parent.is_dir(), line
        assert line.endswith("...") or (stage.folder / line).is_file()


def test_the_screen_that_is_shown_is_the_one_converted(stage: Stage):
    for line in _block("docs/tutorials/csv-screen.md", "screen/").text.splitlines():
        assert (stage.folder / line.removesuffix("...")).exists(), line


def test_the_figures_of_the_readme_are_those_measured():
    page = readme.README.read_text()
    assert readme.table() in page, "python -m benchmarks.readme writes the table"


def test_links_between_pages_lead_somewhere():
    headings = {page: _anchors((ROOT / page).read_text()) for page in PAGES}
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?://)([^)\s]+)", (ROOT / page).read_text()):
            path, _, anchor = link.partition("#")
            target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
            known = headings.get(str(target.relative_to(ROOT)))
            if not target.exists() or (anchor and known is not None and anchor not in known):
                broken.append(f"{page}: {link}")
    assert broken == []


def _anchors(page: str) -> set[str]:
    """What headings are called in addresses."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_is_told():
    sources = [path.read_text() for path in (ROOT / "cytotable_dagster").rglob("*.py")]
    settings = {name for source in sources for name in re.findall(r"\bCYTOTABLE_[A-Z_]+\b", source)}
    assert settings - set(re.findall(r"`(CYTOTABLE_[A-Z_]+)", (ROOT / "docs" / "settings.md").read_text())) == set()


def test_every_page_is_in_the_index():
    listed = set(re.findall(r"\]\(([\w/-]+\.md)", (ROOT / "docs" / "README.md").read_text()))
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert pages - listed == {"README.md"}
    # And in the site's, with the figures.
    figures = {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("results*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    assert (pages | figures) - set(re.findall(r"[\w/-]+\.md", navigation)) == set()
