"""The rules of DESIGN, "Layout", as the source has them: who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cytotable_dagster.core import errors as core_errors

PACKAGE = Path(__file__).parents[1] / "cytotable_dagster"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = [path for path in MODULES if path.parent == PACKAGE / "core"]
# Rooms of core: folders that others import from by their face alone.
ROOMS = ("images",)
IN_ROOMS = [path for room in ROOMS for path in MODULES if path.parent == PACKAGE / "core" / room]

# What numba compiles, and what makes the pages of a SQLite file into tables.
COMPILED = ("kernel", "parquet_thrift", "csv_fields", "csv_records")
PAGES = ("sqlite_", *COMPILED)

# From the vocabulary up: a module imports from its own row and the rows above it.
LAYERS = (
    (
        "shown",
        "patience",
        "errors",
        "hidden",
        "types",
        "stopping",
        "version",
        "machine_errors",
        "locks",
        "leftovers",
        "exchange",
        "publication",
        "files",
        "arrays",
        "code_cache",
        "compiled",
        "parquet_layout",
        "csv_layout",
        "csv_dialect",
        "text_table",
        "plate_names",
    ),
    (
        "presets",
        "columns",
        "links",
        "coercions",
        "integer_file",
        "values",
        "conversion_report",
        "readers",
        "plain_pickle",
    ),
    (
        *(
            "preset_file",
            "digests",
            "store",
            "store_errors",
            "download",
            "cache_room",
            "schema",
            "parquet_footer",
            "thrift_compact",
            "parquet_concat",
        ),
        *("sqlite_file", "csv_cuts", "csv_names", "csv_header", "csv_parts", "npz_file"),
    ),
    ("csv_block", "csv_types"),
    ("csv_batch",),
    ("csv_files", "csv_reader", "npz_reader"),
    ("object_csv",),
    ("plate_files", "csv_survey"),
    ("content", "source_state", "flat_csv", "addresses"),
    ("source_files",),
    ("destination", "store_destination", "store_lock", "store_publication", "upload"),
    ("cache", "cached_file", "verify", "discover", "patterns", "listing", "arrivals", "parquet", "chunks", "executors"),
    ("sqlite_copy", "sqlite_reader", "parquet_columns", "options", "drift"),
    ("plan", "dataset_files"),
    ("dataset",),
    ("table_numbers",),
    ("planning", "compartments", "request"),
    ("single_cells", "sql_join", "table_file", "report", "plate_folder"),
    ROOMS,
    ("matches", "inspection", "work", "lake", "reporting"),
    ("many_plates", "lake_results"),
    ("merging", "lake_dataset", "one_plate", "results_place"),
    ("convert",),
)


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
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)


def _who_import(paths: list[Path], *roots: str) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in paths
        for module, line in _imports(path)
        if any(module == root or module.startswith(f"{root}.") for root in roots)
    ]


def test_core_knows_nothing_of_dagster():
    assert _who_import(CORE + IN_ROOMS, "dagster", "dagster_webserver", "dagster_graphql") == []


def test_core_imports_nothing_of_the_package_outside_core():
    inside = "cytotable_dagster.core"
    outside = [
        f"{path.name}:{line} imports {module}"
        for path in CORE + IN_ROOMS
        for module, line in _imports(path, typing=True)
        if module.split(".")[0] == "cytotable_dagster" and not f"{module}.".startswith(f"{inside}.")
    ]
    assert outside == []


def test_only_executors_and_resources_import_parsl():
    allowed = {PACKAGE / "core" / "executors.py", PACKAGE / "resources.py"}
    assert _who_import([path for path in MODULES if path not in allowed], "parsl") == []


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
    assets = [path for path in MODULES if path.parent == PACKAGE / "assets"]
    later = [f"cytotable_dagster.{name}" for name in ("jobs", "sensors", "checks", "build", "definitions")]
    assert _who_import(assets, *later) == []


def test_modules_of_core_import_only_from_their_layer_or_a_lower_one():
    ranks = {name: rank for rank, names in enumerate(LAYERS) for name in names}
    wrong = []
    for path in CORE + IN_ROOMS:
        own = path.parent.name if path in IN_ROOMS else path.stem
        if own not in ranks:
            continue
        for module, line in _imports(path, typing=True):
            other = module.removeprefix("cytotable_dagster.core.").split(".")[0]
            if module.startswith("cytotable_dagster.core.") and ranks.get(other, -1) > ranks[own]:
                wrong.append(f"{path.name}:{line} imports {other}")
    assert wrong == []


def test_nothing_is_imported_from_inside_a_room_but_by_the_room_itself():
    inside = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for room in ROOMS
        for path in MODULES
        if path.parent != PACKAGE / "core" / room
        for module, line in _imports(path, typing=True)
        if module.startswith(f"cytotable_dagster.core.{room}.")
        and (PACKAGE / "core" / room / f"{module.split('.')[3]}.py").exists()
    ]
    assert inside == []


def test_every_module_of_core_has_a_layer_or_is_for_the_compiler_or_the_page_reader():
    known = {name for names in LAYERS for name in names} | {"__init__"}
    unknown = [path.stem for path in CORE if path.stem not in known and not path.stem.startswith(PAGES)]
    assert unknown == []


def test_the_page_reader_knows_only_the_vocabulary():
    allowed = {name for names in LAYERS[:3] for name in names}
    wrong = []
    for path in CORE:
        if path.stem.startswith("sqlite_") and path.stem not in ("sqlite_file", "sqlite_copy", "sqlite_reader"):
            for module, line in _imports(path, typing=True):
                other = module.removeprefix("cytotable_dagster.core.").split(".")[0]
                if (
                    module.startswith("cytotable_dagster.core.")
                    and other not in allowed
                    and not other.startswith(PAGES)
                ):
                    wrong.append(f"{path.name}:{line} imports {other}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    names = {path.stem for path in CORE}
    edges = {
        path.stem: {
            module.removeprefix("cytotable_dagster.core.").split(".")[0]
            for module, _ in _imports(path)
            if module.startswith("cytotable_dagster.core.")
        }
        & names - {path.stem}
        for path in CORE
    }
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert edges == {}


@pytest.mark.parametrize("module", ["cytotable_dagster", "cytotable_dagster.cli"])
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
    )
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_public_face_has_what_it_names():
    import cytotable_dagster
    import cytotable_dagster.errors

    for module in (cytotable_dagster, cytotable_dagster.errors):
        assert {name for name in module.__all__ if getattr(module, name, None) is None} == set()
        assert set(module.__all__) <= set(dir(module))
    own = {name for name, found in vars(core_errors).items() if isinstance(found, type)}
    assert set(cytotable_dagster.errors.__all__) == own
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = cytotable_dagster.nothing_of_ours


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_no_module_is_longer_than_four_hundred_lines(path):
    assert len(path.read_text().splitlines()) <= 400
