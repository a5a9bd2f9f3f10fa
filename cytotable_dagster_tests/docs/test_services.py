"""The services, the image and the proxy that docs/deploying.md describes, as far as this machine has what they need."""

import base64
import configparser
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from cytotable_dagster.demo.servers import end_group, free_port
from cytotable_dagster_tests.docs.blocks import ROOT, blocks

PAGE = "docs/deploying.md"
SERVICES = ("daemon", "web")


def _file(name: str) -> str:
    (block,) = [block for block in blocks(PAGE) if block.file == name]
    return block.text


def _unit(service: str) -> str:
    return _file(f"/etc/systemd/system/cytotable-{service}.service")


def _settings() -> dict[str, str]:
    lines = [line for line in _file("/etc/cytotable.env").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_units_are_sound(tmp_path: Path):
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd is not here")
    units = []
    for service in SERVICES:
        unit = tmp_path / f"cytotable-{service}.service"
        unit.write_text(_unit(service).replace("/opt/cytotable/bin", str(Path(sys.executable).parent)))
        units.append(unit)
    ran = subprocess.run([verify, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    ours = [line for line in ran.stderr.splitlines() if "cytotable" in line]
    assert (ran.returncode, ours) == (0, []), ran.stderr


def test_settings_of_the_services_are_settings():
    known = set(
        re.findall(
            r"[A-Z]+_[A-Z_]+",
            (ROOT / "docs" / "settings.md").read_text() + (ROOT / "docs" / "installing.md").read_text(),
        )
    )
    assert set(_settings()) - known <= {"TMPDIR"}
    # The image and the services keep things in the same places.
    image = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", _file("Dockerfile"), re.MULTILINE))))
    for name in ("CYTOTABLE_KERNEL_CACHE", "CYTOTABLE_LAKE", "CYTOTABLE_DATASET", "CYTOTABLE_CACHE", "DAGSTER_HOME"):
        assert image[name] == _settings()[name]


@pytest.mark.slow
def test_services_start_as_their_units_say(tmp_path: Path):
    port = free_port()
    places = {
        "/opt/cytotable/bin": str(Path(sys.executable).parent),
        "-p 3000": f"-p {port}",
        **{f"{root}/": f"{tmp_path}{root}/" for root in ("/opt", "/srv", "/data", "/scratch")},
    }

    def here(text: str) -> str:
        for ours, theirs in places.items():
            text = text.replace(ours, theirs)
        return text

    settings = {name: here(value) for name, value in _settings().items()}
    for name in ("DAGSTER_HOME", "TMPDIR"):
        Path(settings[name]).mkdir(parents=True)
    settings["CYTOTABLE_SOURCE"] = str(tmp_path / "{plate}.sqlite")
    settings["PATH"] = "/usr/bin:/bin"
    started = []
    try:
        for service in SERVICES:
            unit = configparser.ConfigParser(strict=False, interpolation=None)
            unit.optionxform = str  # type: ignore[assignment, method-assign]
            unit.read_string(here(_unit(service)))
            folder = Path(unit["Service"]["WorkingDirectory"])
            if before := unit["Service"].get("ExecStartPre"):
                subprocess.run(shlex.split(before), env=settings, cwd=folder, check=True, timeout=300)
            with (tmp_path / f"{service}.log").open("w") as log:
                command = shlex.split(unit["Service"]["ExecStart"])
                started.append(
                    subprocess.Popen(command, env=settings, cwd=folder, stdout=log, stderr=log, start_new_session=True)
                )
        _wait_for(f"http://127.0.0.1:{port}/server_info", started)
        _wait_until(lambda: "SensorDaemon" in (tmp_path / "daemon.log").read_text(), started)
    finally:
        for process in started:
            end_group(process)


def _wait_for(url: str, started: "list[subprocess.Popen[bytes]]") -> None:
    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(url, timeout=30):
            return True
        return False

    _wait_until(answers, started)


def _wait_until(what, started: "list[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + 300
    while not what():
        assert all(process.poll() is None for process in started), "a service ended"
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_image_copies_what_is_there_and_starts_what_is_there():
    lines = re.sub(r"\\\n", " ", _file("Dockerfile")).splitlines()[1:]
    words = [line.split(maxsplit=1) for line in lines if line]
    assert {word for word, _ in words} <= {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "CMD"}
    sources = [name for word, rest in words if word == "COPY" for name in rest.split()[:-1]]
    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []
    compose = yaml.safe_load(_file("compose.yaml"))
    programs = {service["command"][0] for service in compose["services"].values()}
    assert [name for name in programs if not Path(sys.executable).with_name(name).exists()] == []


@pytest.mark.slow
def test_the_images_steps_run(tmp_path: Path):
    """Without an engine: steps in a folder of their own, with a home for the programs."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not in this environment")
    folder, home = tmp_path / "src", tmp_path / "opt" / "cytotable"
    folder.mkdir()
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for word, _, rest in (line.partition(" ") for line in _file("Dockerfile").splitlines()[1:]):
        rest = rest.replace("/opt/cytotable", str(home))
        if word == "ENV" and "DAGSTER_HOME" not in rest:
            for name, value in re.findall(r"(\w+)=(\S+)", rest):
                environment[name] = value.replace("$PATH", environment["PATH"])
        elif word == "COPY":
            *names, _ = rest.split()
            for name in names:
                path = ROOT / name
                if path.is_dir():
                    shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(path, folder / name)
        elif word == "RUN" and "useradd" not in rest:
            ran = subprocess.run(["sh", "-c", rest], cwd=folder, env=environment, capture_output=True, text=True)
            assert ran.returncode == 0, ran.stdout + ran.stderr
    # The readers are there for whoever the container runs as, and no process compiles them.
    loads = "import sys; from cytotable_dagster.core.kernels.loading import load_all, kept_in; load_all(); print(kept_in(), 'numba' in sys.modules)"
    ran = subprocess.run(
        [home / "bin" / "python", "-c", loads], env=environment, capture_output=True, text=True, check=True
    )
    kept, compiled = ran.stdout.split()
    assert (Path(kept), compiled) == (home / "kernels", "False")
    assert {path.stat().st_mode & 0o777 for path in Path(kept).glob("*.o")} == {0o644}


class _Upstream(BaseHTTPRequestHandler):
    """In the web server's place: says which headers arrive."""

    def do_GET(self) -> None:
        body = f"{self.headers['Host']} {self.headers.get('Upgrade', '-')} {self.headers['Connection']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def _upstream() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Upstream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("openssl")), reason="nginx or openssl is not here")
def test_the_proxy_asks_for_a_password_and_passes_web_sockets_on(tmp_path: Path):
    key, certificate = tmp_path / "plates.key", tmp_path / "plates.crt"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=plates.my-lab.org"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "secret"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "plates.htpasswd").write_text(f"ann:{hashed}")
    with _upstream() as behind:
        port = free_port()
        text = _file("/etc/nginx/conf.d/cytotable.conf")
        for ours, theirs in (
            ("/etc/nginx", str(tmp_path)),
            ("127.0.0.1:3000", f"127.0.0.1:{behind}"),
            ("listen 443", f"listen 127.0.0.1:{port}"),
        ):
            assert ours in text
            text = text.replace(ours, theirs)
        (tmp_path / "site.conf").write_text(text)
        spools = "".join(
            f"{kind}_temp_path {tmp_path}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"{'user root; ' if os.geteuid() == 0 else ''}daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
            f"http {{ access_log off; {spools} include {tmp_path}/site.conf; }}\n"
        )
        command = ["nginx", "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "nginx.conf")]
        nginx = subprocess.Popen(command, start_new_session=True)
        try:
            context = ssl.create_default_context(cafile=certificate)
            context.check_hostname = False
            url = f"https://127.0.0.1:{port}/"

            def asked(**headers: str) -> tuple[int, str]:
                try:
                    with urllib.request.urlopen(
                        urllib.request.Request(url, headers=headers), context=context, timeout=30
                    ) as answer:
                        return answer.status, answer.read().decode()
                except urllib.error.HTTPError as error:
                    return error.code, ""

            _wait_until(lambda: _listens(port), [nginx])
            assert asked()[0] == 401
            wrong = base64.b64encode(b"ann:wrong").decode()
            assert asked(Authorization=f"Basic {wrong}")[0] == 401
            right = {"Authorization": f"Basic {base64.b64encode(b'ann:secret').decode()}"}
            assert asked(**right) == (200, "127.0.0.1 - close")
            assert asked(**right, Upgrade="websocket", Host="plates.my-lab.org") == (
                200,
                "plates.my-lab.org websocket upgrade",
            )
        finally:
            end_group(nginx)


def _listens(port: int) -> bool:
    import socket

    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
