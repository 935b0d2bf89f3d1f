"""Logs that outlive their jobs: `logs/<job id>/<node>-<how many containers it had before>.log` in the storage.

The first line of such a log names the container. Each other one stands after its time, as a kubelet has it. The runtime
writes them in a pod, and a backend that removes its jobs writes them before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lyftlearn._storage import Storage

LONGEST_LINE = 16 << 20
"""Bytes of a line of output, and so of memory. A longer one is given in parts of that length, as lines of their own."""

_STAMP = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?"
_LARGEST = 256 << 20  # bytes: the lines of a log are in memory together
_MOST_CONTAINERS = 1000  # of one node, as many as the runtime keeps logs of


class StampedLine(NamedTuple):
    """A line; `stamp` is its time in full, in nanoseconds, and sorts as text."""

    stamp: str
    at: datetime
    text: bytes


def log_directory(job_id: str) -> str:
    """Return where in the storage a job's logs are kept.

    Beside them stands `<container>.beginning` for each container that printed much.
    """
    return f"logs/{job_id}"


def parse(line: bytes) -> StampedLine | None:
    """Return the parts of a line; None for one that was cut, or is the server's own word."""
    match = _stamp().match(line)
    if match is None:
        return None
    fraction = (match[2] or b"").decode().ljust(9, "0")
    zone = match[3].decode().replace("Z", "+00:00")
    second = datetime.fromisoformat(match[1].decode() + zone).astimezone(UTC)
    stamp = f"{second:%Y-%m-%dT%H:%M:%S}.{fraction}"
    return StampedLine(stamp, second.replace(microsecond=int(fraction[:6])), line[match.end() :])


@cache
def _stamp() -> re.Pattern[bytes]:
    """Compile it for those who read logs: others load this, too."""
    return re.compile(_STAMP)


def parts(line: StampedLine) -> Iterator[StampedLine]:
    """Yield a line as it is given: in parts, where it is longer than anybody could hold."""
    for begin in range(0, max(1, len(line.text)), LONGEST_LINE):
        yield line._replace(text=line.text[begin : begin + LONGEST_LINE])


def container_logs(storage: Storage, job_id: str, node: int) -> Iterator[tuple[str, list[StampedLine]]]:
    """Yield name and lines of each container that ran a node, in the order in which they ended.

    Raises LyftLearnError, which names its URI, for a log that is too large to be read as a whole.
    """
    for number in range(_MOST_CONTAINERS):
        record = storage.read(f"{log_directory(job_id)}/{node}-{number}.log", _LARGEST)
        if record is None:
            return
        name, _, lines = record.data.partition(b"\n")
        yield name.decode(), [part for line in map(parse, lines.split(b"\n")) if line for part in parts(line)]


def keep(storage: Storage, job_id: str, node: int, lines: Iterable[tuple[datetime, str]]) -> str:
    """Write what a node printed, whole or not at all, and return its URI. May be repeated."""
    import tempfile  # noqa: PLC0415 - only for who removes jobs

    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(prefix="lyftlearn-log-") as file:
        for piece in _pieces(f"{job_id}-{node}", lines):
            digest.update(piece)
            file.write(piece)
        file.flush()
        return storage.upload(f"{log_directory(job_id)}/{node}-0.log", Path(file.name), digest.hexdigest())


def _pieces(container: str, lines: Iterable[tuple[datetime, str]]) -> Iterator[bytes]:
    yield f"{container}\n".encode()
    for at, text in lines:
        yield f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z {text}\n".encode()
