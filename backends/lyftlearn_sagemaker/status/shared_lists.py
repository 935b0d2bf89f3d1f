"""One list for all processes of an account: who finds it old lists anew, and publishes in the storage what it saw.

The record is changed by conditional writes alone, and its age is by the storage's clock, so that clocks of machines may
differ. Whoever is about to list claims the record before; a claim whose holder died is void after half a minute.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lyftlearn.errors import LyftLearnError

if TYPE_CHECKING:
    from lyftlearn.backend import Storage

KEY = "sagemaker/changes.json"
CLAIMED_FOR = 30.0  # seconds: longer than a list takes
_KEPT = 300.0  # seconds for which a change is published
_MOST_KEPT = 5000
_NEVER = 1e11  # seconds since 1970: in the year 5138
_CLOCK = 1.0  # seconds: the storage tells ages no more exactly
_OLDEST_FOR = 600.0  # seconds after which jobs that nobody may follow any more do not lengthen the list
_TEXTS = ("TrainingJobName", "TrainingJobStatus", "SecondaryStatus")
_TIMES = ("LastModifiedTime", "CreationTime")
_log = logging.getLogger("lyftlearn")


@dataclass(frozen=True)
class Changes:
    """What the record says. Times are seconds since 1970, by AWS's clock.

    until: what changed before is in it. oldest: the creation of the oldest job that somebody follows, which was said at
    `oldest_at`. pages: how many requests the last list took. claim: whoever lists just now.
    """

    jobs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    until: float = 0.0
    oldest: float = 0.0
    oldest_at: float = 0.0
    pages: int = 1
    claim: str = ""


@dataclass(frozen=True)
class Listed:
    """What one list saw: the lines, AWS's time when it began, and how many requests it took."""

    summaries: Sequence[Mapping[str, Any]]
    began: datetime
    pages: int


class SharedLists:
    """The record, as one process sees it. rate: of lists a second, for all processes together."""

    def __init__(self, storage: Callable[[], Storage], rate: float) -> None:
        self._storage = storage
        self.rate = rate

    def changes(self, oldest: datetime, read: Callable[[datetime, datetime], Listed]) -> list[dict[str, Any]] | None:
        """Return a line for each job that changed of late; None if the storage cannot say it.

        oldest: the creation of the oldest job that this process follows. read: lists what changed since a moment, of
        jobs that were created since another.
        """
        try:
            changes = self._changes(oldest.timestamp(), read)
        except (LyftLearnError, OSError) as exc:
            _log.warning("the list that processes share cannot be reached: %s", exc)
            return None
        return [_summary(name, line) for name, line in changes.jobs.items()]

    def _changes(self, oldest: float, read: Callable[[datetime, datetime], Listed]) -> Changes:
        storage = self._storage()
        stored = storage.read(KEY)
        if stored is None:
            now = datetime.now(UTC).timestamp()
            first = Changes(until=now - 2 * _KEPT, oldest=oldest, oldest_at=now, claim=secrets.token_hex(8))
            return self._list(storage, first, read) if storage.create(KEY, _encode(first)) else first
        known, age = _decode(stored.data), stored.age.total_seconds()
        due = CLAIMED_FOR if known.claim else known.pages / self.rate + _CLOCK
        if age < due and oldest >= known.oldest:
            return known
        now = stored.modified.timestamp() + age
        claimed = replace(_with_oldest(known, oldest, now), claim=secrets.token_hex(8))
        if age < due:  # nobody has looked for jobs as old as this process's: the next list is to
            storage.replace(KEY, _encode(replace(claimed, claim=known.claim)), stored.version)
            return known
        return self._list(storage, claimed, read) if storage.replace(KEY, _encode(claimed), stored.version) else known

    def _list(self, storage: Storage, claimed: Changes, read: Callable[[datetime, datetime], Listed]) -> Changes:
        """List, and publish what was seen unless somebody else has claimed the record in the meantime."""
        listed = read(_moment(claimed.until), _moment(claimed.oldest))
        fresh = _merge(claimed, listed)
        stored = storage.read(KEY)
        current = _decode(stored.data) if stored else Changes()
        if stored and current.claim == claimed.claim:
            kept = replace(fresh, oldest=min(fresh.oldest, current.oldest), claim="")
            storage.replace(KEY, _encode(kept), stored.version)
        return fresh


def _with_oldest(known: Changes, oldest: float, now: float) -> Changes:
    if oldest < known.oldest or now - known.oldest_at > _OLDEST_FOR:
        return replace(known, oldest=oldest, oldest_at=now)
    return known


def _merge(claimed: Changes, listed: Listed) -> Changes:
    began = listed.began.timestamp()
    jobs = {**claimed.jobs, **{one["TrainingJobName"]: _line(one) for one in listed.summaries}}
    recent = sorted(jobs.items(), key=lambda item: -item[1][2])[:_MOST_KEPT]
    kept = {name: line for name, line in recent if line[2] > began - _KEPT}
    return replace(claimed, jobs=kept, until=began, pages=listed.pages)


def _line(summary: Mapping[str, Any]) -> Sequence[Any]:
    return [*(summary.get(name, "") for name in _TEXTS[1:]), *(summary[name].timestamp() for name in _TIMES)]


def _summary(name: str, line: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((*_TEXTS, *_TIMES), (name, *line[:2], *(_moment(one) for one in line[2:])), strict=True))


def _encode(changes: Changes) -> bytes:
    return json.dumps(vars(changes), separators=(",", ":")).encode()


def _decode(data: bytes) -> Changes:
    """Read the record; one that cannot be read is as good as none, and is written over."""
    try:
        fields = json.loads(data)
        jobs = {str(name): _read_line(line) for name, line in fields["jobs"].items()}
        moments = {name: _read_seconds(fields[name]) for name in ("until", "oldest", "oldest_at")}
        return Changes(jobs=jobs, pages=max(1, int(fields["pages"])), claim=str(fields["claim"]), **moments)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return Changes(oldest=float("inf"))


def _read_line(line: Sequence[Any]) -> Sequence[Any]:
    status, secondary, *times = line
    modified, created = map(_read_seconds, times)
    return [str(status), str(secondary), modified, created]


def _read_seconds(value: float) -> float:
    """Return a moment. Raises ValueError for what is none."""
    if not 0 <= value < _NEVER:
        raise ValueError(value)
    return float(value)


def _moment(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=max(0.0, seconds))


def pages_of(
    ask: Callable[[dict[str, Any]], Mapping[str, Any]], request: dict[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield each page of a list; an empty one is not the last."""
    while True:
        page = ask(request)
        yield page
        if not page.get("NextToken"):
            return
        request["NextToken"] = page["NextToken"]
