"""The checks of calls that follow jobs, as strict as those of calls that submit: every fault is found, and named."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lyftlearn._contract.fault import Fault
from lyftlearn._text.display import quote
from lyftlearn._text.quantities import duration
from lyftlearn.errors import InvalidJob
from lyftlearn.types import Duration

if TYPE_CHECKING:
    from lyftlearn.backend import LogQuery

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""No job is older, and platforms refuse an earlier moment."""


def refuse(faults: list[Fault]) -> None:
    """Raise InvalidJob if there is a fault."""
    if faults:
        raise InvalidJob(faults)


def switch(path: str, value: Any, faults: list[Fault]) -> bool:
    """Check True or False."""
    if not isinstance(value, bool):
        faults.append(Fault(path, f"is {quote(value)}: write True or False"))
    return value is True


def switch_or_none(path: str, value: Any, faults: list[Fault]) -> bool | None:
    """Check True, False or None."""
    return None if value is None else switch(path, value, faults)


def count(path: str, value: Any, faults: list[Fault]) -> int:
    """Check a whole number from 0."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return min(value, sys.maxsize)  # no list is longer
    faults.append(Fault(path, f"is {quote(value)}: write a whole number, 0 or more"))
    return 0


def count_or_none(path: str, value: Any, faults: list[Fault]) -> int | None:
    """Check a whole number from 0, or None."""
    return None if value is None else count(path, value, faults)


def moment(path: str, value: Any, faults: list[Fault]) -> datetime | None:
    """Check a point in time, and return it; a duration counts back from now."""
    if isinstance(value, datetime) and value.tzinfo is None:
        faults.append(Fault(path, f"{value} has no time zone: write datetime(..., tzinfo=timezone.utc)"))
        return None
    if value is None:
        return None
    try:
        if isinstance(value, datetime):
            return max(value.astimezone(UTC), _BEGINNING)
        length = duration(value)
        found = datetime.now(UTC) - length
    except (ValueError, OverflowError) as exc:
        faults.append(Fault(path, str(exc)))
        return None
    if length < timedelta():
        faults.append(Fault(path, f"is {quote(value)}: a duration counts back from now, so write a positive one"))
    return max(found, _BEGINNING)


def seconds(path: str, value: Any, faults: list[Fault]) -> float | None:
    """Check a duration to wait for, and return it in seconds, at most what a thread can sleep."""
    if value is None:
        return None
    try:
        length = duration(value).total_seconds()
    except (ValueError, OverflowError) as exc:
        faults.append(Fault(path, str(exc)))
        return None
    if length < 0:
        faults.append(Fault(path, f"is {quote(value)}: write a duration that is not negative"))
    return min(length, threading.TIMEOUT_MAX / 2)


def one_of(path: str, value: Any, known: Iterable[str], faults: list[Fault]) -> None:
    """Check a name."""
    if not (isinstance(value, str) and value in known):
        faults.append(Fault(path, f"is {quote(value)}: write one of {', '.join(known)}"))


def callback(path: str, value: Any, faults: list[Fault]) -> Any:
    """Check a function, or None."""
    if value is not None and not callable(value):
        faults.append(Fault(path, f"is {quote(value)}: write a function of a job and its state"))
    return value


def directory(path: str, value: Any, faults: list[Fault]) -> Path:
    """Check the path of a directory to write in, which need not be there."""
    remedy = 'write the path of a directory, such as "out"'
    if not _is_path(value):
        faults.append(Fault(path, f"is {quote(value)}: {remedy}"))
        return Path()
    if "://" in str(value):
        faults.append(Fault(path, f"{quote(str(value))} is a URI, and no directory of this machine: {remedy}"))
        return Path()
    try:
        found = Path(value).expanduser()
        in_the_way = next((one for one in (found, *found.parents) if one.exists()), found)
    except (OSError, ValueError, RuntimeError) as exc:
        faults.append(Fault(path, f"{quote(str(value))} cannot be used ({exc}): {remedy}"))
        return Path()
    if in_the_way.exists() and not in_the_way.is_dir():
        faults.append(Fault(path, f"{quote(str(value))} cannot be made, for {in_the_way} is a file: {remedy}"))
    return found


def _is_path(value: Any) -> bool:
    try:
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
        return isinstance(text, str) and bool(os.fsencode(text)) and "\0" not in text
    except Exception:  # noqa: BLE001 - half of a surrogate pair, or a path of somebody's own that is none
        return False


def items(path: str, value: Any, kind: type, faults: list[Fault]) -> list[Any]:
    """Check a sequence, or any iterable, of jobs, and return it as a list: an iterator is read once."""
    if isinstance(value, kind):
        faults.append(Fault(path, "is one job: write a list, [job]"))
    elif isinstance(value, str | bytes | bytearray | memoryview | Mapping) or not isinstance(value, Iterable):
        faults.append(Fault(path, f"is {quote(value)}: write a list of jobs"))
    else:
        found = list(value)
        wrong = [(index, item) for index, item in enumerate(found) if not isinstance(item, kind)]
        faults.extend(Fault(f"{path}[{index}]", f"is {quote(item)}: write a job") for index, item in wrong)
        return found
    return []


def point_in_time(path: str, value: Duration | datetime | None) -> datetime | None:
    """Return a point in time; a duration counts back from now. Raises InvalidJob."""
    faults: list[Fault] = []
    found = moment(path, value, faults)
    refuse(faults)
    return found


def log_query(
    follow: bool,
    tail: int | None,
    since: Duration | datetime | None,
    node: int | None,
    *,
    timestamps: bool = False,
) -> LogQuery:
    """Return what `Job.logs` asks for. Raises InvalidJob, listing every fault."""
    from lyftlearn.backend import LogQuery  # noqa: PLC0415 - to wait needs none

    faults: list[Fault] = []
    query = LogQuery(
        follow=switch("follow", follow, faults),
        tail=count_or_none("tail", tail, faults),
        since=moment("since", since, faults),
        node=count_or_none("node", node, faults),
    )
    switch("timestamps", timestamps, faults)
    refuse(faults)
    return query
