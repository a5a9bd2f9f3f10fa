"""The rules of docs/architecture.md, as the source has them: who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cytotable_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = [path for path in MODULES if path.is_relative_to(PACKAGE / "core")]

# The rooms of `core` from the ground up, and which of their modules others may import (of a room without any, what its
# `__init__` gives). A room imports from those before
# it; the modules beside the rooms come first (`shown`, `errors`, `environment`, `version`) or last (all others).
ROOMS = {
    "support": "arguments arrays cores digests file_values files hidden integer_file leftovers locks machine_errors memory other_results pacing parameters patience pieces placeholders publication suggestions telling text_table written_paths",
    "execution": "runner stopping",
    "kernels": "code_cache csv_layout loading parquet_layout parquet_pages_layout sqlite_layout",
    "model": "casts choices coercions column_types cytotable_config names plate_names preset_file presets text_kind types values wells",
    "storage": "address destination download local_destination objects store store_destination store_publication upload",
    "sources": "coming csv.dialect csv.header csv.sites detection identity listed naming opening plate_folders preset_tables protocols reading state unconverted",
    "intake": "addresses arrivals cache cache_place discover listing patterns",
    "parquet": "columns concat groups layout parts refit rounding writing",
    "planning": "links make_plan options plan shapes unify",
    "steps": "batches chunk_files collect join joined plate_work",
    "reports": "account matches records results",
    "about": "columns trace",
    "datasets": "files members tables",
    "lake": "chunk_wells chunks columns folder follow making plans results",
    "pictures": "drawing plate_numbers plate_pictures plates",
    "conversion": "adding merging one_plate place request skipping",
    "images": "",
    "sinks": "",
}
GROUND = ("shown", "errors", "environment", "version")


def _imports(path: Path, *, typing: bool = False) -> Iterator[tuple[str, int]]:
    """Modules that a file imports, and the line; those under `if TYPE_CHECKING` only when asked for."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in skipped and not typing:
            continue
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            yield from (
                (_module(f"{node.module}.{name.name}") or node.module or "", node.lineno) for name in node.names
            )


def _module(dotted: str) -> str | None:
    """The name, if it is a module of this package."""
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return dotted if path.with_suffix(".py").exists() or (path / "__init__.py").exists() else None


def _inside(dotted: str) -> list[str]:
    """The parts of a module's name below `core`; none for other modules."""
    parts = dotted.split(".")
    return parts[2:] if parts[:2] == ["cytotable_dagster", "core"] else []


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _who_import(paths: list[Path], *roots: str, typing: bool = False) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in paths
        for module, line in _imports(path, typing=typing)
        if any(module == root or module.startswith(f"{root}.") for root in roots)
    ]


def test_core_knows_nothing_of_dagster():
    assert _who_import(CORE, "dagster", "dagster_webserver", "dagster_graphql") == []


def test_core_imports_nothing_of_the_package_outside_core():
    outside = [
        f"{path.name}:{line} imports {module}"
        for path in CORE
        for module, line in _imports(path, typing=True)
        if module.split(".")[0] == "cytotable_dagster" and module != "cytotable_dagster.core" and not _inside(module)
    ]
    assert outside == []


def test_only_the_runner_and_its_resource_import_parsl():
    allowed = {PACKAGE / "core" / "execution" / "runner.py", PACKAGE / "defs" / "cluster.py"}
    assert _who_import([path for path in MODULES if path not in allowed], "parsl") == []


def test_what_users_read_results_with_is_not_needed_to_make_them():
    # AnnData's tables are those of pandas, which comes with it.
    others = [
        path
        for path in MODULES
        if not path.name.startswith("anndata_")
        and path.parts[-2:] not in (("iceberg", "reading.py"), ("iceberg", "views.py"))
    ]
    assert _who_import(others, "polars", "pandas", typing=True) == []


