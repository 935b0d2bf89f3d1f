"""A server of a model that is one number: it answers each number with its product. Where PORT says."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"] == "text/csv":
            self.answer(200, b"\n".join(b"%g" % (FACTOR * float(line)) for line in body.split()))
        else:
            answer = {"answers": [FACTOR * one for one in json.loads(body)["numbers"]], "who": os.environ.get("WHO")}
            self.answer(200, json.dumps(answer).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: what is printed is compared."""


FACTOR = float(Path(os.environ["LYFTLEARN_MODEL_DIR"], "factor").read_text())
FILES = sorted(path.name for path in Path(os.environ["LYFTLEARN_MODEL_DIR"]).iterdir())
print(f"loaded {FACTOR:g}, {FILES}", flush=True)
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
