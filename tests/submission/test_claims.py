"""One job of many calls: the claim, step by step and in every order of steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyftlearn._storage import LARGEST_RECORD, Storage, Stored
from lyftlearn._submission.claims import Claim, Scope, accept, claim_key, move, take, withdraw
from lyftlearn.errors import BackendUnavailable, LyftLearnError
from tests.submission.caller import SCOPE, Backends, Steps, Watched, call

X = Claim("digest", "eta-x", "x")
Y = Claim("digest", "eta-y", "y")


class Memory(Storage):
    """A store in a dictionary, with a clock that a test can set."""

    url = "memory:"

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.records: dict[str, Stored] = {}

    def create(self, key: str, data: bytes) -> bool:
        return key not in self.records and self._write(key, data)

    def read(self, key: str, largest: int = LARGEST_RECORD) -> Stored | None:
        found = self.records.get(key)
        return found and found._replace(age=self.now - found.modified)

    def replace(self, key: str, data: bytes, version: str) -> bool:
        return key in self.records and self.records[key].version == version and self._write(key, data)

    def upload(self, key: str, path: Path, sha256: str) -> str:
        self.create(key, path.read_bytes())
        return self.uri(key)

    def uri(self, key: str) -> str:
        return f"memory:{key}"

    def _write(self, key: str, data: bytes) -> bool:
        self.records[key] = Stored(data, os.urandom(8).hex(), self.now, timedelta())
        return True


def test_the_first_claim_stands(storage: Storage) -> None:
    """Whatever the flag says to the second caller, it gets the first one's job and backend."""
    first, second = take(storage, SCOPE, X), take(storage, SCOPE, Y)
    assert (first.claim, first.mine) == (X, True)
    assert (second.claim, second.mine) == (X, False)
    assert first.attempt != second.attempt


def test_an_accepted_claim_is_final(storage: Storage) -> None:
    """After acceptance nothing moves, nothing is withdrawn, and no caller sends anything."""
    first = take(storage, SCOPE, X)
    accepted = accept(storage, SCOPE, first)
    assert accepted.claim == replace(X, state="accepted")
    assert move(storage, SCOPE, first, "y", "eta-y") is None
    withdraw(storage, SCOPE, first)
    later = take(storage, SCOPE, Y)
    assert later.claim == accepted.claim
    assert later.attempt is None
    assert later.is_settled(timedelta(days=999))
    assert accept(storage, SCOPE, first).claim == accepted.claim


def test_the_only_try_may_move_the_claim(storage: Storage) -> None:
    """Fallback: after a definite refusal the key goes to the other backend, for everybody."""
    first = take(storage, SCOPE, X)
    moved = move(storage, SCOPE, first, "y", "eta-y")
    assert moved is not None
    assert moved.claim == Y
    assert take(storage, SCOPE, X).claim == Y
    assert accept(storage, SCOPE, moved).claim == replace(Y, state="accepted")


def test_a_claim_with_another_open_try_stays(storage: Storage) -> None:
    """The other caller's request may be accepted at this moment, so a second backend would be a second job."""
    first, second = take(storage, SCOPE, X), take(storage, SCOPE, X)
    assert move(storage, SCOPE, first, "y", "eta-y") is None
    assert take(storage, SCOPE, Y).claim == X
    assert accept(storage, SCOPE, second).claim.id == "eta-x"


def test_the_last_open_try_may_move(storage: Storage) -> None:
    """When every other caller has said that it was refused, nothing is uncertain any more."""
    first, second = take(storage, SCOPE, X), take(storage, SCOPE, X)
    assert move(storage, SCOPE, first, "y", "eta-y") is None
    moved = move(storage, SCOPE, second, "y", "eta-y")
    assert moved is not None
    assert moved.claim == Y


def test_one_of_two_moves(storage: Storage) -> None:
    """A caller that acts on a claim which has moved on meanwhile moves nothing."""
    first = take(storage, SCOPE, X)
    assert move(storage, SCOPE, first, "y", "eta-y") is not None
    assert move(storage, SCOPE, first, "z", "eta-z") is None
    assert take(storage, SCOPE, X).claim == Y


def test_the_dead_hold_a_claim_where_it_is(storage: Storage) -> None:
    """A try that never reported may have been accepted: later callers repeat it there, and never elsewhere."""
    take(storage, SCOPE, X)
    for _ in range(3):
        later = take(storage, SCOPE, Y)
        assert later.claim == X
        assert move(storage, SCOPE, later, "y", "eta-y") is None


def test_a_key_whose_every_try_was_refused_is_free(storage: Storage) -> None:
    """A quota that was full once does not burn the key: the next call may have other arguments and another backend."""
    withdraw(storage, SCOPE, take(storage, SCOPE, X))
    other = replace(Y, digest="another")
    standing = take(storage, SCOPE, other)
    assert (standing.claim, standing.mine) == (other, True)


def test_other_arguments_add_no_try(storage: Storage) -> None:
    """A caller that is about to be told of a Conflict must not keep the first one from falling back."""
    first = take(storage, SCOPE, X)
    other = take(storage, SCOPE, replace(Y, digest="another"))
    assert (other.claim, other.attempt) == (X, None)
    assert move(storage, SCOPE, first, "y", "eta-y") is not None


