"""What tests of sinks leave to nobody else."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _handles_end_here() -> Iterator[None]:
    """What an error held of HDF5's handles goes before other tests run, and not in whichever thread is collected next:
    HDF5 does not bear that."""
    yield
    gc.collect()
