"""The cluster's API, as far as a driver needs it beside Spark's own client: a few objects, and how executors fare."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import time
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

from ..faults import PLATFORM, RuntimeFailure, configuration_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SECONDS = 30.0
SILENCE_SECONDS = 300.0
"""For which a watch may say nothing."""
CONFLICT, NOT_FOUND = 409, 404
PASSING = (429, 500, 502, 503, 504)
PAUSES = (0.5, 1.0, 2.0, 4.0)


class Refused(Exception):
    """The API server answered, and not with what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """One namespace of one cluster. The token is read anew for every request: it may be renewed at any time."""

    def __init__(self, server: str, namespace: str, token: str, authority: str) -> None:
        self.server = server
        self.namespace = namespace
        self.token_path = token
        self.authority_path = authority

    @classmethod
    def of_pod(cls, environ: Mapping[str, str], namespace: str | None) -> Cluster:
        """The cluster that this pod is in, by its service account."""
        token = os.path.join(ACCOUNT, "token")
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not os.path.exists(token):
            raise configuration_failure(
                "spark: this pod has no token of a service account, by which executors are made: "
                "set [kubernetes] spark.service_account"
            )
        address = f"[{host}]" if ":" in host else host
        with open(os.path.join(ACCOUNT, "namespace"), encoding="utf-8") as file:
            own = file.read().strip()
        return cls(f"https://{address}:{port}", namespace or own, token, os.path.join(ACCOUNT, "ca.crt"))

    def own_address(self) -> str:
        """The address of this container that packets to the cluster leave from: executors find the driver there."""
        parts = urlsplit(self.server)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as probe:
                probe.connect(address)  # sends nothing
                return str(probe.getsockname()[0])
        except OSError as error:
            raise configuration_failure(f"spark: {host} cannot be reached: {error.strerror or error}") from error

    def ask(self, method: str, kind: str, name: str = "", body: object = None, **query: str) -> dict[str, Any]:
        """The answer. Raises Refused, and RuntimeFailure with reason platform where there is none.

        What gets no answer is asked for again: an object that is there by then answers with a conflict.
        """
        path = f"{kind}/{name}" if name else kind
        for pause in PAUSES:
            try:
                return self._ask(method, path, body, query)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(pause)
            except Refused as refusal:
                if refusal.status not in PASSING:
                    raise
                time.sleep(pause)
        try:
            return self._ask(method, path, body, query)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RuntimeFailure(PLATFORM, f"spark: {self.server} gives no answer: {error}") from error

    def _ask(self, method: str, path: str, body: object, query: Mapping[str, str]) -> dict[str, Any]:
        with self._send(method, path, query, SECONDS, body) as answer:
            document: dict[str, Any] = json.loads(answer.read() or b"{}")
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise Refused(answer.status, str(document.get("message") or answer.reason))
        return document

    def changes(self, kind: str, selector: str) -> Iterator[dict[str, Any]]:
        """Every object with these labels as it is now, and then whenever it changes, until the connection ends."""
        listed = self.ask("GET", kind, labelSelector=selector)
        yield from listed.get("items", ())
        version = listed.get("metadata", {}).get("resourceVersion", "")
        query = {"labelSelector": selector, "watch": "true", "resourceVersion": version}
        with self._send("GET", kind, query, SILENCE_SECONDS) as answer:
            if answer.status != http.client.OK:
                return
            for line in answer:
                change = json.loads(line)
                if change.get("type") == "ERROR":
                    return
                yield change["object"]

    @contextmanager
    def _send(
        self, method: str, path: str, query: Mapping[str, str], seconds: float, body: object = None
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.server)
        path = f"{parts.path.rstrip('/')}/api/v1/namespaces/{self.namespace}/{path}"
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port, seconds)
        with open(self.token_path, encoding="utf-8") as file:
            headers = {
                "Authorization": f"Bearer {file.read().strip()}",
                "Accept": "application/json",
                "Connection": "close",
            }
        if body is not None:
            headers["Content-Type"] = "application/json"
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None, seconds: float) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        context = ssl.create_default_context(cafile=self.authority_path)
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
