"""What stands for the files, stores and servers that pages name, so that their blocks run as they are written."""

import csv
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cytotable_dagster.demo.plate import write_plate
from cytotable_dagster.demo.s3_server import S3Server, s3_client
from cytotable_dagster.demo.servers import end_group, free_port
from cytotable_dagster_tests.docs.blocks import ROOT, Block

GALLERY = "cpg0016-jump/source_4/workspace/backend/2021_08_23_Batch12/BR00126114/BR00126114.sqlite"
BUCKETS = ("cellpainting-gallery", "bucket", "my-bucket")
# Folders of somebody's machine, which lie in the page's own folder here.
_ROOTS = re.compile(r"(?<![\w.}/-])/(srv|data|scratch|labs|opt|etc|var)/")
_MY_STORE = "https://s3.my-lab.org"
SERVERS = ("dagster dev", "dagster-daemon", "dagster-webserver")
# What changes this machine, or fetches from an index of packages.
INSTALLERS = (*("uv", "pip", "python3", "docker", "nginx", "htpasswd", "useradd", "install"),)


@dataclass
class Stage:
    """The folder of a page, where its blocks run one after the other; `wholly` with the servers that they start."""

    folder: Path
    store: S3Server
    wholly: bool
    names: dict[str, Any] = field(default_factory=dict)
    shells: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    port: int = field(default_factory=free_port)

    def environment(self) -> dict[str, str]:
        """No settings but those of the page, and a store that answers for all."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CYTOTABLE_", "DAGSTER_"))}
        kernels = {k: v for k, v in os.environ.items() if k == "CYTOTABLE_KERNEL_CACHE"}
        scripts = Path(sys.executable).parent
        return kept | kernels | {
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL_S3": self.store.endpoint_url,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_CONFIG_FILE": str(self.folder / "aws.config"),
            "DAGSTER_WEBSERVER_PORT": str(self.port),
            "DAGSTER_CLI_DEV_PORT": str(self.port),
            "PROJECT": str(ROOT),
        }  # fmt: skip

    def here(self, text: str) -> str:
        """A text in which other machines' folders and stores are ours."""
        return _ROOTS.sub(rf"{self.folder}/\1/", text).replace(_MY_STORE, self.store.endpoint_url)

    def write(self, block: Block) -> Path:
        """The file that a block is the content of."""
        assert block.file is not None
        path = self.folder / self.here(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(block.text))
        return path

    def run_python(self, block: Block) -> None:
        exec(compile(self.here(block.text), str(block), "exec"), self.names)

    def run_shell(self, block: Block) -> None:
        """A block in a shell that stops at the first line that fails, with what blocks before it have exported.

        Raises:
            AssertionError: a line failed.
        """
        state = self.folder / ".exported"
        log = self.folder / ".log"
        script = f"[ -e {state} ] && . {state}\n{self._shims()}\nset -euo pipefail\n{self.here(block.text)}\nexport -p >{state}\n"
        with log.open("w") as said:
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
            self.shells.append(process)
            status = process.wait(timeout=600)
        assert status == 0, f"{block}: status {status}\n{log.read_text()}"
        if self.wholly and any(server in block.text for server in SERVERS):
            self._wait_for_server(log)

    def _wait_for_server(self, log: Path) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            with suppress(OSError):
                query = b'{"query": "{repositoriesOrError {... on RepositoryConnection {nodes {name}}}}"}'
                request = urllib.request.Request(
                    f"http://127.0.0.1:{self.port}/graphql", query, {"Content-Type": "application/json"}
                )
                with urllib.request.urlopen(request, timeout=30) as answer:
                    if b"__repository__" in answer.read():
                        return
            time.sleep(0.5)
        raise AssertionError(f"no server on port {self.port}\n{log.read_text()}")

    def _shims(self) -> str:
        """Bash functions in place of what cannot run here; `make` says what it would do, so that targets must exist."""
        lines = [
            'make() { command make --dry-run --directory "$PROJECT" "$@" >/dev/null; }',
            *(f"{name}() {{ :; }}" for name in INSTALLERS),
            # What the daemon's unit runs before it.
            f"systemctl() {{ [[ $* != *-daemon* ]] || (set -a; . {self.folder}/etc/cytotable.env; cytotable-dagster home); }}",
        ]
        if self.wholly:
            lines.append('dagster() { if [ "$1" = dev ]; then command dagster "$@" & else command dagster "$@"; fi; }')
        else:
            lines.append('dagster() { [ "$1" = dev ] || command dagster "$@"; }')
            lines += [f"{name}() {{ command -v {name}; }}" for name in ("dagster-daemon", "dagster-webserver")]
        return "\n".join(lines)

    def stop(self) -> None:
        """End all that was started and not ended."""
        for shell in self.shells:
            end_group(shell)


