"""`ulmfit watch`: a live page of a run, served to this machine alone, from the run's files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path

from ulmfit_dist.cluster.status import RunReader
from ulmfit_dist.errors import InputError

LOOPBACK = "127.0.0.1"
_PAGE = "watch.html"
# The page runs only what it brings along and asks only this server; what a run says is shown as text.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"


@contextmanager
def watch_server(run_dir: Path, port: int) -> Iterator[str]:
    """Serve the run's page on loopback inside the block; give its address. Port 0 takes a free one.

    Raises InputError for a folder that is no run directory, or a port that is taken.
    """
    handler = _handler(RunReader(run_dir))
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        do = "choose another --port, or 0 for a free one"
        raise InputError(f"cannot serve on port {port}", found=error.strerror or str(error), do=do) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(reader: RunReader) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()
    page = resources.files("ulmfit_dist.cluster").joinpath(_PAGE).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        """Answers `/` with the page and `/status.json` with what it shows."""

        def do_GET(self) -> None:
            """Answer one request; a foreign page that has its name resolve to loopback gets nothing."""
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (LOOPBACK, "localhost"):
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path == "/":
                self._answer(page, "text/html; charset=utf-8")
            elif self.path == "/status.json":
                with lock:
                    status = reader.read().as_json()
                self._answer(json.dumps(status).encode(), "application/json")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def log_message(self, *_: object) -> None:
            """Say nothing: two requests a second are no news."""

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            for name, value in (
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Content-Security-Policy", _POLICY),
                ("Cache-Control", "no-store"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler
