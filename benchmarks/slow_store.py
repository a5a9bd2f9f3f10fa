"""A folder as a bucket of S3 on loopback, to read from, whose answers take their time: so many seconds each, and no
more than so many bytes a second together. An answer costs it a third of a millisecond of a core, so that what is
measured is the client.

python -m benchmarks.slow_store FOLDER SECONDS BYTES_A_SECOND
"""

import asyncio
import hashlib
import sys
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_DATE = "Mon, 01 Jan 2024 00:00:00 GMT"
_BLOCK = 256 << 10
_PAGE = 1000


class Store:
    """Answers requests for `folder`, as bucket; `latency` in seconds, `rate` in bytes a second or 0 for no limit."""

    def __init__(self, folder: Path, latency: float, rate: float) -> None:
        self._folder, self._latency, self._rate = folder, latency, rate
        self._keys = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        self._free = 0.0
        self._now = self._most = self._asked = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it is closed."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                method, path, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                self._now += 1
                self._asked += 1
                self._most = max(self._most, self._now)
                await asyncio.sleep(self._latency)
                self._now -= 1
                await self._answer(writer, method, path, headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, method: str, path: str, headers: dict[str, str]) -> None:
        url = urlsplit(path)
        query = parse_qs(url.query, keep_blank_values=True)
        _, _, key = unquote(url.path).lstrip("/").partition("/")
        if path == "/asked":
            _send(writer, 200, f"{self._asked} {self._most}".encode())
            self._asked = self._most = 0
        elif not key and method == "GET":
            _send(writer, 200, self._listed(query))
        elif not (self._folder / key).is_file():
            _send(writer, 404, b"")
        else:
            await self._object(writer, method, self._folder / key, headers)
        await writer.drain()

    async def _object(self, writer: asyncio.StreamWriter, method: str, file: Path, headers: dict[str, str]) -> None:
        size = file.stat().st_size
        begin, end, status, more = 0, size, 200, {}
        if wanted := headers.get("range"):
            low, _, high = wanted.removeprefix("bytes=").partition("-")
            begin, end, status = int(low), int(high) + 1 if high else size, 206
            more = {"Content-Range": f"bytes {begin}-{end - 1}/{size}"}
        etag = _etag(file)
        if headers.get("if-match", etag) != etag:
            _send(writer, 412, b"")
            return
        _send(writer, status, b"", {"ETag": etag, "Last-Modified": _DATE, **more}, length=end - begin)
        if method == "HEAD":
            return
        with file.open("rb") as content:
            content.seek(begin)
            while begin < end:
                block = content.read(min(_BLOCK, end - begin))
                begin += len(block)
                await self._paced(len(block))
                writer.write(block)
                await writer.drain()

    async def _paced(self, count: int) -> None:
        if not self._rate:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now) + count / self._rate
        await asyncio.sleep(self._free - now)

    def _listed(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        # Where to go on is said by another name in the first version of listings.
        after = (query.get("continuation-token") or query.get("marker") or [""])[0]
        keys = [key for key in self._keys if key.startswith(prefix) and key > after]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2024-01-01T00:00:00Z</LastModified>"
            f"<ETag>{escape(_etag(self._folder / key))}</ETag>"
            f"<Size>{(self._folder / key).stat().st_size}</Size></Contents>"
            for key in keys[:_PAGE]
        )
        token = f"<NextContinuationToken>{escape(keys[_PAGE - 1])}</NextContinuationToken>" if len(keys) > _PAGE else ""
        cut = str(len(keys) > _PAGE).lower()
        return f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{entries}{token}</ListBucketResult>".encode()


@cache
def _etag(file: Path) -> str:
    with file.open("rb") as content:
        return f'"{hashlib.file_digest(content, "md5").hexdigest()}"'


def _send(
    writer: asyncio.StreamWriter,
    status: int,
    content: bytes,
    headers: dict[str, str] | None = None,
    *,
    length: int | None = None,
) -> None:
    said = {"Content-Length": len(content) if length is None else length, "Date": _DATE, **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    writer.write(f"HTTP/1.1 {status} OK\r\n{lines}\r\n".encode() + content)


async def _run(folder: Path, latency: float, rate: float) -> None:
    store = Store(folder, latency, rate)
    for file in folder.rglob("*"):
        if file.is_file():
            _etag(file)
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]).absolute(), float(sys.argv[2]), float(sys.argv[3])))
