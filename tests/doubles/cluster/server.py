"""The API server: HTTP over the store."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.doubles.cluster import discovery, quota, spdy, validation
from tests.doubles.cluster.access import Access, Caller
from tests.doubles.cluster.discovery import EXTENSIONS, KINDS
from tests.doubles.cluster.disturbances import Disturbance
from tests.doubles.cluster.service_accounts import Certificate, check_account
from tests.doubles.cluster.store import ApiError, Object, Store
from tests.doubles.cluster.watching import Watch, matches

LOG_LINES = "log"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
REVIEWS = "localsubjectaccessreviews"
LogSource = Callable[[Object, str, dict[str, str]], Iterator[bytes]]


class ApiServer:
    """Serves until it is closed; the same port is served again by `start`."""

    def __init__(self, store: Store, logs: LogSource, version: str = "1.36", access: Access | None = None,
                 certificate: Certificate | None = None, *, secure_host: str = "127.0.0.1") -> None:  # fmt: skip
        self.store = store
        self.logs = logs
        self.version = version
        self.access = access or Access()
        self.admission: list[Callable[[str, str, Object], None]] = []
        self.disturbances: list[Disturbance] = []
        self.extensions: set[str] = set()  # group and version of APIs that not every cluster has
        self.process_of: Callable[[Object], int | None] = lambda _: None
        self.pending_workloads: Callable[[str, str], list[Object]] = lambda _, __: []
        self.calls: Counter[str] = Counter()
        self.port = 0
        self.secure_port = 0
        self._certificate = certificate
        self._secure_host = secure_host
        self._servers: list[Server] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = self._serve(self.port, None)
        if self._certificate is not None:  # where pods ask
            self.secure_port = self._serve(self.secure_port, self._certificate)

    def _serve(self, port: int, certificate: Certificate | None) -> int:
        server = Server(("127.0.0.1" if certificate is None else self._secure_host, port), Handler)
        server.api = self
        if certificate is not None:
            # The handshake is the connection's thread's: one that is slow must not keep the others waiting.
            server.socket = certificate.context().wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True, name="api-server").start()
        return int(server.server_address[1])

    def stop(self) -> None:
        """End, and cut every connection, as a server that is restarted does."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
            server.cut_all()
        self._servers.clear()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    api: ApiServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        for connection in tuple(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names that http.server calls

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        verb, kind = aim(self.command, self.path)
        disturbance = next((one for one in self.server.api.disturbances if one.strikes(verb, kind)), None)
        if disturbance is None:
            self._answer_undisturbed(body)
            return
        if disturbance.commit:
            Request(self, Caller("anybody"), body).answer()
        if disturbance.status:
            self._send(disturbance.status, disturbance.body)
        else:
            self.close_connection = True

    def _answer_undisturbed(self, body: bytes) -> None:
        try:
            caller = self.server.api.access.caller(self.headers)
            answer = Request(self, caller, body).answer()
        except ApiError as error:
            self._send(error.code, error.status())
            return
        if answer is not None:
            self._send(*answer)

    def _send(self, code: int, content: Object | str) -> None:
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_chunks(self, content_type: str, chunks: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            if chunk:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")


def aim(method: str, url: str) -> tuple[str, str]:
    """Return the verb of a request and what it is about, as Roles name both: "get" and "pods/log"."""
    parts = urlsplit(url)
    _, _, rest = parts.path.partition("/namespaces/")
    _, kind, name, subresource, *_ = [*rest.split("/"), "", "", "", ""]
    verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(method) or ("get" if name else "list")
    watching = verb == "list" and dict(parse_qsl(parts.query)).get("watch") in ("true", "1")
    return "watch" if watching else verb, "/".join(filter(None, (kind, subresource)))


class Request:
    """One request, read."""

    def __init__(self, handler: Handler, caller: Caller, body: bytes) -> None:
        self.handler = handler
        self.api = handler.server.api
        self.store = self.api.store
        self.caller = caller
        self.body = body
        self.method = handler.command
        parts = urlsplit(handler.path)
        self.params = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.path = parts.path
        self.words = [word for word in parts.path.split("/") if word]

    def answer(self) -> tuple[int, Object] | None:
        if self.path == "/version":
            return 200, {"major": "1", "minor": self.api.version.split(".")[1], "gitVersion": f"v{self.api.version}.0"}
        if self.words[-1:] == ["selfsubjectaccessreviews"]:
            return self._review()
        words = self.words[2:] if self.words[:1] == ["api"] else self.words[3:]
        if self.words[:1] == ["openapi"] or not words:
            return 200, discovery.answer(self.words, self.api.extensions)
        if words[0] != "namespaces":
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        if len(words) <= 2:
            return self._namespaces(words[1] if len(words) == 2 else None)
        self.namespace, self.kind, *names = words[1:]
        if "/".join(self.words[1:3]) in self.api.extensions:
            return self._extension(names)
        if self.kind not in KINDS and self.kind != REVIEWS:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return self._object(names) if names else self._collection()

    def _extension(self, names: list[str]) -> tuple[int, Object] | None:
        if names[1:] == ["pendingworkloads"]:
            self._check("get", "pendingworkloads")
            items = self.api.pending_workloads(self.namespace, names[0])
            api_version = "/".join(self.words[1:3])
            return 200, {"kind": "PendingWorkloadsSummary", "apiVersion": api_version, "metadata": {}, "items": items}
        if self.kind not in EXTENSIONS:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return self._object(names) if names else self._collection()

    def _check(self, verb: str, subresource: str = "") -> None:
        resource = f"{self.kind}/{subresource}" if subresource else self.kind
        self.api.calls[f"{verb} {resource}"] += 1
        group = self.words[1] if self.words[0] == "apis" else ""
        self.api.access.check(self.caller, verb, group, resource, self.namespace)

    def _namespaces(self, name: str | None) -> tuple[int, Object]:
        self.kind, self.namespace = "namespaces", name or ""
        self._check("get" if name else "list")
        if name:
            return 200, self.store.get("namespaces", "", name)
        return 200, {
            "kind": "NamespaceList",
            "apiVersion": "v1",
            "metadata": {},
            "items": self.store.all("namespaces"),
        }

    def _review(self) -> tuple[int, Object]:
        review: Object = json.loads(self.body)
        asked = review["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        allowed = Access.allows(self.caller, asked["verb"], asked.get("group", ""), resource)
        return 201, {**review, "status": {"allowed": allowed}}

    def _review_another(self) -> tuple[int, Object]:
        """Tell what somebody else may do in a namespace, to those who may ask."""
        self._check("create")
        review: Object = json.loads(self.body)
        spec = review["spec"]
        asked = spec["resourceAttributes"]
        if not spec.get("user") and not spec.get("groups"):
            raise ApiError(
                422, "Invalid", 'spec.user: Invalid value: "": at least one of user or group must be specified'
            )
        if not review["metadata"].get("namespace") == asked.get("namespace") == self.namespace:
            raise ApiError(
                400, "BadRequest", f"spec.resourceAttributes.namespace must match namespace: {self.namespace}"
            )
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        allowed = self.api.access.allows_user(spec["user"], asked["verb"], asked.get("group", ""), resource)
        return 201, {**review, "status": {"allowed": allowed}}

    def _collection(self) -> tuple[int, Object] | None:
        if self.method == "POST":
            return self._review_another() if self.kind == REVIEWS else self._create()
        if self.method == "DELETE":
            return self._delete_collection()
        if self.params.get("watch") in ("true", "1"):
            self._check("watch")
            changes = Watch(self.store, self.kind, self.namespace, self.params)
            self.handler.send_chunks("application/json", changes.lines())
            return None
        self._check("list")
        return 200, self._list()

    def _create(self) -> tuple[int, Object]:
        self._check("create")
        item = self._parse_body()
        if self.store.find("namespaces", "", self.namespace) is None:
            raise ApiError(
                404, "NotFound", f'namespaces "{self.namespace}" not found', about=("namespaces", self.namespace)
            )
        if (item.get("metadata") or {}).get("namespace") not in (None, self.namespace):
            raise ApiError(
                400, "BadRequest", "the namespace of the provided object does not match the one of the request"
            )
        if self.params.get("dryRun") == "All":
            check(self.api, "create", self.kind, item)
            self.store.check_free(self.kind, self.namespace, item)
            return 201, item
        created = admit(self.api, "create", self.kind, self.namespace, item)
        if "as=PartialObjectMetadata" in (self.handler.headers.get("Accept") or ""):
            shown = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": created["metadata"]}
            return 201, shown
        return 201, created

    def _delete_collection(self) -> tuple[int, Object]:
        self._check("deletecollection")
        found = [item for item in self.store.all(self.kind, self.namespace) if self._is_selected(item)]
        for item in found:
            with contextlib.suppress(ApiError):  # it is gone already
                self.store.delete(self.kind, self.namespace, item["metadata"]["name"])
        return 200, {"kind": f"{KINDS[self.kind]}List", "apiVersion": "v1", "metadata": {}, "items": found}

    def _list(self) -> Object:
        limit, start = int(self.params.get("limit") or 0), ""
        version = str(self.store.version)
        if self.params.get("continue"):
            token = json.loads(base64.b64decode(self.params["continue"]))
            version, start = token["version"], token["start"]
            if int(version) < self.store.oldest:
                resume = _token(self.store.version, start)
                raise ApiError(410, "Expired", "The provided continue parameter is too old", resume)
        selected = filter(self._is_selected, self.store.each(self.kind, self.namespace, after=start))
        found = list(itertools.islice(selected, limit + 1 if limit else None))
        metadata = {"resourceVersion": version}
        if limit and len(found) > limit:
            found = found[:limit]
            metadata["continue"] = _token(version, found[-1]["metadata"]["name"])
        api_version = "/".join(self.words[1:3]) if self.words[0] == "apis" else "v1"
        name = {**KINDS, **EXTENSIONS}[self.kind]
        return {"kind": f"{name}List", "apiVersion": api_version, "metadata": metadata, "items": found}

    def _is_selected(self, item: Object) -> bool:
        return matches(self.params, item)

    def _object(self, names: list[str]) -> tuple[int, Object] | None:
        name = names[0]
        if names[1:] == [LOG_LINES]:
            self._check("get", LOG_LINES)
            pod = self.store.get("pods", self.namespace, name)
            container = self.params.get("container") or pod["spec"]["containers"][0]["name"]
            lines = self.api.logs(pod, container, self.params)
            self.handler.send_chunks("text/plain", lines)
            return None
        if names[1:] == ["portforward"]:
            self._forward_port(name)
            return None
        verb = {"GET": "get", "PATCH": "patch", "DELETE": "delete"}[self.method]
        self._check(verb)
        if verb == "get":
            return 200, self.store.get(self.kind, self.namespace, name)
        if verb == "delete":
            return 200, self.store.delete(self.kind, self.namespace, name)
        return 200, self._patch(name)

    def _forward_port(self, name: str) -> None:
        """Forward ports of a pod to a client that speaks SPDY; a websocket is refused as older servers do."""
        self._check("get" if self.method == "GET" else "create", "portforward")
        pid = self.api.process_of(self.store.get("pods", self.namespace, name))
        if self.handler.headers.get("Upgrade") != "SPDY/3.1":
            raise ApiError(400, "BadRequest", "Upgrade request required")
        if pid is None:
            raise ApiError(500, "InternalError", "unable to forward port because pod is not running.")
        self.handler.send_response(101)
        for header, value in (("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade")):
            self.handler.send_header(header, value)
        self.handler.send_header("X-Stream-Protocol-Version", spdy.PROTOCOL)
        self.handler.end_headers()
        self.handler.close_connection = True
        spdy.PortForward(self.handler.rfile, self.handler.connection.sendall, pid).serve()

    def _patch(self, name: str) -> Object:
        patch = self._parse_body()

        def change(item: Object) -> None:
            before = json.loads(json.dumps(item))
            asked = (patch.get("metadata") or {}).get("resourceVersion")
            if asked not in (None, item["metadata"]["resourceVersion"]):
                raise ApiError(
                    409, "Conflict", "the object has been modified; please apply your changes to the latest version"
                )
            merge(item, patch)
            validation.check(self.kind, item, self.api.version)
            validation.check_update(self.kind, before, item)

        return self.store.modify(self.kind, self.namespace, name, change)

    def _parse_body(self) -> Object:
        try:
            item: Object = json.loads(self.body)
        except ValueError as error:
            raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {error}") from error
        return item


def check(api: ApiServer, verb: str, kind: str, item: Object) -> None:
    """Refuse what admission or the schema refuses."""
    for hook in api.admission:
        hook(verb, kind, item)
    validation.check(kind, item, api.version)


def admit(api: ApiServer, verb: str, kind: str, namespace: str, item: Object) -> Object:
    """Check and keep a new object."""
    check(api, verb, kind, item)
    if kind == "pods":
        check_account(api.store, namespace, item)
        quota.check(api.store, namespace, item)
        item.setdefault("status", {}).setdefault("phase", "Pending")
    if kind == "jobs":
        item["spec"].setdefault("suspend", False)
        item.setdefault("status", {})
        item["metadata"].setdefault("uid", str(uuid.uuid4()))
        own = {CONTROLLER_UID: item["metadata"]["uid"]}
        item["spec"].setdefault("selector", {"matchLabels": own})
    return api.store.create(kind, namespace, item)


def _token(version: int | str, start: str) -> str:
    return base64.b64encode(json.dumps({"version": str(version), "start": start}).encode()).decode()


def merge(item: Object, patch: Object) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            item.pop(key, None)
        elif isinstance(value, dict):
            merge(item.setdefault(key, {}), value)
        else:
            item[key] = value
