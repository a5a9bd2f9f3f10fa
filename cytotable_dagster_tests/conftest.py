"""What all tests share: the real files, and nothing of this machine's credentials."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("CYTOTABLE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real files are not here: set CYTOTABLE_TEST_DATA to their folder")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _no_credentials() -> None:
    """No credentials, no configured store, wherever the tests run."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
