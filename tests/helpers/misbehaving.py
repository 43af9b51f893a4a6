"""A server on this machine that can be made to misbehave, and archives that nobody should send."""

from __future__ import annotations

import contextlib
import http.server
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, with ranges. stop_after: bytes until it hangs up, once. said: a length that
    it says instead of the true one, None: none at all. drip: seconds before each byte. endless:
    whether it goes on sending. redirect: an address that it sends elsewhere. raw: what it answers
    instead of HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.stop_after: int | None = None
        self.ranges = True
        self.said: int | str | None = -1
        self.drip = 0.0
        self.endless = False
        self.redirect = ""
        self.raw = b""
        self.asked: list[tuple[str, str | None]] = []  # path and Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.server.raw:
            self.wfile.write(self.server.raw)
            return
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.end_headers()
            return
        data = self.server.files.get(self.path.rpartition("/")[2])
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and self.server.ranges:
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
            start = 0
        if self.server.said is not None:
            told = len(data) - start if self.server.said == -1 else self.server.said
            self.send_header("Content-Length", str(told))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the other side has enough
            while self.server.drip:
                time.sleep(self.server.drip)
                self.wfile.write(b"x")
            while self.server.endless:
                self.wfile.write(bytes(1 << 16))
        stop, self.server.stop_after = self.server.stop_after, None
        self.wfile.write(data[start:][:stop])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def tar(members: list[tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 0 if "linkname" in fields else 1
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@contextmanager
def serving() -> Iterator[Server]:
    """A server on this machine that answers until this is left."""
    server = Server()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.drip, server.endless = 0.0, False
        server.shutdown()
        server.server_close()
        thread.join()
