"""What a probe and Prometheus ask a collector."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from lyftlearn._text.display import reason_of
from lyftlearn.errors import InvalidJob

if TYPE_CHECKING:
    from lyftlearn.history.collector import Collector


def open_server(collector: Collector, listen: str) -> ThreadingHTTPServer:
    """Return a server of `/healthz` and `/metrics` at `host:port`. Raises InvalidJob where it cannot listen."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(*((200, "well\n") if collector.is_healthy else (503, "the history is not reached\n")))
            elif self.path == "/metrics":
                self._answer(200, collector.metrics())
            else:
                self._answer(404, "here are /healthz and /metrics\n")

        def _answer(self, status: int, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names them
            """Say nothing: a probe comes every few seconds."""

    host, _, port = listen.rpartition(":")
    try:
        return ThreadingHTTPServer((host, int(port)), Handler)
    except (OSError, ValueError, OverflowError) as exc:
        raise InvalidJob([("listen", f"{listen!r} cannot be listened at ({reason_of(exc)}): write host:port")]) from exc
