"""A relay for StatsD packets where the substrate runs no sidecar: unchanged, at the same address, to the gateway."""

from __future__ import annotations

import _socket as socket
import os
import select
import stat
from _collections import deque  # type: ignore[import-not-found,unused-ignore] # `collections` loads five modules

from .thread import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .gateway import Gateway

ADDRESS = ("127.0.0.1", 8125)
LARGEST_PACKET = 65535
RECEIVE_BUFFER = 8 << 20
BURST = 512
HELD = 10_000
"""Packets kept while the gateway's name is first looked up."""
FLUSH_WAIT = 2.0


class NullGateway:
    """No gateway: packets are counted and dropped."""

    def is_known(self, _patience: float = 0) -> bool:
        """Whether a packet need not be held."""
        return True

    def send(self, _: bytes) -> int:
        """Lose it."""
        return 1

    def close(self) -> None:
        """Nothing to close."""


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
        self._gateway = _gateway(gateway)
        self._wake, self._waker = os.pipe()
        self._thread = Thread(self._work)
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
        if not self._gateway.is_known():
            self._hold(packet)
            return
        self._release()
        self.lost += self._gateway.send(packet)

    def _release(self) -> None:
        while self._held and self._gateway.is_known():
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
            self._gateway.is_known(FLUSH_WAIT)
            self._release()
        self.lost += len(self._held)
        self._held.clear()


def _gateway(target: str | None) -> Gateway | NullGateway:
    if target is None:
        return NullGateway()
    from .gateway import Gateway

    return Gateway(target)


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
