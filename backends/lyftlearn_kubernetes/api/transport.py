"""HTTP/1.1 to an API server, as whom the access says, over connections that are kept for the next request.

The standard library's client: a submission is one small request, and others cost it more than all else together.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes.api.credentials import credentials, impersonation
from lyftlearn_kubernetes.api.errors import NoResponse
from lyftlearn_kubernetes.api.kubeconfig import server_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from typing import Any

    from lyftlearn_kubernetes.api.access import Access
    from lyftlearn_kubernetes.api.proxy import Proxy
    from lyftlearn_kubernetes.api.tls import Certificates

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
MOST_IDLE = 20
IDLE_SECONDS = 60.0
"""Connections that were idle for longer are not used: NAT gateways forget them, of AWS after 350 seconds."""
DOUBTFUL_SECONDS = 15.0
"""After so long without use a connection may be forgotten already, so its answer is waited for more shortly."""
DOUBTFUL_ANSWER_SECONDS = 5.0
# Of Linux, in seconds but for the last, in milliseconds. A peer that acknowledges nothing for so long is not there; the
# probes also keep a gateway from forgetting a stream that is silent.
_LIVENESS = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
UNAUTHORIZED = 401
LARGEST_ANSWER = 256 << 20
"""Bytes. A page of a list has 250 objects, whose annotations have at most 256 KiB each, and twice that for a Job."""
LARGEST_ERROR = 1 << 20
LARGEST_NEWS = 8 << 20
"""Bytes of an object in a watch: the largest that etcd takes has 1.5 MiB, and JSON may write some bytes as six."""
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
        self.pid = os.getpid()
        self.used_at = time.monotonic()

    def connect(self) -> None:
        """Connect, and agree on encryption."""
        super().connect()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _LIVENESS.items():
            if hasattr(socket, name):
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._tls_name)

    def ask(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a request, head and body at once, and wait for the head of its answer."""
        self._unsent = []
        try:
            self.request(method, url, content, headers)
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
    def idle_seconds(self) -> float:
        """How long it has not been used."""
        return time.monotonic() - self.used_at

    @property
    def stale(self) -> bool:
        """Whether it must not be used: another process opened it, it is old, the server closed it or says something."""
        if self.pid != os.getpid() or self.idle_seconds > IDLE_SECONDS:
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


class Answer(NamedTuple):
    """What came back. date, retry_after: these headers, as they were sent; empty where there were none."""

    status: int
    data: bytes
    date: str
    retry_after: str


class Transport:
    """Connections to one server; safe to share between threads."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._server = server_url(access.cluster)
        self._prefix = self._server.path.rstrip("/")
        self._credentials = credentials(access.user, access.cluster)
        self._impersonation = impersonation(access.user)
        self._certificates = self._read_certificates()
        self._proxy = self._find_proxy()
        self._forwarder = self._proxy if self._certificates is None else None
        self._idle: deque[Connection] = deque()  # its methods are safe between threads, and across a fork

    def send(
        self, method: str, path: str, *, params: Mapping[str, Any], content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """Return the answer. Raises NoResponse; then the other connections that were kept are not trusted either."""
        connection = self._reuse()
        try:
            return self._send_on(connection or self._connect(), method, self._url(path, params), content, headers)
        except NoResponse:
            if connection is not None:
                self.close()
            raise

    def _send_on(
        self, connection: Connection, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        with _no_response_on_failure(connection), self._exchange(connection, method, url, content, headers) as answer:
            data = _read(answer)
        if answer.will_close:
            connection.close()
        else:
            self._keep(connection)
        return Answer(answer.status, data, answer.headers.get("Date", ""), answer.headers.get("Retry-After", ""))

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
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _read_certificates(self) -> Certificates | None:
        if self._server.scheme != _ENCRYPTED:
            return None
        from lyftlearn_kubernetes.api import tls  # noqa: PLC0415 - only where there is a certificate to look at

        return tls.Certificates(self._access)

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
            return connection.ask(method, url, content, self._impersonation.added_to(passed))

        given = self._credentials(None)
        answer = ask(given)
        if answer.status != UNAUTHORIZED:
            return answer
        other = self._credentials(given)
        if other == given:
            return answer
        with answer:
            _read(answer)
        return ask(other)

    def _reuse(self) -> Connection | None:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not connection.stale:
                    doubtful = connection.idle_seconds > DOUBTFUL_SECONDS
                    connection.sock.settimeout(DOUBTFUL_ANSWER_SECONDS if doubtful else ANSWER_SECONDS)
                    return connection
                connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        connection.used_at = time.monotonic()
        if len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self) -> Connection:
        connection = self._new_connection()
        try:
            connection.connect()
        except (*_BROKEN, ValueError) as exc:  # a name that no host can have, too
            connection.close()
            raise NoResponse(_reason(exc), sent=False) from exc
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _new_connection(self) -> Connection:
        context = self._certificates.context() if self._certificates else None
        host, encrypted = self._server.hostname or "", context is not None
        port = self._server.port or (443 if encrypted else 80)
        name = self._access.cluster.get("tls-server-name") or host
        if self._proxy is None:
            return Connection(host, port, context, name)
        connection = Connection(self._proxy.host, self._proxy.port, context, name)
        if encrypted:
            connection.set_tunnel(host, port, self._proxy.headers)
        return connection


class Stream:
    """An answer that goes on. `close` ends it from any thread."""

    def __init__(self, answer: http.client.HTTPResponse, sock: socket.socket) -> None:
        self._exchange = answer
        self._sock = sock
        self.status = answer.status

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Yield what comes, as parts of lines, and whether a newline follows each. Raises NoResponse if it breaks."""
        for chunk in iter(lambda: self._exchange.read1(_CHUNK), b""):
            *whole, rest = chunk.split(b"\n")
            yield from ((line, True) for line in whole)
            if rest:
                yield rest, False
        if self._exchange.length:
            raise NoResponse("the answer was cut", sent=True)

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines without their newlines. Raises NoResponse if the connection breaks, or for a line too long.

        What comes after the last newline is left out.
        """
        line = bytearray()
        for piece, ends in self.pieces():
            line += piece
            if len(line) > LARGEST_NEWS:
                raise NoResponse(f"a line of the answer has more than {LARGEST_NEWS} bytes", sent=True)
            if ends:
                yield bytes(line)
                line.clear()

    def error(self) -> bytes:
        """Return what an answer says that is an error: its beginning, where it is long."""
        return self._exchange.read(LARGEST_ERROR)

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


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Return the whole answer. Raises NoResponse for one that is larger than any that the API gives."""
    data = answer.read(LARGEST_ANSWER)
    if len(data) == LARGEST_ANSWER:
        raise NoResponse(f"the answer has {LARGEST_ANSWER} bytes or more", sent=True)
    if answer.length:
        raise NoResponse("the answer was cut", sent=True)
    return data


def _reason(exc: BaseException) -> str:
    return str(getattr(exc, "strerror", None) or exc) or type(exc).__name__
