"""A TCP proxy on loopback that breaks connections: by order of a seed, or when it is told to."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from types import TracebackType

CHUNK = 1 << 14


class Proxy:
    """Passes bytes to a port of this machine. chance: of each chunk to meet a fault of `kinds`."""

    def __init__(self, port: int, *, seed: int = 0, chance: float = 0.0, kinds: tuple[str, ...] = ()) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._chance = chance
        self._kinds = kinds
        self._lock = threading.Lock()
        self._frozen: set[int] = set()
        self._open: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._number = 0
        self.faults: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for number in tuple(self._open):
            self._cut(number)

    def freeze(self) -> None:
        """Let nothing more through the connections of now, without closing them."""
        with self._lock:
            self._frozen |= self._open.keys()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._number += 1
                number = self._number
                self._open[number] = client, server
            for source, target in ((client, server), (server, client)):
                arguments = (number, source, target, target is client)
                threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(self, number: int, source: socket.socket, target: socket.socket, answering: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                if number in self._frozen:
                    continue
                chunk = self._hurt(number, chunk)
                if not chunk:
                    break
                target.sendall(chunk)
        self._cut(number)

    def _hurt(self, number: int, chunk: bytes) -> bytes:
        """Return the chunk, late or a part of it; nothing if the connection is to be cut."""
        with self._lock:
            if self._random.random() >= self._chance:
                return chunk
            kind = self._random.choice(self._kinds)
            size, pause = self._random.randrange(len(chunk)), self._random.random() / 2
            self.faults.append(kind)
        if kind == "delay":
            threading.Event().wait(pause)
            return chunk
        if kind == "truncate":
            pair = self._open.get(number)
            if pair:
                with contextlib.suppress(OSError):
                    pair[0].sendall(chunk[:size]) if pair else None
        return b""

    def _cut(self, number: int) -> None:
        with self._lock:
            pair = self._open.pop(number, None)
        for end in pair or ():
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
