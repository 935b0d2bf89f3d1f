"""Runs the runtime in a pod and keeps what it printed: a pod that is deleted takes its own log with it.

Standard library and the runtime beside it, Python 3.8 and newer. After the pod's name, lines are kept as the kubelet
gives them, each after its time, so that they read the same from either place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

RUNTIME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime.pyz")  # noqa: PTH100, PTH118, PTH120 - starts sooner
LOG_VARIABLE = "LYFTLEARN_SUBSTRATE_LOG"
POD_VARIABLE = "LYFTLEARN_SUBSTRATE_POD"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
CHUNK = 1 << 16
MOST_PODS = 1000


class Lines:
    """A file of lines with times."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._within = False

    def write(self, chunk: bytes) -> None:
        """Append what was printed just now."""
        for part in _split(chunk):
            if not self._within:
                self._file.write(timestamp(time.time_ns()) + b" ")
            self._file.write(part)
            self._within = not part.endswith(b"\n")


def _split(chunk: bytes) -> list[bytes]:
    parts = chunk.split(b"\n")
    whole = [part + b"\n" for part in parts[:-1]]
    return whole + ([parts[-1]] if parts[-1] else [])


def timestamp(nanoseconds: int) -> bytes:
    """RFC 3339 in UTC with nanoseconds."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


def main() -> None:
    """Run, keep, and exit as the runtime did."""
    with tempfile.TemporaryFile(dir=_writable()) as file:
        code = _run(Lines(file))
        try:
            _keep(file)
        except Exception as error:  # noqa: BLE001 - the job's end is told whatever becomes of its log
            print(f"lyftlearn: the log was not kept: {error}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)


def _writable() -> str | None:
    return "/lyftlearn" if os.access("/lyftlearn", os.W_OK) else None


def _run(lines: Lines) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = subprocess.Popen(
        [sys.executable, "-I", RUNTIME, "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_unblock,  # noqa: PLW1509 - there are no other threads
    )
    for number in FORWARDED:
        signal.signal(number, lambda received, _: child.send_signal(received))
    _unblock()
    assert child.stdout is not None  # noqa: S101 - a pipe was asked for
    while True:
        chunk = os.read(child.stdout.fileno(), CHUNK)
        if not chunk:
            break
        _print(chunk)
        lines.write(chunk)
    code = child.wait()
    return 128 - code if code < 0 else code


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _print(chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        try:
            view = view[os.write(1, view) :]
        except OSError:  # nobody reads any more: the job goes on
            return


def _keep(file: IO[bytes]) -> None:
    directory = os.environ.get(LOG_VARIABLE)
    if not directory:
        return
    sys.path.insert(0, RUNTIME)
    from lyftlearn_runtime.storage import store_for  # type: ignore[import-not-found]  # noqa: PLC0415 - in the zip

    sink = store_for(directory).sink(_free(store_for(directory), directory))
    sink.write(os.environ.get(POD_VARIABLE, "").encode() + b"\n")
    file.seek(0)
    for chunk in iter(lambda: file.read(CHUNK), b""):
        sink.write(chunk)
    sink.commit()


def _free(store: Any, directory: str) -> str:
    """A name of this node's that no earlier pod took."""
    node = os.environ.get("JOB_COMPLETION_INDEX") or "0"
    for number in range(MOST_PODS):
        uri = f"{directory}/{node}-{number}.log"
        if not store.find(uri):
            return uri
    raise RuntimeError(f"{MOST_PODS} pods have run already")


if __name__ == "__main__":
    main()
