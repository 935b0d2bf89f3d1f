"""A container's log: each line after the time at which it came, as container runtimes write it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

CHUNK = 1 << 16
ROTATED_AT = 10 << 20
"""containerLogMaxSize of a kubelet, by default. What is older than the newest file cannot be had from the API."""


class LogFile:
    """Written by one thread, read by any number."""

    def __init__(
        self, path: Path, rotated_at: int = ROTATED_AT, clock_ahead: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._path = path
        self._clock_ahead = clock_ahead
        self._rotated_at = rotated_at
        self._newest = 0  # where the newest of the files begins that a real log has
        self._file = path.open("wb")
        self._grown = threading.Condition()
        self._size = 0
        self._ended = False
        self._reader: threading.Thread | None = None

    def follow(self, output: IO[bytes]) -> None:
        self._reader = threading.Thread(target=self._copy, args=(output,), daemon=True)
        self._reader.start()

    def drain(self) -> None:
        if self._reader is not None:
            self._reader.join(120)

    def end(self) -> None:
        with self._grown:
            self._ended = True
            self._file.close()
            self._grown.notify_all()

    def tail(self) -> str:
        lines = self._path.read_text(errors="replace").splitlines()[-80:]
        return "\n".join(line.partition(" ")[2] for line in lines)

    def _copy(self, output: IO[bytes]) -> None:
        rest = b""
        with output:
            while chunk := output.read1(CHUNK):  # type: ignore[attr-defined]
                *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
                self._write(lines)
        self._write([rest] if rest else [])

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        with self._grown:
            if self._ended:
                return
            for line in lines:
                stamp = _stamp(self._clock_ahead())
                self._size += self._file.write(stamp + b" " + line.removesuffix(b"\r") + b"\n")  # as containerd does
                if self._size - self._newest > self._rotated_at:
                    self._newest = self._size
            self._file.flush()
            self._grown.notify_all()

    def read(self, params: dict[str, str]) -> Iterator[bytes]:
        """By the parameters of the API: tailLines, sinceTime (in whole seconds), follow, timestamps."""
        since = params.get("sinceTime")
        begin = datetime.fromisoformat(since).timestamp() if since else 0.0
        with self._path.open("rb") as file:
            file.seek(self._newest)
            lines = [line for line in self._available(file) if _time_of(line) >= begin]
            if "tailLines" in params:
                lines = lines[max(0, len(lines) - int(params["tailLines"])) :]
            yield b"".join(_for_display(line, params) for line in lines)
            while params.get("follow") == "true" and self._wait(file.tell()):
                yield b"".join(_for_display(line, params) for line in self._available(file))

    def _available(self, file: IO[bytes]) -> list[bytes]:
        with self._grown:
            return _split(file.read(self._size - file.tell()))

    def _wait(self, position: int) -> bool:
        """Whether there is more, or may be."""
        with self._grown:
            self._grown.wait_for(lambda: self._ended or self._size > position, 1)
            return self._size > position or not self._ended


def _split(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _stamp(ahead: float) -> bytes:
    seconds, rest = divmod(time.time_ns() + int(ahead * 1e9), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


def _time_of(line: bytes) -> float:
    return datetime.fromisoformat(line[:19].decode() + "+00:00").timestamp()


def _for_display(line: bytes, params: dict[str, str]) -> bytes:
    return line if params.get("timestamps") == "true" else line.partition(b" ")[2]
