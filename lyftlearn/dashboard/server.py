"""The dashboard's server, until it is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Callable

from lyftlearn._client import Client
from lyftlearn._text.display import reason_of
from lyftlearn.errors import InvalidJob, LyftLearnError

_LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(
    client: Client,
    *,
    host: str = "127.0.0.1",
    port: int = 8780,
    user_header: str | None = None,
    allow_stop: bool = False,
    on_open: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the dashboard of a client's configuration until SIGINT or SIGTERM.

    host, port: where it listens; 0 takes a free port. user_header: the header in which a proxy names the user. Without
    one, whoever has the address that `on_open` is called with may look. Raises InvalidJob where it would be open to
    others, and LyftLearnError where it cannot listen or a package is missing.
    """
    if host not in _LOCAL and user_header is None:
        text = f"is {host!r}, where others reach it: name the header of the proxy that knows them (--user-header)"
        raise InvalidJob([("host", text)])
    try:
        import uvicorn  # noqa: PLC0415 - an extra

        from lyftlearn.dashboard.app import Settings, application  # noqa: PLC0415 - as above
        from lyftlearn.dashboard.viewers import new_token  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise LyftLearnError(f"the dashboard needs more packages ({exc}): pip install 'lyftlearn[dashboard]'") from exc
    token = new_token()
    app = application(client, Settings(token=token, user_header=user_header, allow_stop=allow_stop))
    listening = _listen(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    on_open(address if user_header else f"{address}?token={token}")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run([listening])


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. asyncio sends at once, without Nagle's pause, only where a socket names TCP."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError) as exc:
        listening.close()
        raise LyftLearnError(
            f"cannot listen at {host}, port {port}: {reason_of(exc)}; choose another with --port"
        ) from exc
    return listening
