"""HTTP/1.1 to an API server, as whom the access says, over connections that are kept for the next request.

The standard library's client: a submission is one small request, and others cost it more than all else together.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.credentials import credentials
from lyftlearn_kubernetes.api.errors import NoResponse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from typing import Any

    from lyftlearn_kubernetes.api.access import Access
    from lyftlearn_kubernetes.api.proxy import Proxy

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
MOST_IDLE = 20
UNAUTHORIZED = 401
_CHUNK = 1 << 16
_ENCRYPTED = "https"
_BROKEN = (http.client.HTTPException, OSError)


class Connection(http.client.HTTPConnection):
    """To the server itself, or through a proxy. tls_name: whom the server's certificate must name."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, tls_name: str) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS)
        self._tls = tls
        self._tls_name = tls_name
        self._unsent: list[bytes] | None = None

    def connect(self) -> None:
        """Connect, and agree on encryption."""
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._tls_name)

    def ask(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a request, head and body at once, and wait for the head of its answer."""
        self._unsent = []
        try:
            self.request(method, url, content, dict(headers))
            data = b"".join(self._unsent)
        finally:
            self._unsent = None
        self.send(data)
        answer = self.getresponse()
        if answer.length is None and not answer.chunked:  # a head that was cut reads as one of an answer without end
            answer.close()
            raise http.client.IncompleteRead(b"")
        return answer

    def send(self, data: Any) -> None:
        """Send what `request` gives, or keep it until there is all of it."""
        if self._unsent is None:
            super().send(data)
        else:
            self._unsent.append(data)

    @property
    def stale(self) -> bool:
        """Whether the server has closed it, or says something that nobody asked for."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


class Transport:
    """Connections to one server; safe to share between threads."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._server = urlsplit(access.server)
        self._prefix = self._server.path.rstrip("/")
        self._credentials = credentials(access.user)
        self._tls = self._encryption()
        self._proxy = self._find_proxy()
        self._forwarder = self._proxy if self._tls is None else None
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def send(
        self, method: str, path: str, *, params: Mapping[str, Any], content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body of the answer. Raises NoResponse."""
        connection = self._reuse() or self._connect()
        url = self._url(path, params)
        with _no_response_on_failure(connection), self._exchange(connection, method, url, content, headers) as answer:
            data = answer.read()
        if answer.will_close:
            connection.close()
        else:
            self._keep(connection)
        return answer.status, data

    @contextmanager
    def stream(self, path: str, params: Mapping[str, Any], silence: float) -> Iterator[Stream]:
        """Give an answer that goes on. silence: seconds without a byte after which the connection counts as dead."""
        connection = self._connect()
        sock = connection.sock
        sock.settimeout(silence)  # for the answer's beginning, too: a log may begin with its first line
        with (
            _no_response_on_failure(connection),
            self._exchange(connection, "GET", self._url(path, params), None, {}) as answer,
        ):
            try:
                yield Stream(answer, sock)
            finally:
                connection.close()

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _encryption(self) -> ssl.SSLContext | None:
        if self._server.scheme != _ENCRYPTED:
            return None
        from lyftlearn_kubernetes.api import tls  # noqa: PLC0415 - only where there is a certificate to look at

        return tls.context(self._access)

    def _find_proxy(self) -> Proxy | None:
        named = self._access.cluster.get("proxy-url")
        if not named and not any(name.lower().endswith("_proxy") for name in os.environ):
            return None
        from lyftlearn_kubernetes.api import proxy  # noqa: PLC0415 - only for those who have one

        return proxy.find(self._server, named)

    def _url(self, path: str, params: Mapping[str, Any]) -> str:
        url = f"{self._prefix}{path}?{urlencode(params)}" if params else self._prefix + path
        return f"http://{self._server.netloc}{url}" if self._forwarder else url

    def _exchange(
        self, connection: Connection, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send the request; once more with other credentials, where there are any, if the first are refused."""

        def ask(authorization: str | None) -> http.client.HTTPResponse:
            known = {**headers, "Authorization": authorization} if authorization is not None else headers
            passed = {**known, **self._forwarder.headers} if self._forwarder else known
            return connection.ask(method, url, content, passed)

        given = self._credentials(None)
        answer = ask(given)
        if answer.status != UNAUTHORIZED:
            return answer
        other = self._credentials(given)
        if other == given:
            return answer
        with answer:
            answer.read()
        return ask(other)

    def _reuse(self) -> Connection | None:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None or not connection.stale:
                return connection
            connection.close()

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            room = len(self._idle) < MOST_IDLE
            if room:
                self._idle.append(connection)
        if not room:
            connection.close()

    def _connect(self) -> Connection:
        connection = self._new_connection()
        try:
            connection.connect()
        except _BROKEN as exc:
            connection.close()
            raise NoResponse(_reason(exc), sent=False) from exc
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _new_connection(self) -> Connection:
        host, encrypted = self._server.hostname or "", self._tls is not None
        port = self._server.port or (443 if encrypted else 80)
        name = self._access.cluster.get("tls-server-name") or host
        if self._proxy is None:
            return Connection(host, port, self._tls, name)
        connection = Connection(self._proxy.host, self._proxy.port, self._tls, name)
        if encrypted:
            connection.set_tunnel(host, port, self._proxy.headers)
        return connection


class Stream:
    """An answer that goes on. `close` ends it from any thread."""

    def __init__(self, answer: http.client.HTTPResponse, sock: socket.socket) -> None:
        self._exchange = answer
        self._sock = sock
        self.status = answer.status
        self.rest = b""
        """What came after the last newline, once `lines` has ended."""

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines without their newlines. Raises NoResponse if the connection breaks."""
        for chunk in iter(lambda: self._exchange.read1(_CHUNK), b""):
            *whole, self.rest = (self.rest + chunk).split(b"\n") if b"\n" in chunk else (self.rest + chunk,)
            yield from whole
        if self._exchange.length:
            raise NoResponse("the answer was cut", sent=True)

    def read(self) -> bytes:
        """Return all of it."""
        return self._exchange.read()

    def close(self) -> None:
        """Wake who waits for more."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _no_response_on_failure(connection: Connection) -> Iterator[None]:
    """Nothing is known of a request whose connection breaks; a connection with half an answer is of no use."""
    try:
        yield
    except LyftLearnError:  # some are OSErrors, too
        connection.close()
        raise
    except _BROKEN as exc:
        connection.close()
        raise NoResponse(_reason(exc), sent=True) from exc
    except BaseException:
        connection.close()
        raise


def _reason(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
