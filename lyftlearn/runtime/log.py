"""What a container prints, kept in the storage: a container that is removed takes its own log with it.

The first line names the container. Each other one stands after its time, as a kubelet has it, so that a log reads the
same from either source.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time

from .storage import COPY_CHUNK, join, store_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from .storage import Store

CONTAINER = "LYFTLEARN_SUBSTRATE_CONTAINER"
MOST_CONTAINERS = 1000
"""Of one node: a substrate replaces what its own infrastructure broke."""
BEGINNING = 128 << 10
"""Bytes: more than a pipe holds, so the container runtime has their first line; and less than any kubelet rotates."""


def open_log(directory: str, node: int, root: str, environ: Mapping[str, str]) -> Log | None:
    """The log of this container; None, with a message on stderr, where there is no room for it."""
    try:
        os.makedirs(root, exist_ok=True)
        return Log(directory, node, root, environ.get(CONTAINER, ""))
    except OSError as error:
        print(f"lyftlearn: the log is not kept: {error.strerror} ({root})", file=sys.stderr, flush=True)
        return None


class Log:
    """A copy of the output in a file that has no name, until it is put under `directory` of the storage."""

    def __init__(self, directory: str, node: int, root: str, container: str) -> None:
        self._directory = directory
        self._node = node
        self._container = container
        self._lock = threading.Lock()
        self._within = False
        self._until_noted = BEGINNING
        self._broken: OSError | None = None
        path = os.path.join(root, f".log.{os.urandom(4).hex()}")
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 - until the end
        os.unlink(path)

    def write(self, chunk: bytes) -> None:
        """Append what is printed just now. A full disk ends the copy, and not the job."""
        with self._lock:
            self._note_beginning(len(chunk))
            if self._broken or self._file.closed:
                return
            rest = memoryview(self._with_times(chunk))
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as error:
                self._broken = error

    def _note_beginning(self, size: int) -> None:
        """Count what is printed; a log that gets long has a note in the storage, for those who read it meanwhile."""
        if self._until_noted > 0 >= self._until_noted - size and self._container:
            at = timestamp(time.time_ns())
            threading.Thread(target=self._put_beginning, args=(at,), daemon=True, name="log").start()
        self._until_noted -= size

    def _put_beginning(self, at: bytes) -> None:
        """Note when the beginning was complete: a log whose first line is younger has lost it."""
        try:
            uri = join(self._directory, f"{self._container}.beginning")
            sink = store_for(uri).sink(uri)
            try:
                sink.write(at + b"\n")
                sink.commit()
            except BaseException:
                sink.abort()
                raise
        except Exception:  # noqa: BLE001 - a storage that refuses is told at the end, when the log itself is kept
            return

    def _with_times(self, chunk: bytes) -> bytes:
        """The chunk with a time before each line that begins in it."""
        begins = b"" if self._within else timestamp(time.time_ns()) + b" "
        self._within = not chunk.endswith(b"\n")
        lines, last = chunk[:-1], chunk[-1:]
        return begins + lines.replace(b"\n", b"\n" + timestamp(time.time_ns()) + b" ") + last

    def keep(self) -> None:
        """Put it into the storage. A failure is printed and changes nothing else."""
        try:
            with self._lock, self._file:
                self._put(store_for(self._directory))
        except Exception as error:  # noqa: BLE001 - the job's end is reported whatever becomes of its log
            print(f"lyftlearn: the log was not kept: {error}", file=sys.stderr, flush=True)
        if self._broken:
            print(f"lyftlearn: the log was kept in part: {self._broken.strerror}", file=sys.stderr, flush=True)

    def _put(self, store: Store) -> None:
        sink = store.sink(self._free(store))
        try:
            sink.write(self._container.encode() + b"\n")
            self._file.seek(0)
            for chunk in iter(lambda: self._file.read(COPY_CHUNK), b""):
                sink.write(chunk)
            sink.commit()
        except BaseException:
            sink.abort()
            raise

    def _free(self, store: Store) -> str:
        """A name of this node's that no earlier container took."""
        names = (join(self._directory, f"{self._node}-{number}.log") for number in range(MOST_CONTAINERS))
        for uri in names:
            if not store.find(uri):
                return uri
        raise RuntimeError(f"{MOST_CONTAINERS} containers have run already")


def timestamp(nanoseconds: int) -> bytes:
    """RFC 3339 in UTC, with nanoseconds."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


class TeeStream(io.TextIOBase):
    """The runtime's own words: where they went before, and into the log."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream = stream
        self._log = log

    def write(self, text: str) -> int:
        """Say it at once, so that it does not come after what is printed later."""
        self._stream.write(text)
        self._stream.flush()
        self._log.write(text.encode("utf-8", "backslashreplace"))
        return len(text)
