"""Faults that are provoked for real, and the table of what comes of each: `python -m cytotable_dagster_tests.docs.faults`
writes it into docs/faults.md."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cytotable_dagster import convert
from cytotable_dagster.core.errors import CytoTableError
from cytotable_dagster.defs.assets.faults import passes
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.docs.blocks import ROOT
from cytotable_dagster_tests.stores.between import Between, between

PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- faults: made by python -m cytotable_dagster_tests.docs.faults -->", "<!-- end of faults -->"
HEAD = ("fault", "what is said", "what is left", "in Dagster")
BUCKET = "results"
_NOWHERE = "http://127.0.0.1:9"


class CannotBeProvoked(Exception):
    """This machine does not allow it."""


@dataclass
class Place:
    """A folder of one fault's own, with a store where it takes one."""

    folder: Path
    store: Between | None = None

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def plate(self, dialect: str = JUMP, cells: int = 40) -> Path:
        return write_sqlite(self.folder / "plate.sqlite", plate(dialect, sites(cells, cells)))

    def options(self) -> dict[str, str]:
        assert self.store is not None
        return {"endpoint_url": self.store.endpoint_url, "aws_access_key_id": "a", "aws_secret_access_key": "b"}


Provoke = Callable[[Place], object]
FAULTS: dict[str, Provoke] = {}
# What of a report is about the fault, where the plate is odd in other ways too; "" where none of it is.
ABOUT: dict[str, str] = {}
# Those that take as long as a store is waited for.
SLOW = {"a store that takes requests and does not answer"}


def fault(what: str, about: str | None = None) -> Callable[[Provoke], Provoke]:
    def note(provoke: Provoke) -> Provoke:
        FAULTS[what] = provoke
        if about is not None:
            ABOUT[what] = about
        return provoke

    return note


@fault("a source that is not there")
def _(place: Place) -> object:
    return convert(place.folder / "plate.sqlite", place.out)


@fault("an empty file")
def _(place: Place) -> object:
    (place.folder / "plate.sqlite").touch()
    return convert(place.folder / "plate.sqlite", place.out)


@fault("a file that is no SQLite")
def _(place: Place) -> object:
    (place.folder / "plate.sqlite").write_text("not a database\n" * 100)
    return convert(place.folder / "plate.sqlite", place.out)


@fault("a damaged page")
def _(place: Place) -> object:
    path = place.plate()
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    path.write_bytes(data)
    return convert(path, place.out)


