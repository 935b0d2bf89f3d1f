"""Requests to one namespace of a cluster, as plain data. What may be repeated is repeated here."""

from __future__ import annotations

import json
import threading
import time
import weakref
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lyftlearn_kubernetes.api.errors import SERVERS_FAULT, ApiError, NoResponse, api_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lyftlearn_kubernetes.api.access import Access
    from lyftlearn_kubernetes.api.transport import Stream, Transport
    from lyftlearn_kubernetes.options import Options

JOBS, PODS, CONFIG_MAPS, SERVICES, EVENTS, QUOTAS = "jobs", "pods", "configmaps", "services", "events", "resourcequotas"
PAGE = 250
PAUSES = (0.1, 0.4, 1.0)  # seconds before each repetition
JSON = "application/json"
METADATA_ONLY = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "lyftlearn"
_STRICTLY = f"fieldManager={FIELD_MANAGER}&fieldValidation=Strict"
_SUCCESS = range(200, 300)
_write = json.JSONEncoder(separators=(",", ":")).encode


class Cluster:
    """Connects when it is first asked; safe to share between threads."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._open: Transport | None = None

    @cached_property
    def access(self) -> Access:
        """The access in use."""
        from lyftlearn_kubernetes.api import access  # noqa: PLC0415 - planning asks nobody

        return access.find(self._options)

    @property
    def namespace(self) -> str:
        """Where jobs are created and looked for."""
        return self._options.namespace or self.access.namespace

    def create(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object and return its metadata at least: a server need not send back what it was just sent.

        Repeated until there is an answer, so one that exists may be this call's own.
        """
        return self.ask("POST", f"{self.path(kind)}?{_STRICTLY}", body=body, accept=METADATA_ONLY)

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
            try:
                answer = self.ask("GET", self.path(kind), params={key: value for key, value in params.items() if value})
            except ApiError as exc:
                if not exc.resume:
                    raise
                params["continue"] = exc.resume
                continue
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
        accept: str = JSON,
    ) -> dict[str, Any]:
        """Send a request that may be repeated. Raises ApiError or NoResponse."""
        content = _write(body).encode() if body is not None else None
        headers = {"Accept": accept}
        if content is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else JSON
        sent = False
        for pause in (*PAUSES, None):
            try:
                return self._ask_once(method, path, params=params or {}, content=content, headers=headers)
            except NoResponse as exc:
                sent = sent or exc.sent
                if pause is None:
                    raise NoResponse(str(exc), sent=sent) from exc
            except ApiError as exc:
                exc.maybe_applied = sent
                if not exc.retryable or pause is None:
                    raise
                sent = sent or exc.status >= SERVERS_FAULT
            time.sleep(pause)
        raise AssertionError

    def _ask_once(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        status, data = self._transport().send(method, path, **request)
        document = _parse(data)
        if status not in _SUCCESS:
            raise api_error(status, document, data.decode(errors="replace"))
        if not isinstance(document, dict):
            raise NoResponse("the answer is not of the Kubernetes API", sent=True)
        return document

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any], silence: float) -> Iterator[Stream]:
        """Give what arrives on a request that goes on. Raises ApiError or NoResponse."""
        with self._transport().stream(path, params, silence) as answer:
            if answer.status not in _SUCCESS:
                data = answer.read()
                raise api_error(answer.status, _parse(data), data.decode(errors="replace"))
            yield answer

    def _transport(self) -> Transport:
        with self._lock:
            if self._open is None:
                from lyftlearn_kubernetes.api.transport import Transport  # noqa: PLC0415 - planning asks nobody

                self._open = Transport(self.access)
                weakref.finalize(self, self._open.close)
            return self._open


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
