"""The process of a Google Cloud Storage: `python gcs_process.py PARENT_PID`; gcp-storage-emulator, and what it lacks.

Added here, as https://cloud.google.com/storage/docs/json_api/v1/objects describes them: conditions on what is made and
read (`ifGenerationMatch`), pages of listings (`maxResults`, `pageToken`, `startOffset`), the generation of content that is
sent; that 32 parts at most are composed, and have no MD5 then. And of the XML API, which Lance speaks, what is asked for
about an object and a listing: https://cloud.google.com/storage/docs/xml-api/reference-methods. One request at a time, so
that conditions hold.

Prints one line of JSON, `{"port": number}`; ends when its standard input closes or its parent is another process.
"""

import hashlib
import io
import json
import logging
import os
import re
import select
import signal
import sys
import time
from base64 import b64encode
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from http.server import ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.server import RequestHandler, Router
from gcp_storage_emulator.storage import Storage

_MOST_PARTS = 32
_ONE_AT_A_TIME = Lock()


class Handler(RequestHandler):  # type: ignore[misc]
    protocol_version = "HTTP/1.1"
    rfile: Any

    def do(self) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, rest = url.path.partition("/b/")[2].partition("/")
        self.bucket = unquote(bucket)
        kind, _, name = rest.partition("/")
        self.name = unquote(self.query.get("name") or name.removesuffix("/compose").partition("/rewriteTo/")[0])
        self.generation = ""
        stream = self.rfile
        body = stream.read(int(self.headers.get("Content-Length", 0)))
        self.rfile = io.BytesIO(body)
        with _ONE_AT_A_TIME:
            if url.path.partition("/storage/")[1] == "":
                self._xml(*url.path[1:].partition("/")[::2], body)
            elif not self._holds():
                self._refuse(412, "conditionNotMet")
            elif url.path.endswith("/compose") and len(json.loads(body)["sourceObjects"]) > _MOST_PARTS:
                self._refuse(400, "invalid")
            elif self.command == "GET" and kind == "o" and not name and self.bucket in self.storage.buckets:
                self._list()
            else:
                if self.query.get("alt") == "media":
                    self.generation = self._there()
                Router(self).handle(self.command)
            if url.path.endswith("/compose") and self._there():
                self.storage.get_file_obj(self.bucket, self.name)["md5Hash"] = None
        self.rfile = stream

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do

    def _xml(self, bucket: str, name: str, body: bytes) -> None:
        self.bucket, self.name = bucket, unquote(name)
        wanted = self.headers.get("x-goog-if-generation-match")
        if not name and self.command == "GET":
            found, folders = self.storage.get_file_list(
                bucket, self.query.get("prefix", ""), self.query.get("delimiter")
            )
            entries = [
                f"<Contents><Key>{escape(o['name'])}</Key><Size>{o['size']}</Size><ETag>{o['generation']}</ETag>"
                f"<LastModified>{o['updated']}</LastModified></Contents>"
                for o in found
            ]
            entries += [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders]
            self._send(200, f"<ListBucketResult>{''.join(entries)}</ListBucketResult>".encode())
        elif self.command == "PUT" and wanted in (None, self._there() or "0"):
            facts = {"name": self.name, "size": str(len(body)), "generation": str(time.time_ns())}
            md5 = b64encode(hashlib.md5(body).digest()).decode()
            now = datetime.now(UTC).isoformat()
            self.storage.create_file(
                bucket, self.name, body, {**facts, "md5Hash": md5, "updated": now, "bucket": bucket}
            )
            self._send(200)
        elif self.command == "PUT":
            self._send(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        elif not self._there():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif self.command == "DELETE":
            self.storage.delete_file(bucket, self.name)
            self._send(204)
        else:
            content = self.storage.get_file(bucket, self.name)
            self._send_range(content, re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")))

    def _send_range(self, content: bytes, asked: "re.Match[str] | None") -> None:
        if asked is None:
            self._send(200, content)
            return
        first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
        end = min(int(asked[2]) + 1, len(content)) if asked[1] and asked[2] else len(content)
        self._send(206, content[first:end], {"Content-Range": f"bytes {first}-{end - 1}/{len(content)}"})

    def _send(self, status: int, content: bytes = b"", headers: "dict[str, str] | None" = None) -> None:
        self.send_response(status)
        said = {"ETag": f'"{self._there()}"', "Last-Modified": formatdate(usegmt=True), **(headers or {})}
        for header, value in {**said, "Content-Length": str(len(content))}.items():
            self.send_header(header, value)
        super().end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_header(self, keyword: str, value: str) -> None:
        super().send_header(keyword, value.removesuffix(",md5=None"))

    def end_headers(self) -> None:
        if self.generation:
            self.send_header("X-Goog-Generation", self.generation)
        super().end_headers()

    def _there(self) -> str:
        try:
            return str(self.storage.get_file_obj(self.bucket, self.name)["generation"])
        except NotFound:
            return ""

    def _holds(self) -> bool:
        wanted = self.query.get("ifGenerationMatch")
        if wanted is None or (self.command == "GET" and not self._there()):
            return True
        return (self._there() or "0") == wanted

    def _list(self) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
        items, folders = self.storage.get_file_list(self.bucket, prefix, delimiter)
        found: list[tuple[str, Any]] = [*((item["name"], item) for item in items), *((name, None) for name in folders)]
        start = self.query.get("pageToken") or self.query.get("startOffset", "")
        left = sorted((pair for pair in found if pair[0] >= start), key=lambda pair: pair[0])
        most = int(self.query.get("maxResults", 1000))
        page, more = left[:most], left[most : most + 1]
        answer: dict[str, Any] = {"kind": "storage#objects", "items": [item for _, item in page if item]}
        answer["prefixes"] = [name for name, item in page if not item]
        self._answer(200, answer | ({"nextPageToken": more[0][0]} if more else {}))

    def _refuse(self, status: int, reason: str) -> None:
        self._answer(status, {"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}})

    def _answer(self, status: int, said: Any) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        super().end_headers()
        self.wfile.write(content)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    parent = int(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, Storage(use_memory_fs=True)))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    while os.getppid() == parent:
        ready, _, _ = select.select([sys.stdin], [], [], 1.0)
        if ready and not sys.stdin.read(1):
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
