"""OpenCost's allocation API on a socket, as its documentation and its source have it.

https://opencost.io/docs/integrations/api: a window is required and a pair of RFC 3339 moments; allocations are added up
by the value of a label, which stands as Prometheus writes it. `old` is how the versions before filters answered: they
name a group `<label>=<value>`, and tell of every group. What runs only in part within the window costs in part.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_FILTER = re.compile(r'label\[(\w+)\]:"([^"]*)"')


@dataclass(frozen=True)
class Pod:
    """A pod that ran, and what it cost altogether."""

    labels: dict[str, str]
    start: datetime
    end: datetime
    cost: float

    def cost_within(self, start: datetime, end: datetime) -> float:
        """Return the part of its cost that falls into a window."""
        within = min(self.end, end) - max(self.start, start)
        return max(0.0, within / (self.end - self.start)) * self.cost


@dataclass
class OpenCost:
    """What is known, and how it is told. body: an answer in place of the right one. drip: seconds between its bytes."""

    pods: list[Pod] = field(default_factory=list)
    old: bool = False
    status: int = 200
    body: bytes | None = None
    drip: float = 0.0
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return status and body."""
        self.requests.append(path)
        if self.body is not None or self.status != 200:
            return self.status, self.body or b"broken"
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path != "/allocation/compute":
            return 404, b"404 page not found"
        try:
            start, end = (datetime.fromisoformat(text) for text in query["window"].split(","))
        except (KeyError, ValueError) as exc:
            return 400, f"Invalid 'window' parameter: {exc}".encode()
        label = query["aggregate"].removeprefix("label:")
        wanted = None if self.old or "filter" not in query else _FILTER.fullmatch(query["filter"])
        return 200, json.dumps({"code": 200, "data": [self._set(label, wanted, start, end)]}).encode()

    def _set(self, label: str, wanted: re.Match[str] | None, start: datetime, end: datetime) -> dict[str, Any]:
        """Return the allocations of one window by name."""
        found: dict[str, Any] = {}
        for pod in self.pods:
            labels = {re.sub(r"\W", "_", name): value for name, value in pod.labels.items()}
            if pod.start >= end or pod.end <= start or (wanted and labels.get(wanted[1]) != wanted[2]):
                continue
            value = labels.get(label, "__unallocated__")
            name = f"{label}={value}" if self.old and label in labels else value
            one = found.setdefault(name, {"name": name, "totalCost": 0.0})
            one["totalCost"] += pod.cost_within(start, end)
        return found


@contextmanager
def serving_opencost() -> Iterator[OpenCost]:
    """Give an OpenCost that answers."""
    known = OpenCost()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = known.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # who asked may have given up
                for byte in body if known.drip else ():
                    time.sleep(known.drip)
                    self.wfile.write(bytes([byte]))
                self.wfile.write(b"" if known.drip else body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()
