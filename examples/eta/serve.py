"""Answer with the minutes that flights will spend in the air, one request after the other.

`POST /invocations` takes flights as JSON, each with what `flights.features` made of it: `{"flights": [{"dest": "BOS",
"month": 38.5, ...}]}`. The answer is `{"minutes": [37.9]}`. A flight whose route nobody flew has no `month`, and null.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import flights
import joblib
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor


def predict(model: HistGradientBoostingRegressor, asked: list[dict[str, Any]]) -> list[float | None]:
    """Return the minutes of each flight."""
    kinds = {name: "category" if name in ("dest", "carrier") else "float" for name in flights.FEATURES}
    known = pd.DataFrame(asked, columns=flights.FEATURES).astype(kinds)
    minutes = known["month"] + model.predict(known)
    return [None if pd.isna(value) else round(float(value), 4) for value in minutes]


class Handler(BaseHTTPRequestHandler):
    """Keeps connections: whoever asks often does not pay for a new one each time."""

    protocol_version = "HTTP/1.1"
    model: HistGradientBoostingRegressor

    def do_GET(self) -> None:
        """Say whether the model is there, which it is since before the port was open."""
        self._answer(200 if self.path == "/ping" else 404, {})

    def do_POST(self) -> None:
        """Predict."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/invocations":
            self._answer(404, {"error": "POST to /invocations"})
            return
        try:
            self._answer(200, {"minutes": predict(self.model, json.loads(body)["flights"])})
        except (ValueError, TypeError, LookupError) as error:
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Load the model, and then listen where the platform says."""
    Handler.model = joblib.load(Path(os.environ["LYFTLEARN_MODEL_DIR"]) / "model.joblib")
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()


if __name__ == "__main__":
    main()
