"""Requests to one namespace of a cluster, as plain data. What may be repeated is repeated here."""

from __future__ import annotations

import json
import time
import weakref
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Backoff, recording, timed_request
from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.errors import (
    BUSY,
    CONFLICT,
    FORBIDDEN,
    GONE,
    UNAUTHORIZED,
    ApiError,
    NoResponse,
    error_of_answer,
)
from lyftlearn_kubernetes.api.process_lock import ProcessLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lyftlearn_kubernetes.api.access import Access
    from lyftlearn_kubernetes.api.transport import Stream, Transport
    from lyftlearn_kubernetes.options import Options

JOBS, PODS, CONFIG_MAPS, SERVICES, EVENTS, QUOTAS = "jobs", "pods", "configmaps", "services", "events", "resourcequotas"
SECRETS, CLAIMS, SERVICE_ACCOUNTS = "secrets", "persistentvolumeclaims", "serviceaccounts"
NETWORK_POLICIES, INGRESSES = "networkpolicies", "ingresses"
WORKLOADS = "workloads"  # Kueue's
GROUPS = {
    JOBS: "/apis/batch/v1",
    NETWORK_POLICIES: "/apis/networking.k8s.io/v1",
    INGRESSES: "/apis/networking.k8s.io/v1",
    WORKLOADS: "/apis/kueue.x-k8s.io/v1beta2",
}
PAGE = 100  # a page of large Jobs is megabytes, and several times as many when it is read
BACKOFF = Backoff(0.1, 5.0)
RETRY_SECONDS = 2.0
"""How long a request is repeated that gets no answer. Who follows jobs, and who submits them, asks again for longer."""
LEAST_TRIES, LEAST_TRIES_SECONDS = 4, 20.0
"""A request has some tries on a busy machine, too, but a silent server is not asked for half a minute each time."""
BUSY_SECONDS = 30.0
DENIED_SECONDS = 15.0
"""How long a refusal is doubted of what was granted before, or after a silence: a server that starts says so, too."""
SILENCE = 90.0
"""Seconds without a byte after which a watch counts as dead: an API server sends a bookmark each minute."""
VERSION = "/version"
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
        self._lock = ProcessLock()
        self._open: Transport | None = None
        self._granted: set[tuple[str, str]] = set()
        self._server_date = ("", 0.0)

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
        group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        path = f"{group}/namespaces/{self.namespace}/{kind}"
        answer = self.ask("POST", f"{path}?{_STRICTLY}", body=body, accept=METADATA_ONLY)
        return _about(body["metadata"]["name"], answer)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        return _about(name, self.ask("GET", self.path(kind, name)))

    def patch(self, kind: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge `body` into an object."""
        answer = self.ask("PATCH", self.path(kind, name), params={"fieldManager": FIELD_MANAGER}, body=body)
        return _about(name, answer)

    def list(self, kind: str, *, labels: str = "", fields: str = "", page: int = PAGE) -> Iterator[dict[str, Any]]:
        """Yield objects. A page of them is forgotten before the next one is asked for."""
        params: dict[str, Any] = {"limit": page, "labelSelector": labels, "fieldSelector": fields}
        given: set[str] = set()
        while True:
            try:
                items, following = self._page(kind, params)
            except ApiError as exc:
                params = _after_expiry(exc, params)
                continue
            yield from (item for item in items if not given or item["metadata"]["name"] not in given)
            if not following:
                return
            given.update(item["metadata"]["name"] for item in items)
            params["continue"] = following
            del items

    def _page(self, kind: str, params: Mapping[str, Any]) -> tuple[Sequence[dict[str, Any]], str]:
        """Return a page of a list, and what continues it."""
        answer = self.ask("GET", self.path(kind), params={key: value for key, value in params.items() if value})
        if "items" not in answer:
            raise NoResponse(f"the answer is no list of {kind}", sent=False)
        return answer["items"] or (), (answer.get("metadata") or {}).get("continue") or ""

    def served_apis(self) -> frozenset[str]:
        """Return the group and version of every API beyond the core, such as "batch/v1"."""
        groups = self.ask("GET", "/apis").get("groups") or ()
        return frozenset(version["groupVersion"] for group in groups for version in group["versions"])

    def path(self, kind: str, *names: str) -> str:
        """Return the path of a collection or an object."""
        return "/".join((GROUPS.get(kind, "/api/v1"), "namespaces", self.namespace, kind, *names))

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = JSON,
    ) -> dict[str, Any]:
        """Send a request that may be repeated. Raises ApiError or NoResponse.

        Once a try had no answer, whatever is raised says that the request may have been carried out.
        """
        content = _write(body).encode() if body is not None else None
        headers = {"Accept": accept}
        if content is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else JSON
        began, sent, tries, pauses = time.monotonic(), False, 0, iter(BACKOFF)
        while True:
            try:
                document = self._ask_once(method, path, params=params or {}, content=content, headers=headers)
            except (ApiError, NoResponse, LyftLearnError) as exc:
                error = self._with_doubt(exc, sent=sent)
            else:
                self._granted.add(_purpose(method, path))
                return document
            sent, tries = sent or _leaves_doubt(error), tries + 1
            wait = max(next(pauses), getattr(error, "retry_after", 0.0))
            patience = 0.0 if _is_outdated(error, body) else self._patience(error, method, path)
            if patience and tries < LEAST_TRIES:
                patience = max(patience, LEAST_TRIES_SECONDS)
            if time.monotonic() + wait - began > patience:
                raise error
            time.sleep(wait)

    @staticmethod
    def _with_doubt(error: ApiError | NoResponse | LyftLearnError, *, sent: bool) -> Exception:
        """Return the error with what earlier tries leave open: credentials that fail after a silence refuse nothing."""
        if isinstance(error, ApiError):
            error.maybe_applied = sent
            return error
        if isinstance(error, NoResponse):
            error.sent = error.sent or sent
            return error
        return NoResponse(str(error), sent=True) if sent else error

    def _patience(self, error: Exception, method: str, path: str) -> float:
        """Return the seconds for which a request is repeated that fails like this."""
        if isinstance(error, NoResponse):
            return BUSY_SECONDS if error.busy else RETRY_SECONDS
        if not isinstance(error, ApiError):
            return 0.0
        if error.status == BUSY:
            return BUSY_SECONDS
        granted_before = error.maybe_applied or self._was_granted(error, method, path)
        denied = error.is_denied or (error.status == FORBIDDEN and method == "GET")  # which no admission looks at
        if error.starting or (denied and granted_before):
            return DENIED_SECONDS
        return RETRY_SECONDS if error.retryable else 0.0

    def _was_granted(self, error: ApiError, method: str, path: str) -> bool:
        """Whether what is refused now was granted before. A login that served for anything is one."""
        return bool(self._granted) if error.status == UNAUTHORIZED else _purpose(method, path) in self._granted

    def _ask_once(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        with timed_request("kubernetes", " ".join(_purpose(method, path)).rstrip("/")):
            answer = self._transport().send(method, path, **request)
        document = _parse(answer.data)
        if recording.is_on():
            asked = {**request, "method": method, "path": path, "content": _parse(request["content"] or b"null")}
            recording.keep("kubernetes", asked, {"code": answer.status, "body": document})
        if answer.status not in _SUCCESS:
            error = error_of_answer(answer.status, document, answer.data.decode(errors="replace"))
            if answer.retry_after.isdigit():
                error.retry_after = float(answer.retry_after)
            raise error
        if not isinstance(document, dict) or not (_is_object(document) or path == VERSION):
            raise NoResponse("whoever answered is not the API", sent=True)
        if answer.date:
            self._server_date = (answer.date, time.monotonic())
        return document

    def now(self) -> datetime:
        """Return the server's time, as it was last heard; this machine's before the first answer."""
        date, heard_at = self._server_date
        moment = _moment(date)
        if moment is None:
            return datetime.now(UTC)
        return moment + timedelta(seconds=time.monotonic() - heard_at)

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any], silence: float) -> Iterator[Stream]:
        """Give what arrives on a request that goes on. Raises ApiError or NoResponse."""
        with self._transport().stream(path, params, silence) as answer:
            if answer.status not in _SUCCESS:
                data = answer.error()
                raise error_of_answer(answer.status, _parse(data), data.decode(errors="replace"))
            yield answer

    def _transport(self) -> Transport:
        with self._lock:
            if self._open is None:
                from lyftlearn_kubernetes.api.transport import Transport  # noqa: PLC0415 - planning asks nobody

                self._open = Transport(self.access)
                weakref.finalize(self, self._open.close)
            return self._open


def _after_expiry(error: ApiError, params: dict[str, Any]) -> dict[str, Any]:
    """Return how a list goes on whose earlier pages are of a time that the server has forgotten.

    The server tells how; where it does not, the list begins anew, in one piece, as client-go's pager has it.
    """
    before = params.get("continue")
    if error.resume and error.resume != before:
        return {**params, "continue": error.resume}
    if error.status == GONE and before:
        return {key: value for key, value in params.items() if key not in ("continue", "limit")}
    raise error


def _is_object(document: Mapping[str, Any]) -> bool:
    """Whether a document is what the API answers a success with: an object, or a list of some."""
    return bool(document.get("apiVersion")) and document.get("kind") != "Status"


def _about(name: object, document: dict[str, Any]) -> dict[str, Any]:
    """Return a document if it is the object of that name; an answer to another question is none."""
    if (document.get("metadata") or {}).get("name") != name:
        raise NoResponse(f"the answer is about something else than {name}", sent=True)
    return document


def _is_outdated(error: Exception, body: Mapping[str, Any] | None) -> bool:
    """Whether a change was made for a version that is not the newest any more. A conflict of any other passes."""
    versioned = "resourceVersion" in ((body or {}).get("metadata") or {})
    return versioned and isinstance(error, ApiError) and error.status == CONFLICT


def _leaves_doubt(error: Exception) -> bool:
    """Whether the request may have been carried out by the try that ended like this."""
    return error.sent if isinstance(error, NoResponse) else isinstance(error, ApiError) and not error.definite


def _purpose(method: str, path: str) -> tuple[str, str]:
    """Return what a permission is about: the method, and the kind of object with its subresource."""
    kind, _, rest = path.partition("?")[0].partition("/namespaces/")[2].partition("/")[2].partition("/")
    return method, f"{kind}/{rest.partition('/')[2]}"


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (RecursionError, ValueError):
        return None


@lru_cache(4096)  # thousands of jobs share their seconds, and each is kept for as long as its job is followed
def moment(text: str) -> datetime:
    """Return a time of the API."""
    return datetime.fromisoformat(text).astimezone(UTC)


@lru_cache(maxsize=1)  # a follower of ten thousand jobs asks for each
def _moment(date: str) -> datetime | None:
    """Return the time of a header; None for none, and for what is no time: a proxy may have written it."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - planning asks nobody

    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
