"""A relay for StatsD packets where the substrate runs no sidecar: unchanged, at the same address, to the gateway."""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADDRESS = ("127.0.0.1", 8125)
LARGEST_PACKET = 65535
RECEIVE_BUFFER = 8 << 20
BURST = 512
HELD = 10_000
"""Packets kept while the gateway's name is first looked up."""
RESOLVE_EVERY = 30.0
RETRY_EVERY = 2.0
FLUSH_WAIT = 2.0


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
        self.known = threading.Event()
        self._thread = threading.Thread(target=self._keep_resolving, daemon=True, name="gateway")
        self._thread.start()

    def _keep_resolving(self) -> None:
        while not self._closed.is_set():
            self._resolve()
            self._closed.wait(RESOLVE_EVERY if self.known.is_set() and not self._failed else RETRY_EVERY)

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
        self.known.set()

    def _replace(self, connected: socket.socket) -> None:
        """The relay may be sending through the old one: it is closed a generation later."""
        if self._retired:
            self._retired.close()
        self._retired, self._socket = self._socket, connected

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


class NullGateway:
    """No gateway: packets are counted and dropped."""

    known = threading.Event()

    def send(self, _: bytes) -> int:
        """Lose it."""
        return 1

    def close(self) -> None:
        """Nothing to close."""


NullGateway.known.set()


class Relay:
    """Receives on the loopback address, and on a UNIX datagram socket if one is named."""

    def __init__(self, gateway: str | None, path: str | None = None, address: tuple[str, int] = ADDRESS) -> None:
        self.received = 0
        self.lost = 0
        self._path = path
        self._held: deque[bytes] = deque()
        named = [_bind_path(path)] if path else []
        udp = _bind_near(address)
        self.port = str(udp.getsockname()[1])
        self._sockets = [udp, *named]
        self._gateway = Gateway(gateway) if gateway else NullGateway()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._work, daemon=True, name="statsd")
        self._thread.start()

    def _work(self) -> None:
        poll = select.poll()
        for receiving in self._sockets:
            poll.register(receiving, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(100 if self._held else None)}
            for receiving in self._sockets:
                self._receive(receiving, BURST)
            self._release()
            if self._wake in ready:
                return

    def _receive(self, receiving: socket.socket, most: int) -> int:
        for count in range(most):
            try:
                packet = receiving.recv(LARGEST_PACKET)
            except BlockingIOError:
                return count
            self.received += 1
            self._pass_on(packet)
        return most

    def _pass_on(self, packet: bytes) -> None:
        if not self._gateway.known.is_set():
            self._hold(packet)
            return
        self._release()
        self.lost += self._gateway.send(packet)

    def _release(self) -> None:
        while self._held and self._gateway.known.is_set():
            self.lost += self._gateway.send(self._held.popleft())

    def _hold(self, packet: bytes) -> None:
        self._held.append(packet)
        if len(self._held) > HELD:
            self._held.popleft()
            self.lost += 1

    def close(self) -> None:
        """Pass on what has arrived, then leave nothing behind."""
        os.write(self._waker, b"x")
        self._thread.join()
        for receiving in self._sockets:
            while self._receive(receiving, BURST):
                pass
            receiving.close()
        self._flush_held()
        self._gateway.close()
        os.close(self._wake)
        os.close(self._waker)
        if self._path:
            os.unlink(self._path)

    def _flush_held(self) -> None:
        if self._held:
            self._gateway.known.wait(FLUSH_WAIT)
            self._release()
        self.lost += len(self._held)
        self._held.clear()


def _bind_near(address: tuple[str, int]) -> socket.socket:
    """The address, or another port where it is taken: several jobs may share one loopback."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    _enlarge(udp)
    try:
        udp.bind(address)
    except OSError:
        udp.bind((address[0], 0))
    return udp


def _bind_path(path: str) -> socket.socket:
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unix.setblocking(False)
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        os.unlink(path)
    try:
        unix.bind(path)
    except OSError:
        unix.close()
        raise
    os.chmod(path, 0o666)  # noqa: S103 - any user of the container may send
    return unix


def _enlarge(udp: socket.socket) -> None:
    for option in (33, socket.SO_RCVBUF):  # SO_RCVBUFFORCE, which Python does not name, needs privileges
        try:
            udp.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
        except OSError:
            continue
        return
