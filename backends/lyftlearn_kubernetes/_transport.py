"""HTTP to an API server, as whom the access says. Loads httpx2, which lightkube uses too."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx2
from lightkube.config.client_adapter import ConnectionParams
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from lyftlearn.errors import LyftLearnError
from lyftlearn_kubernetes._errors import Unanswered
from lyftlearn_kubernetes._exec_plugin import ExecPlugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lightkube.config.kubeconfig import SingleConfig

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
CONNECTIONS = 200  # every followed log holds one
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


def connect(config: SingleConfig) -> httpx2.Client:
    """Return an HTTP client that is who `config` says. Nothing is sent yet."""
    timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    if config.cluster.server.startswith("http://"):
        config.cluster.insecure = True  # there is nothing to verify, and loading every authority takes 100 ms
    try:
        params = ConnectionParams(timeout=timeout).httpx_params(config._replace(user=config.user or User()))
    except (ConfigError, OSError, ValueError) as exc:
        raise LyftLearnError(f"the access of context {config.context_name!r} is broken: {exc}") from exc
    if config.user and config.user.exec:
        params["auth"] = ExecPlugin(config.user.exec)
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=20)
    return httpx2.Client(**params, limits=limits)


def send(
    client: httpx2.Client,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None,
    content: bytes | None,
    headers: Mapping[str, str],
) -> tuple[int, bytes]:
    """Return status and body of the answer. Raises Unanswered."""
    url = f"{path}?{urlencode(params)}" if params else path  # httpx2 would parse it three times over
    with _unanswered():
        answer = client.request(method, url, content=content, headers=headers)
        return answer.status_code, answer.content


@contextmanager
def stream(client: httpx2.Client, path: str, params: Mapping[str, Any], silence: float) -> Iterator[Stream]:
    """Give an answer that goes on. silence: seconds without a byte after which the connection counts as dead."""
    timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=silence)
    with _unanswered(), client.stream("GET", path, params=dict(params), timeout=timeout) as answer:
        yield Stream(answer)


class Stream:
    """An answer that goes on. `close` ends it from any thread."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer
        self.status = answer.status_code
        self.rest = b""
        """What came after the last newline, once `lines` has ended."""

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines without their newlines. Raises Unanswered if the connection breaks."""
        for chunk in self._answer.iter_bytes():
            *whole, self.rest = (self.rest + chunk).split(b"\n") if b"\n" in chunk else (self.rest + chunk,)
            yield from whole

    def read(self) -> bytes:
        """Return all of it."""
        return self._answer.read()

    def close(self) -> None:
        """Wake who waits for more."""
        connection = self._answer.extensions["network_stream"].get_extra_info("socket")
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _unanswered() -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.StreamError) as exc:
        raise Unanswered(str(exc) or type(exc).__name__, sent=not isinstance(exc, _NEVER_SENT)) from exc
