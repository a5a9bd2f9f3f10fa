"""A conversion asks nothing of the network."""

import os
import subprocess
import sys

import pytest

from cytotable_dagster_tests.core.plates import JUMP, plate

# Every socket of the process refuses any address but loopback's; an attempt ends the process with status 9.
_GUARDED = """
import os, socket, sys

def guard(name):
    real = getattr(socket.socket, name)
    def only_loopback(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            print(f"{name} to {address}", file=sys.stderr, flush=True)
            os._exit(9)
        return real(self, address, *rest)
    setattr(socket.socket, name, only_loopback)

for name in ("connect", "connect_ex", "sendto"):
    guard(name)

def refused(host, *rest, real=socket.getaddrinfo, **more):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        print(f"name of {host}", file=sys.stderr, flush=True)
        os._exit(9)
    return real(host, *rest, **more)

socket.getaddrinfo = refused
from cytotable_dagster import convert
*sources, dest = sys.argv[1:]
for number, source in enumerate(sources):
    result = convert(source, f"{dest}{number}")
    convert(source, f"{dest}{number}.parquet", joins="SELECT * FROM 'cells.parquet'")
    print(sum(output.rows for output in result.outputs), len(result.readers))
"""


def _environment(home: object) -> dict[str, str]:
    """A machine that DuckDB was never used on: no extension lies about."""
    names = ("PATH", "LANG", "CYTOTABLE_KERNEL_CACHE", "NUMBA_CACHE_DIR", "PYTHONPATH", "VIRTUAL_ENV")
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))  # noqa: PTH111
    return {name: os.environ[name] for name in names if name in os.environ} | {
        "HOME": str(home),
        "XDG_CACHE_HOME": cache,
    }


def test_a_conversion_opens_no_socket_but_to_loopback(make_plate, tmp_path):
    sources = [
        make_plate(plate(JUMP), name=f"{reader}.sqlite", as_views=reader == "scan") for reader in ("pages", "scan")
    ]
    (tmp_path / "home").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", _GUARDED, *sources, tmp_path / "out"],
        env=_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["19", "0", "19", "4"]
    assert list((tmp_path / "home").iterdir()) == []


def test_a_conversion_works_on_a_machine_without_any_network(make_plate, tmp_path):
    alone = ["unshare", "--net", "--map-root-user"]
    try:
        possible = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("no network namespace of our own can be made here")
    (tmp_path / "home").mkdir()
    code = "import sys; from cytotable_dagster import convert; convert(sys.argv[1], sys.argv[2])"
    ran = subprocess.run(
        [*alone, sys.executable, "-c", code, make_plate(as_views=True), tmp_path / "out.parquet"],
        env=_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out.parquet").exists()