def test_scopes_do_not_touch() -> None:
    """Every part of a scope counts, whole, however long, and wherever it is cut."""
    storage = Memory()
    scopes: list[Scope] = [
        ("p", "train", "m", "k"),
        ("p", "process", "m", "k"),
        ("p", "train", "mk", ""),
        ("p/train", "", "m", "k"),
        ("P", "train", "m", "k"),
        ("p", "train", "m" * 300, "k"),
        ("p", "train", "m" * 301, "k"),
        ("p", "train", "\udc80", "ключ"),
    ]
    assert all(take(storage, scope, X).mine for scope in scopes)
    assert len(storage.records) == len(scopes)
    assert claim_key(("Ä/../b c", "train", "m", "k")).startswith("claims/b-c/")
    assert claim_key(("地", "train", "m", "k")).startswith("claims/project/")


def test_an_old_intended_claim_counts_as_accepted() -> None:
    """Its job may have run and been deleted by now; the callers who try in between do not make it younger."""
    storage, retention = Memory(), timedelta(days=1)
    first = take(storage, SCOPE, X)
    for _ in range(4):
        storage.now += timedelta(hours=2)
        assert not take(storage, SCOPE, X).is_settled(retention)
    storage.now += timedelta(hours=4)
    later = take(storage, SCOPE, X)
    assert later.age == timedelta(hours=12)
    assert later.is_settled(retention)
    assert not later.is_settled(None)
    assert not first.is_settled(retention)


def test_a_moved_claim_is_young_again() -> None:
    """Its age is about the backend it points to."""
    storage = Memory()
    first = take(storage, SCOPE, X)
    storage.now += timedelta(hours=9)
    moved = move(storage, SCOPE, first, "y", "eta-y")
    assert moved is not None
    assert moved.age == timedelta()
    storage.now += timedelta(hours=1)
    assert take(storage, SCOPE, X).age == timedelta(hours=1)


def test_a_deleted_claim_is_told() -> None:
    """Someone who empties the store gets a clear word, not a traceback."""
    storage = Memory()
    standing = take(storage, SCOPE, X)
    storage.records.clear()
    with pytest.raises(LyftLearnError, match="eta-x was deleted"):
        accept(storage, SCOPE, standing)


def test_a_claim_of_a_later_version_is_told() -> None:
    """An old client does not guess what a new one wrote."""
    storage = Memory()
    storage.create(claim_key(SCOPE), b'{"format": 2}')
    with pytest.raises(LyftLearnError, match="upgrade"):
        take(storage, SCOPE, X)


def test_endless_races_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that refuses every compare-and-swap is reported, with the advice to use the same key."""
    storage = Memory()
    standing = take(storage, SCOPE, X)
    monkeypatch.setattr(storage, "replace", lambda *_: False)
    with pytest.raises(BackendUnavailable, match="same key"):
        accept(storage, SCOPE, standing)


class _Died(BaseException):
    """The caller's process ended here."""


@dataclass
class Schedule:
    """Which caller goes on at each turn, at which of its moments a caller dies, and which submissions are refused."""

    order: list[int]
    deaths: set[tuple[int, int]]
    refusals: list[bool]

    def refuses(self, _: str) -> bool:
        return bool(self.refusals) and self.refusals.pop()


class Turns:
    """Lets callers take their steps one at a time, in the order of a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._running: set[int] = set()
        self._next: int | None = None

    def run(self, callers: list[Callable[[Steps], None]]) -> None:
        self._running = set(range(len(callers)))
        for one, body in enumerate(callers):
            threading.Thread(target=self._live, args=(one, body), daemon=True).start()
        while self._let_one_go():
            pass

    def _let_one_go(self) -> bool:
        with self._changed:
            assert self._changed.wait_for(lambda: self._next is None and self._waiting == self._running, 60)
            if not self._running:
                return False
            turn = self._schedule.order.pop() if self._schedule.order else 0
            self._next = sorted(self._waiting)[turn % len(self._waiting)]
            self._changed.notify_all()
            return True

    def _live(self, one: int, body: Callable[[Steps], None]) -> None:
        moments = count()
        try:
            body(Steps(lambda moment: self._turn(one, moment, next(moments))))
        except _Died:
            pass
        finally:
            with self._changed:
                self._running.discard(one)
                self._changed.notify_all()

    def _turn(self, one: int, moment: str, number: int) -> None:
        with self._changed:
            if moment == "before":
                self._waiting.add(one)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._next == one)
                self._waiting.discard(one)
                self._next = None
        if (one, number) in self._schedule.deaths:
            raise _Died


_SCHEDULES = st.builds(
    Schedule,
    order=st.lists(st.integers(0, 11), max_size=40),
    deaths=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 15)), max_size=2),
    refusals=st.lists(st.booleans(), max_size=6),
)


@settings(max_examples=500, deadline=None)
@given(_SCHEDULES)
def test_no_order_of_steps_and_deaths_gives_two_jobs(schedule: Schedule) -> None:
    """The promise itself: whoever waits, dies, is refused or disagrees, at most one job is ever created.

    Whoever is told of a job is told of that one, and so is the next caller.
    """
    schedule = deepcopy(schedule)
    with TemporaryDirectory() as directory:
        storage, jobs, told = Memory(), Path(directory), list[str]()

        def caller(wanted: str, other: str) -> Callable[[Steps], None]:
            def body(steps: Steps) -> None:
                got = call(Watched(storage, steps), Backends(jobs, schedule.refuses, steps), wanted, other)
                if got is not None:
                    told.append(got.id)

            return body

        Turns(schedule).run([caller("x", "y"), caller("y", "x"), caller("x", "y"), caller("y", "x")])
        created = [path.name.partition("-")[2] for path in jobs.iterdir()]
        assert len(created) <= 1
        assert set(told) <= set(created)
        if created:
            assert [take(storage, SCOPE, replace(X, id="eta-later")).claim.id] == created
