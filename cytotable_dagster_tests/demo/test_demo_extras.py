"""What the demo does without its optional packages."""

import subprocess
import sys
from pathlib import Path

import pytest

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.demo.extras import MissingExtraError, need

ROOT = Path(__file__).parents[2]
LINE = "the demo needs {}, which is not installed: pip install 'cytotable-dagster[demo]'"


def run_without(packages: str, program: str) -> str:
    """Run a program in which these packages cannot be found; what it prints."""
    hide = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {packages.split()!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    run = subprocess.run([sys.executable, "-c", hide + program], capture_output=True, text=True, cwd=ROOT, check=True)
    return run.stdout.strip()


def test_missing_package_is_one_clear_line() -> None:
    with pytest.raises(ImportError) as caught:
        need("no_such_package.module")
    assert str(caught.value) == LINE.format("no_such_package")
    assert isinstance(caught.value, MissingExtraError)
    assert isinstance(caught.value, CytoTableError)


@pytest.mark.parametrize("package", ["scipy", "tifffile"])
def test_plate_without_a_package(package: str, tmp_path: Path) -> None:
    printed = run_without(
        package,
        "from pathlib import Path\n"
        "from cytotable_dagster.demo.plate import write_plate\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "try: write_plate(folder, wells=1, sites_per_well=1, image_size=64)\n"
        "except ImportError as error: print(error, end='')\n",
    )
    assert printed == LINE.format(package)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_importing_the_demo_imports_nothing_heavy() -> None:
    printed = run_without(
        "scipy tifffile moto boto3 botocore",
        "import cytotable_dagster.demo.plate, cytotable_dagster.demo.s3_server, cytotable_dagster.demo.wide\n"
        "print('imported')\n",
    )
    assert printed == "imported"
