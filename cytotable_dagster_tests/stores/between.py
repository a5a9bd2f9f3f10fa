"""A server between a client and a store: it counts requests by operation, refuses or holds those it is told, and
alters answers."""

import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit

from cytotable_dagster.core.storage.gs import PARTS

_HOP = ("connection", "transfer-encoding", "content-length")
_KINDS = ("partNumber", "uploadId", "uploads", "list-type", "comp")


def operation(method: str, path: str) -> str:
    """What a request is, by the name that S3 has for it, as far as the tests care; of all three stores."""
    url = urlsplit(path)
    query = parse_qs(url.query, keep_blank_values=True)
    if "/storage/v1/b/" in url.path:
        return _of_google(method, url.path, query)
    kind = next((name for name in _KINDS if name in query), "")
    return {
        ("PUT", "partNumber"): "UploadPart",
        ("POST", "uploads"): "CreateMultipartUpload",
        ("POST", "uploadId"): "CompleteMultipartUpload",
        ("DELETE", "uploadId"): "AbortMultipartUpload",
        ("GET", "uploads"): "ListMultipartUploads",
        ("GET", "uploadId"): "ListParts",
        ("GET", "list-type"): "ListObjects",
        ("PUT", "block"): "UploadPart",
        ("PUT", "blocklist"): "CompleteMultipartUpload",
        ("GET", "blocklist"): "ListParts",
        ("GET", "list"): "ListObjects",
        ("PUT", "copy"): "AbortCopy",
        ("PUT", ""): "PutObject",
        ("GET", ""): "GetObject",
        ("HEAD", ""): "HeadObject",
        ("DELETE", ""): "DeleteObject",
    }.get((method, query["comp"][0] if kind == "comp" else kind), method)


def _of_google(method: str, path: str, query: dict[str, list[str]]) -> str:
    is_part = PARTS in unquote(path) + query.get("name", query.get("prefix", [""]))[0]
    if path.startswith("/upload/"):
        return "UploadPart" if is_part else "PutObject"
    if path.endswith("/compose"):
        return "ComposeParts" if is_part else "CompleteMultipartUpload"
    if path.endswith("/o"):
        return "ListParts" if is_part else "ListObjects"
    return {"GET": "GetObject" if "alt" in query else "HeadObject", "DELETE": "DeleteObject"}.get(method, method)


def refusal(code: str, path: str) -> tuple[dict[str, str], bytes]:
    """Headers and content of an answer that refuses, as the store has them that a path is of."""
    if "/storage/v1/b/" in path:
        error = {"message": "refused by the test", "errors": [{"reason": code}]}
        return {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()
    said = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>refused by the test</Message></Error>"
    return {"X-Ms-Error-Code": code.split()[0], "Content-Type": "application/xml"}, said.encode()


@dataclass
class Answer:
    """What is sent: `content` with its length, or with that which `headers` say. After `cut` bytes of it the connection
    is reset (`then` is `reset`), nothing more comes (`stall`), or a byte a second (`drip`)."""

    number: int
    path: str
    status: int
    headers: dict[str, str]
    content: bytes
    cut: int | None = None
    then: str = "reset"


@dataclass
class Between:
    """What was asked, by operation.

    `refused` maps an operation to the status and code that answer it, from request `refused_from[operation]` on; from
    request `held[operation]` on, requests wait until the test ends, and `holding` says that one does; `altered` maps
    an operation to what changes its answers, `pace` to the seconds that 64 KiB of what is sent to it take. Requests are
    counted from 0. A `heedless` store takes no notice of If-Match and of continuation tokens, an `unconditional` one
    knows no conditions on what is put. `ahead` is by how many seconds the store's clock seems to be,
    `last` when it last sent something, as `time.monotonic` has it.
    """

    endpoint_url: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    keys: list[tuple[str, str]] = field(default_factory=list)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    refused_from: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    altered: dict[str, Callable[[Answer], None]] = field(default_factory=dict)
    pace: dict[str, float] = field(default_factory=dict)
    heedless: bool = False
    ahead: float = 0
    unconditional: bool = False
    last: float = field(default_factory=time.monotonic)
    holding: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def clear(self) -> None:
        for record in (self.seen, self.keys, self.refused, self.refused_from, self.held, self.altered, self.pace):
            record.clear()
        self.heedless = False
        self.unconditional = False
        self.holding.clear()


@contextmanager
def between(endpoint_url: str) -> Iterator[Between]:
    """A server on loopback that passes everything on to another."""
    state = Between()
    target = urlsplit(endpoint_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            name = operation(self.command, self.path)
            body = self._body(int(self.headers.get("Content-Length", 0)), state.pace.get(name, 0))
            with state.lock:
                number = state.seen[name]
                state.seen[name] += 1
                state.keys.append((name, urlsplit(self.path).path))
            if name in state.refused and number >= state.refused_from.get(name, 0):
                status, code = state.refused[name]
                self._answer(status, *refusal(code, self.path))
                return
            if (
                state.unconditional
                and self.command in ("PUT", "POST")
                and {"If-Match", "If-None-Match"} & {*self.headers}
            ):
                self._answer(501, *refusal("NotImplemented", self.path))
                return
            if number >= state.held.get(name, number + 1):
                state.holding.set()
                state.over.wait(120)
                self.close_connection = True
                return
            connection = HTTPConnection(target, timeout=60)
            try:
                ignored = {"if-match"} if state.heedless else set()
                headers = {key: value for key, value in self.headers.items() if key.lower() not in ignored}
                path = re.sub("continuation-token=[^&]*&?", "", self.path) if state.heedless else self.path
                connection.request(self.command, path, body, headers)
                answer = connection.getresponse()
                sent = Answer(
                    number,
                    self.path,
                    answer.status,
                    {key.title(): value for key, value in answer.getheaders()},
                    answer.read(),
                )
                if name in state.altered:
                    state.altered[name](sent)
                self._send(sent)
            finally:
                connection.close()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do

        def _body(self, length: int, pause: float) -> bytes:
            if not pause:
                return self.rfile.read(length)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            blocks = [b""]
            while length and (blocks[-1] or len(blocks) == 1):
                blocks.append(self.rfile.read(min(1 << 16, length)))
                length -= len(blocks[-1])
                time.sleep(pause)
            return b"".join(blocks)

        def _send(self, answer: Answer) -> None:
            if answer.cut is None:
                self._answer(answer.status, answer.headers, answer.content)
                return
            self._answer(answer.status, answer.headers, answer.content, answer.cut)
            self.wfile.flush()
            self.close_connection = True
            if answer.then == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for byte in answer.content[answer.cut :] if answer.then == "drip" else b"":
                if state.over.wait(1):
                    return
                self.wfile.write(bytes([byte]))
                state.last = time.monotonic()
            if answer.then == "stall":
                state.over.wait(300)

        def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: int | None = None) -> None:
            length = headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
            self.send_response_only(status)
            for header, value in headers.items():
                if header.lower() == "date":
                    self.send_header(header, formatdate(time.time() + state.ahead, usegmt=True))
                elif header.lower() not in _HOP:
                    self.send_header(header, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:cut])
            state.last = time.monotonic()

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Nothing: clients go away, as they may."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    state.endpoint_url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
