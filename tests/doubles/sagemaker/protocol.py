"""AWS's JSON 1.1 protocol, and under the paths of Batch its REST protocol."""

from __future__ import annotations

import json
import socket
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any

from .batch import Batch, operations_by_path
from .faults import Dropped, Faults, Raw, Refused
from .operations import Operations


def handler(operations: Operations, batch: Batch, faults: Faults) -> type[BaseHTTPRequestHandler]:
    """Return the handler of one server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            operation = operations_by_path().get(self.path, operation)
            service = batch if self.path in operations_by_path() else operations
            try:
                self._answer(200, _served(service, faults, operation, body))
            except Refused as error:
                self._answer(error.status, {"__type": error.code, "message": str(error)}, error.code)
            except Raw as raw:
                self.wfile.write(raw.answer)
                self._hang_up()
            except Dropped:
                self._hang_up()

        def _hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

        def _answer(self, status: int, answer: dict[str, Any], code: str | None = None) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            if code:
                self.send_header("x-amzn-errortype", code)
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _served(operations: Operations | Batch, faults: Faults, operation: str, body: bytes) -> dict[str, Any]:
    fault = faults.next(operation)
    if fault and fault.before:
        raise fault.error
    answer = operations.serve(operation, json.loads(body or b"{}"))
    if fault:
        raise fault.error
    return answer
