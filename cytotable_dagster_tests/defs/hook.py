"""A webhook on loopback that keeps what it is told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hook:
    """`texts` are those that were taken; `status` the answers to the next requests, 200 where it is empty; `elsewhere`
    is where redirects lead; `asked` counts requests."""

    url: str = ""
    status: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    elsewhere: str = ""
    asked: int = 0


@contextmanager
def webhook() -> Iterator[Hook]:
    taken = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.asked += 1
            status = taken.status.pop(0) if taken.status else 200
            if status == 200:
                taken.texts.append(body["text"])
            self.send_response(status)
            if taken.elsewhere:
                self.send_header("Location", taken.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            # Where a client goes that turns a redirected POST into a GET.
            taken.asked += 1
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    taken.url = f"http://127.0.0.1:{server.server_port}/secret"
    yield taken
    server.shutdown()
    server.server_close()