def test_nothing_private_of_dagster_is_imported():
    assert _who_import(MODULES, "dagster._core", "dagster._utils", "dagster._api") == []
    private = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in MODULES
        for module, line in _imports(path, typing=True)
        if module.startswith("dagster.") and any(part.startswith("_") for part in module.split("."))
    ]
    assert private == []


def test_assets_import_nothing_of_what_is_built_of_them():
    assets = [path for path in MODULES if path.is_relative_to(PACKAGE / "defs" / "assets")]
    later = [f"cytotable_dagster.defs.{name}" for name in ("jobs", "sensors", "checks", "build")]
    assert _who_import(assets, *later, "cytotable_dagster.definitions") == []


def test_the_shell_and_the_dagster_side_meet_in_functions_only():
    shell = [path for path in MODULES if path.is_relative_to(PACKAGE / "defs")]
    assert _who_import(shell, "cytotable_dagster.cli") == []


def _rank(inside: list[str]) -> int:
    """Where a module of `core` stands; what lies beside the rooms and not on the ground stands above them."""
    order = list(ROOMS)
    if inside[0] in GROUND:
        return -1
    return order.index(inside[0]) if inside[0] in order else len(order)


def test_no_import_goes_upward_and_none_past_a_face():
    wrong = []
    for path in MODULES:
        mine = _inside(_name(path))
        for module, line in _imports(path, typing=True):
            theirs = _inside(module)
            if not theirs or (mine and theirs[0] == mine[0]):
                continue
            where = f"{path.relative_to(PACKAGE)}:{line} imports {'.'.join(theirs)}"
            if mine and _rank(theirs) > _rank(mine):
                wrong.append(f"{where}, which is above it")
            if theirs[0] in ROOMS and theirs[1:] and ".".join(theirs[1:]) not in ROOMS[theirs[0]].split():
                wrong.append(f"{where}, which is not of the room's face")
    assert wrong == []


def test_every_room_is_known_and_says_what_it_is():
    rooms = {path.parent.name for path in (PACKAGE / "core").glob("*/__init__.py")}
    assert rooms == set(ROOMS)
    for room in rooms:
        told = ast.get_docstring(ast.parse((PACKAGE / "core" / room / "__init__.py").read_text()))
        assert told is not None and told.count(".") >= 3, room


def test_no_modules_import_each_other_in_a_circle():
    edges = {_name(path): {module for module, _ in _imports(path) if _inside(module)} - {_name(path)} for path in CORE}
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert edges == {}


@pytest.mark.parametrize("module", ["cytotable_dagster", "cytotable_dagster.cli.main"])
def test_importing_the_package_loads_nothing_heavy(module):
    heavy = (
        "pyarrow",
        "duckdb",
        "parsl",
        "dagster",
        "numba",
        "pandas",
        "numpy",
        "boto3",
        "cloudpathlib",
        "pydantic",
        "rich",
        "cytotable_dagster.core.images",
        "cytotable_dagster.core.sinks",
    )
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_stores_are_spoken_to_through_one_seam_and_files_locked_in_one_module():
    storage = PACKAGE / "core" / "storage"
    # Checksums that Amazon alone keeps are computed by what Amazon has written.
    allowed = {*(path for kind in ("s3*", "gs*", "az*", "temporary_copies") for path in storage.glob(f"{kind}.py"))}
    allowed.add(PACKAGE / "core" / "intake" / "verify.py")
    others = [path for path in CORE if path not in allowed]
    assert _who_import(others, "boto3", "botocore", "cloudpathlib", "google", "azure", typing=True) == []
    assert _who_import([p for p in others if p.name != "locks.py"], "fcntl", "filelock", "msvcrt", typing=True) == []


def test_core_asks_the_environment_in_one_place():
    asking = ("os.environ", "os.getenv", "getenv")
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in CORE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in asking
    ]
    assert {line.split(":")[0] for line in found} == {"core/environment.py"}, found


def test_no_module_is_longer_than_four_hundred_lines():
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > 400} == {}