@fault("a file that ends too early")
def _(place: Place) -> object:
    path = place.plate()
    os.truncate(path, path.stat().st_size // 2)
    return convert(path, place.out)


@fault("a source that is written to meanwhile")
def _(place: Place) -> object:
    path = place.plate()
    changed: list[str] = []

    def change(step: str, done: int, total: int) -> None:
        if not changed:
            changed.append(step)
            write_again(path)

    return convert(path, place.out, chunk_size=10, progress=change)


def write_again(path: Path) -> None:
    """As SQLite leaves a file that was written to: its change counter is another."""
    with path.open("r+b") as file:
        file.seek(24)
        file.write(b"\1\1\1\1")


@fault("a destination that exists")
def _(place: Place) -> object:
    place.out.mkdir()
    (place.out / "Cells.parquet").write_bytes(b"of somebody")
    return convert(place.plate(), place.out)


@fault("a destination that cannot be written")
def _(place: Place) -> object:
    return _on_a_disk_of_its_own(place, "mount -o remount,ro {mount}")


@fault("a disk that is full")
def _(place: Place) -> object:
    return _on_a_disk_of_its_own(place, "head -c 250000 /dev/zero > {mount}/others")


def _on_a_disk_of_its_own(place: Place, prepare: str) -> object:
    """A conversion to a small file system, which no other process sees."""
    mount = place.folder / "disk"
    mount.mkdir()
    code = (
        "import pickle, sys; from cytotable_dagster import convert\n"
        "try: convert(sys.argv[1], sys.argv[2])\n"
        "except Exception as error: open(sys.argv[3], 'wb').write(pickle.dumps(error))\n"
    )
    told = place.folder / "told"
    script = (
        f"mount -t tmpfs -o size=300k tmpfs {mount} && {prepare.format(mount=mount)} && echo there && "
        f'"$0" -c "$1" {place.plate()} {mount}/out {told}; cp -a {mount}/. {place.folder}/left'
    )
    try:
        ran = subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", script, sys.executable, code],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
    except FileNotFoundError:
        raise CannotBeProvoked from None
    if "there" not in ran.stdout:
        raise CannotBeProvoked
    for path in (place.folder / "left").iterdir():
        if path.name != "others":
            path.rename(place.folder / path.name)
    if not told.exists():
        raise AssertionError(ran.stderr)
    import pickle

    raise pickle.loads(told.read_bytes())


@fault("a process that is killed; the next run", about="")
def _(place: Place) -> object:
    path = place.plate()
    code = (
        "import os, signal, sys; from cytotable_dagster import convert\n"
        "kill = lambda step, done, total: os.kill(os.getpid(), signal.SIGKILL)\n"
        "convert(sys.argv[1], sys.argv[2], chunk_size=10, progress=kill)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path), str(place.out)], cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGKILL
    assert [name for name in place.folder.iterdir() if name.suffix == ".parquet"] == []
    return convert(path, place.out)


@fault("two conversions to one destination at once; the second")
def _(place: Place) -> object:
    path = place.plate()
    second: list[Future[object]] = []
    with ThreadPoolExecutor(1) as pool:

        def start(step: str, done: int, total: int) -> None:
            if not second:
                second.append(pool.submit(convert, path, place.out))

        convert(path, place.out, chunk_size=10, progress=start)
    return second[0].result()


@fault("a ragged record in a CSV file", about="fields")
def _(place: Place) -> object:
    folder = place.folder / "P1"
    folder.mkdir()
    (folder / "Image.csv").write_text("ImageNumber,Metadata_Well\n1,A01\n")
    rows = "ImageNumber,ObjectNumber,AreaShape_Area\n1,1,5\n1,2\n1,3,7\n"
    (folder / "Cells.csv").write_text(rows)
    return convert(folder, place.out)


@fault("an object that no cell belongs to")
def _(place: Place) -> object:
    return convert(place.plate(EXPORT, 3), place.out)


@fault("the same, with strict=True")
def _(place: Place) -> object:
    return convert(place.plate(EXPORT, 3), place.out, strict=True)


@fault("a name that no preset has")
def _(place: Place) -> object:
    return convert(place.plate(), place.out, preset="cellprofiler")


@fault("a bucket that is not there")
def _(place: Place) -> object:
    return convert(place.plate(), "s3://no-such-bucket/P1", **place.options())


@fault("a store that refuses to be written to")
def _(place: Place) -> object:
    assert place.store is not None
    place.store.refused["CreateMultipartUpload"] = place.store.refused["PutObject"] = (403, "AccessDenied")
    return convert(place.plate(), f"s3://{BUCKET}/P1", **place.options())


@fault("a store that cannot be reached")
def _(place: Place) -> object:
    options = {**place.options(), "endpoint_url": _NOWHERE}
    return convert(f"s3://{BUCKET}/plate.sqlite", place.out, **options, local_cache_dir=str(place.folder / "cache"))


@fault("a store that takes requests and does not answer")
def _(place: Place) -> object:
    assert place.store is not None
    place.store.held["HeadObject"] = place.store.held["ListObjects"] = 0
    return convert(
        f"s3://{BUCKET}/plate.sqlite", place.out, **place.options(), local_cache_dir=str(place.folder / "cache")
    )


def row(what: str, endpoint_url: str) -> str:
    """A line of the table: a fault, provoked."""
    with tempfile.TemporaryDirectory() as folder, between(endpoint_url) as store:
        place = Place(Path(folder), store)
        try:
            result = FAULTS[what](place)
        except CytoTableError as error:
            said, dagster = f"`{type(error).__name__}`: {error}", "tried again" if passes(error) else "fails at once"
        else:
            about = ABOUT.get(what)
            found = result.report.problems if about != "" else ()  # type: ignore[attr-defined]
            problems = [line for line in found if about is None or about in line]
            said, dagster = "the report: " + problems[0] if problems else "nothing", "goes on"
        left = sorted(path.name for path in place.out.iterdir()) if place.out.is_dir() else []
        beside = sorted(path.name for path in place.folder.iterdir() if path.name.endswith(".tmp"))
        cells = (what, _plain(said, place), _plain(", ".join([*left, *beside]) or "nothing", place), dagster)
        return f"| {' | '.join(cells)} |"


def _plain(text: str, place: Place) -> str:
    assert place.store is not None
    for here, there in (
        (str(place.folder), ""),
        (place.store.endpoint_url, "https://s3.my-lab.org"),
        (_NOWHERE, "https://s3.my-lab.org"),
    ):
        text = text.replace(here, there)
    return text.replace("|", "\\|")


def table(page: str) -> dict[str, str]:
    """The rows of the page's table by fault."""
    lines = page[page.index(BEGIN) : page.index(END)].splitlines()[3:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines if line}


def main() -> None:
    """Write the table into the page; rows that cannot be provoked here stay as they are."""
    from cytotable_dagster.demo.s3_server import s3_client, s3_server

    page = PAGE.read_text()
    kept = table(page)
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    with s3_server() as server:
        s3_client(server.endpoint_url).create_bucket(Bucket=BUCKET)
        for what in FAULTS:
            try:
                lines.append(row(what, server.endpoint_url))
            except CannotBeProvoked:
                lines.append(kept[what])
            print(lines[-1], flush=True)
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{after}")


if __name__ == "__main__":
    main()
