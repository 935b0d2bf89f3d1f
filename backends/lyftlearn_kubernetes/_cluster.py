"""Requests to one cluster's API, as plain data. What may be repeated is repeated here."""

from __future__ import annotations

import json
import threading
import time
import weakref
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes import _access
from lyftlearn_kubernetes._errors import SERVERS_FAULT, Refused, Unanswered, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx2

    from lyftlearn_kubernetes._options import Options

JOBS, PODS, CONFIG_MAPS, SERVICES, EVENTS, QUOTAS = "jobs", "pods", "configmaps", "services", "events", "resourcequotas"
PAGE = 250
PAUSES = (0.1, 0.4, 1.0)  # seconds before each repetition
MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "lyftlearn"
_LONGEST_PAUSE = 10.0


class Cluster:
    """One namespace of a cluster. Connects when it is first asked; safe to share between threads."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()

    @cached_property
    def config(self) -> Any:
        """The access in use."""
        return _access.find(self._options)

    @property
    def namespace(self) -> str:
        """Where jobs are created and looked for."""
        namespace: str = self._options.namespace or self.config.namespace
        return namespace

    @cached_property
    def _http(self) -> httpx2.Client:
        with self._lock:
            client = _access.connect(self.config)
            weakref.finalize(self, client.close)
            return client

    def create(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; repeated until there is an answer, so one that exists may be this call's own."""
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return self.ask("POST", self.path(kind), params=params, body=body)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        return self.ask("GET", self.path(kind, name))

    def patch(self, kind: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge `body` into an object."""
        return self.ask("PATCH", self.path(kind, name), params={"fieldManager": FIELD_MANAGER}, body=body)

    def list(self, kind: str, *, labels: str = "", fields: str = "", page: int = PAGE) -> Iterator[dict[str, Any]]:
        """Yield lists of objects, a page at a time."""
        params: dict[str, Any] = {"limit": page, "labelSelector": labels, "fieldSelector": fields}
        while True:
            answer = self.ask("GET", self.path(kind), params={key: value for key, value in params.items() if value})
            yield answer
            params["continue"] = answer["metadata"].get("continue")
            if not params["continue"]:
                return

    def path(self, kind: str, *names: str) -> str:
        """Return the path of a collection or an object."""
        group = "/apis/batch/v1" if kind == JOBS else "/api/v1"
        return "/".join((group, "namespaces", self.namespace, kind, *names))

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send a request that may be repeated. Raises Refused or Unanswered."""
        content = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": MERGE_PATCH if method == "PATCH" else "application/json"} if content else {}
        sent = False
        for pause in (*PAUSES, None):
            try:
                return self._ask_once(method, path, params, content, headers)
            except Unanswered as exc:
                sent = sent or exc.sent
                if pause is None:
                    raise Unanswered(str(exc), sent=sent) from exc
                time.sleep(pause)
            except Refused as exc:
                exc.doubted = sent
                if not exc.passing or pause is None:
                    raise
                sent = sent or exc.status >= SERVERS_FAULT
                time.sleep(pause)
        raise AssertionError

    def _ask_once(
        self, method: str, path: str, params: Mapping[str, Any] | None, content: bytes | None, headers: dict[str, str]
    ) -> dict[str, Any]:
        with _unanswered():
            answer = self._http.request(method, path, params=params, content=content, headers=headers)
            document = _parsed(answer)
        if not answer.is_success:
            raise refusal(answer.status_code, document, answer.text)
        if not isinstance(document, dict):
            raise Unanswered(f"the answer from {answer.url.host} is not of the Kubernetes API", sent=True)
        return document

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any], silence: float | None) -> Iterator[Stream]:
        """Give what arrives on a request that goes on. silence: seconds after which the connection counts as dead."""
        import httpx2

        timeout = httpx2.Timeout(_access.ANSWER_SECONDS, connect=_access.CONNECT_SECONDS, read=silence)
        with _unanswered(), self._http.stream("GET", path, params=dict(params), timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                raise refusal(answer.status_code, _parsed(answer), answer.text)
            yield Stream(answer)


class Stream:
    """An answer that goes on. `close` ends it from any thread."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines without their newlines. Raises Unanswered if the connection breaks."""
        with _unanswered():
            for chunk in self._answer.iter_bytes():
                *whole, self._rest = (self._rest + chunk).split(b"\n") if b"\n" in chunk else (self._rest + chunk,)
                yield from whole

    @property
    def rest(self) -> bytes:
        """What came after the last newline, once `lines` has ended."""
        return self._rest

    def close(self) -> None:
        """Wake who waits for more."""
        import socket
        from contextlib import suppress

        connection = self._answer.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _unanswered() -> Iterator[None]:
    import httpx2

    never_sent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
    try:
        yield
    except httpx2.HTTPError as exc:
        raise Unanswered(str(exc) or type(exc).__name__, sent=not isinstance(exc, never_sent)) from exc


def _parsed(answer: httpx2.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        return None
