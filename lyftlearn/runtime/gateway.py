"""Where a relay sends its packets."""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESOLVE_EVERY = 30.0
RETRY_EVERY = 2.0


class Gateway:
    """Where packets go; its name is looked up again and again, because gateways move."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._address: Any = None
        self._socket: socket.socket | None = None
        self._retired: socket.socket | None = None
        self._failed = False
        self._closed = threading.Event()
        self._known = threading.Event()
        self._thread = threading.Thread(target=self._keep_resolving, daemon=True, name="gateway")
        self._thread.start()

    def _keep_resolving(self) -> None:
        while not self._closed.is_set():
            self._resolve()
            self._closed.wait(RESOLVE_EVERY if self._known.is_set() and not self._failed else RETRY_EVERY)

    def _resolve(self) -> None:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            if address == self._address and not self._failed:
                return
            connected = socket.socket(family, kind, protocol)
            connected.connect(address)
        except OSError:
            return
        self._replace(connected)
        self._address, self._failed = address, False
        self._known.set()

    def _replace(self, connected: socket.socket) -> None:
        """The relay may be sending through the old one: it is closed a generation later."""
        if self._retired:
            self._retired.close()
        self._retired, self._socket = self._socket, connected

    def is_known(self, patience: float = 0) -> bool:
        """Whether its name was found, after so many seconds at most."""
        return self._known.is_set() or (patience > 0 and self._known.wait(patience))

    def send(self, packet: bytes) -> int:
        """How many packets are now known to be lost. A refusal tells of the packet before; this one goes out next."""
        gateway = self._socket
        if gateway is None:
            return 1
        try:
            gateway.send(packet)
        except ConnectionRefusedError:
            return 1 + self._again(gateway, packet)
        except OSError:
            self._failed = True
            return 1
        return 0

    def _again(self, gateway: socket.socket, packet: bytes) -> int:
        try:
            gateway.send(packet)
        except OSError:
            return 1
        return 0

    def close(self) -> None:
        """Stop looking up."""
        self._closed.set()
        for used in (self._socket, self._retired):
            if used:
                used.close()