def write_plates(folder: Path) -> None:
    """`plate.sqlite` and its `images/`, `plates/` with two plates, each whole, so that nothing of them is unmatched; and
    `screen/`, the same as CSV files of each site."""
    for name, seed in (("BR00126114", 1), ("BR00126115", 2)):
        made = write_plate(folder / ".made", plate=name, wells=2, sites_per_well=1, image_size=256, seed=seed)
        path = folder / "plates" / f"{name}.sqlite"
        path.parent.mkdir(exist_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        made.sqlite.rename(path)
        made.images.rename(folder / "images" / name) if seed == 1 else None
        _match_all(path)
        _write_sites(path, folder / "screen" / name)
    (folder / "plate.sqlite").write_bytes((folder / "plates" / "BR00126114.sqlite").read_bytes())


def _match_all(path: Path) -> None:
    """Leave out nuclei that no cytoplasm is around, and give the plate a table that only a preset names."""
    with sqlite3.connect(path) as link:
        link.execute(
            "DELETE FROM Nuclei WHERE NOT EXISTS (SELECT 1 FROM Cytoplasm c WHERE c.TableNumber = Nuclei.TableNumber"
            " AND c.ImageNumber = Nuclei.ImageNumber AND c.Cytoplasm_Parent_Nuclei = Nuclei.ObjectNumber)"
        )
        link.execute("CREATE TABLE Nuclei_Cellpose3 AS SELECT * FROM Nuclei")
        link.execute("ALTER TABLE Cytoplasm ADD COLUMN Cytoplasm_Parent_Nuclei_Cellpose3 INTEGER")
        link.execute("UPDATE Cytoplasm SET Cytoplasm_Parent_Nuclei_Cellpose3 = Cytoplasm_Parent_Nuclei")
        link.execute(
            "UPDATE Image SET Count_Nuclei = (SELECT count(*) FROM Nuclei n WHERE n.TableNumber = Image.TableNumber)"
        )
    link.close()


def _write_sites(path: Path, folder: Path) -> None:
    """A plate as ExportToSpreadsheet leaves it where it runs for each site alone."""
    with sqlite3.connect(path) as link:
        sites = link.execute("SELECT TableNumber, Metadata_Well, Metadata_Site FROM Image").fetchall()
        for number, well, site in sites:
            exported = folder / f"{folder.name}-{well}-{site}"
            exported.mkdir(parents=True)
            for table in ("Image", "Cells", "Cytoplasm", "Nuclei"):
                found = link.execute(f"SELECT * FROM {table} WHERE TableNumber = ?", (number,))
                heads = [column[0] for column in found.description]
                with (exported / f"{table}.csv").open("w", newline="") as file:
                    write = csv.writer(file)
                    kept = [place for place, head in enumerate(heads) if head != "TableNumber"]
                    write.writerow(_as_exported(heads[place], table) for place in kept)
                    write.writerows([row[place] for place in kept] for row in found)
    link.close()


def _as_exported(column: str, table: str) -> str:
    """Files of objects have no compartment in front."""
    return column.removeprefix(f"{table}_")


@contextmanager
def filled(store: S3Server, plates: Path) -> Iterator[S3Server]:
    """The store with the objects that pages name."""
    client = s3_client(store.endpoint_url)
    public = {"ACL": "public-read"}
    for bucket in BUCKETS:
        client.create_bucket(Bucket=bucket, ACL="public-read")
    first, second = sorted(plates.glob("*.sqlite"))
    client.upload_file(str(first), "cellpainting-gallery", GALLERY, ExtraArgs=public)
    for path in (first, second):
        client.upload_file(str(path), "bucket", f"backend/Batch1/{path.name}", ExtraArgs=public)
    yield store
