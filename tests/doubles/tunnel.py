"""What a proxy does for `CONNECT`: it leads both directions of a connection to another address."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler


def tunnel(handler: BaseHTTPRequestHandler, host: str, port: int) -> None:
    """Answer the `CONNECT` of `handler`, and lead its connection to `host` and `port` until one side ends it."""
    with socket.create_connection((host, port)) as there:
        handler.send_response(200)
        handler.end_headers()
        back = threading.Thread(target=_copy, args=(there, handler.connection), daemon=True)
        back.start()
        _copy(handler.connection, there)
        back.join()
    handler.close_connection = True


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
