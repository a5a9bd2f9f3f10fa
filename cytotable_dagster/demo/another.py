"""One more plate for a demo that runs: painted, and put into its bucket, where the sensor finds it."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.core.support.files import whole_file
from cytotable_dagster.demo.plate import BUCKET, write_plate
from cytotable_dagster.demo.s3_server import upload_files

# Half as many wells as the first has, that it differs and is soon there.
_WELLS = 12
_SECONDS = 10


class NoDemoError(CytoTableError, OSError):
    """No demo runs in a folder."""


@contextmanager
def known_as_running(folder: Path, *, store: str, web: str) -> Iterator[None]:
    """While the block lasts, a folder tells the addresses of its demo's store and web server."""
    note = _note(folder)
    with whole_file(note) as temporary:
        temporary.write_text(json.dumps({"store": store, "web": web}))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def add_another(folder: Path, say: Callable[[str], None] = print) -> None:
    """Paint a plate that the demo in `folder` has not had, and put it into the demo's bucket.

    Raises:
        NoDemoError: none runs there.
    """
    folder = folder.absolute()
    store, web = _running(folder)
    number = 1 + len([*(folder / "s3").rglob("*.sqlite"), *folder.glob("more/*")])
    name = f"BR{number:08d}"
    say(f"painting, segmenting and measuring plate {name} ...")
    plate = write_plate(folder / "more" / name, plate=name, wells=_WELLS, seed=number)
    upload_files(store, plate.folder, BUCKET)
    say(f"uploaded to s3://{BUCKET}/{plate.sqlite_key}")
    say(f"the sensor looks every 15 s, and starts a run: {web}/runs")
    say(f"its single cells, a minute from now: {web}/assets/single_cells?view=partitions&partition={name}")


def _running(folder: Path) -> tuple[str, str]:
    """Addresses of store and web server."""
    try:
        known = json.loads(_note(folder).read_text())
        with urllib.request.urlopen(f"{known['web']}/server_info", timeout=_SECONDS):
            return known["store"], known["web"]
    except (OSError, urllib.error.URLError, ValueError, LookupError):
        raise NoDemoError(f"{folder}: no demo runs here; start it by cytotable-dagster demo, and leave it on") from None


def _note(folder: Path) -> Path:
    return folder / "demo.json"
