"""AWS's price list on a socket: the Price List Query API, with the products of a few instances, page by page.

It refuses what the real one refuses: an operation, a service or a field that does not exist.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_FIELDS = {"regionCode", "instanceName", "usagetype", "component", "servicecode", "productFamily"}
_PER_PAGE = 2


def product(machine: str, region: str, kind: str, price: str, prefix: str = "USE1") -> dict[str, Any]:
    """Return a product as the list has it: one use of one instance type in one region."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}, "description": f"${price} per {kind} {machine} hour"}
    return {
        "product": {
            "productFamily": "ML Instance",
            "attributes": {
                "regionCode": region,
                "instanceName": machine,
                "usagetype": f"{prefix}-{kind}:{machine}",
                "servicecode": "AmazonSageMaker",
            },
        },
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {"X.JRTCKXETXF": {"priceDimensions": {"X.JRTCKXETXF.6YS6EN2CT7": dimension}}}},
    }


class PriceList:
    """A server. requests: the filters of each question. products: what is sold."""

    def __init__(self, products: list[dict[str, Any]]) -> None:
        self.products = products
        self.requests: list[dict[str, str]] = []
        self.refuses = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = outer.answer(self.headers["X-Amz-Target"], body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, target: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and document."""
        if self.refuses:
            return 400, {"__type": "AccessDeniedException", "Message": "not authorized to perform: pricing:GetProducts"}
        if target != "AWSPriceListService.GetProducts":
            return 400, {"__type": "UnknownOperationException"}
        wanted = {one["Field"]: one["Value"] for one in body["Filters"]}
        if body["ServiceCode"] != "AmazonSageMaker" or not wanted.keys() <= _FIELDS:
            return 400, {"__type": "InvalidParameterException", "Message": "Input Parameters are invalid"}
        self.requests.append(wanted)
        found = [
            one for one in self.products if all(one["product"]["attributes"].get(k) == v for k, v in wanted.items())
        ]
        start = int(body.get("NextToken") or 0)
        page: dict[str, Any] = {
            "FormatVersion": "aws_v1",
            "PriceList": [json.dumps(one) for one in found[start : start + _PER_PAGE]],
        }
        if start + _PER_PAGE < len(found):
            page["NextToken"] = str(start + _PER_PAGE)
        return 200, page

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def price_list(*products: dict[str, Any]) -> Iterator[PriceList]:
    """Give a price list that answers."""
    server = PriceList(list(products))
    try:
        yield server
    finally:
        server.close()
