"""A proxy on loopback that breaks what passes through it: by order of a seed, or when it is told to."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

CHUNK = 1 << 14
BETWEEN_DRAWS = 0.05
BEFORE, AFTER, TRUNCATED, DELAYED, DOUBLED = "reset before", "reset after", "truncated", "delayed", "doubled"
REQUEST_FAULTS = (BEFORE, AFTER, DELAYED, DOUBLED)
ANSWER_FAULTS = (TRUNCATED, DELAYED)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Proxy:
    """Passes HTTP to a port of this machine. chance: of each request, and each piece of an answer, to meet a fault."""

    def __init__(self, port: int, *, seed: int = 0, chance: float = 0.0) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._chance = chance
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.faults: list[str] = []
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def freeze(self) -> None:
        """Let nothing more through the connections of now, without closing them."""
        for connection in tuple(self._open):
            connection.frozen = True

    def cut(self) -> None:
        """End the connections of now."""
        for connection in tuple(self._open):
            connection.cut()

    def draw(self, faults: tuple[str, ...]) -> str | None:
        """The fault that the next thing meets."""
        with self._lock:
            if self._random.random() >= self._chance:
                return None
            fault = self._random.choice(faults)
            self.faults.append(fault)
            return fault

    def pause(self) -> None:
        threading.Event().wait(self._random.random() / 2)

    def part(self, size: int) -> int:
        return self._random.randrange(size)

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port))

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                connection = Connection(self, client, self.dial())
            except OSError:
                client.close()
                continue
            self._open.add(connection)
            connection.start(self._open.discard)


class Connection:
    """One client's connection, and ours to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._cut_answer = threading.Event()
        self._next_draw = 0.0
        self.frozen = False

    def start(self, ended: Callable[[Connection], None]) -> None:
        self._ended = ended
        for target in (self._pass_requests, self._pass_answers):
            threading.Thread(target=self._guard, args=(target,), daemon=True).start()

    def cut(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ended(self)

    def _guard(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            work()
        self.cut()

    def _pass_requests(self) -> None:
        while request := self._next_request():
            fault = None if self.frozen else self._proxy.draw(REQUEST_FAULTS)
            if self.frozen:
                continue
            if fault == BEFORE:
                return
            if fault == DELAYED:
                self._proxy.pause()
            if fault == DOUBLED and not request.startswith(b"GET"):
                self._send_twin(request)
            if fault == AFTER:
                self._cut_answer.set()
            self._server.sendall(request)

    def _may_draw(self) -> bool:
        """Now and then: an answer of megabytes has hundreds of pieces, and a line is read as a whole."""
        now = time.monotonic()
        if now < self._next_draw:
            return False
        self._next_draw = now + BETWEEN_DRAWS
        return True

    def _next_request(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self._client.recv(CHUNK)
            if not chunk:
                return b""
            data += chunk
        head = data.index(b"\r\n\r\n") + 4
        length = _LENGTH.search(data[:head])
        missing = (int(length[1]) if length else 0) - (len(data) - head)
        while missing > 0:
            chunk = self._client.recv(min(CHUNK, missing))
            if not chunk:
                return b""
            data += chunk
            missing -= len(chunk)
        return data

    def _send_twin(self, request: bytes) -> None:
        """The same request once more, as by a middlebox that repeats it; nobody hears the answer."""
        with self._proxy.dial() as other:
            other.sendall(request)
            other.recv(CHUNK)

    def _pass_answers(self) -> None:
        while chunk := self._server.recv(CHUNK):
            if self.frozen:
                continue
            if self._cut_answer.is_set():
                return
            fault = self._proxy.draw(ANSWER_FAULTS) if self._may_draw() else None
            if fault == DELAYED:
                self._proxy.pause()
            if fault == TRUNCATED:
                self._client.sendall(chunk[: self._proxy.part(len(chunk))])
                return
            self._client.sendall(chunk)
