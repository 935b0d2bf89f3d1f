"""Models as they are served, compared: the same requests to each server, and what is the same in the answers.

Each model is served by a job of a backend of this machine, through the runtime, one after the other: a model may fill
the memory. The requests and the answers that are expected are the models' own self-tests.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from lyftlearn._jobs.job import Job
from lyftlearn.errors import LyftLearnError
from lyftlearn.parity._model import HOLDING, SEVERITY, Verdict
from lyftlearn.runtime import selftest
from lyftlearn.runtime.selftest import SelfTest

_LOOK = 0.1  # seconds between two pings of a server that loads its model


@dataclass(frozen=True, kw_only=True)
class Side:
    """One server. name: of its column. model: the id of the train job. start: serves the model at a port."""

    name: str
    model: str
    backend: str
    start: Callable[[int], Job]


@dataclass(frozen=True, kw_only=True)
class Server:
    """What became of one server. job: its id. problem: why nothing was asked of it, or None."""

    name: str
    model: str
    backend: str
    job: str | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TestAnswer:
    """One server's answer to a self-test.

    verdict: of a comparison with the reference's answer. difference: from that answer. problem: what the self-test says
    against the answer. The texts are empty where there is nothing to say.
    """

    __test__ = False  # no test of pytest's

    verdict: Verdict
    difference: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class TestRow:
    """The answers to one self-test, by the name of the server. model: the train job that brought the test."""

    __test__ = False  # no test of pytest's

    name: str
    model: str
    answers: Mapping[str, TestAnswer]

    @property
    def worst(self) -> Verdict:
        """The gravest of its verdicts."""
        return max((answer.verdict for answer in self.answers.values()), key=SEVERITY.index, default=Verdict.EQUAL)


@dataclass(frozen=True, kw_only=True)
class ServingParity:
    """Servers, compared. reference: the name of the server that the others are held against."""

    reference: str
    servers: tuple[Server, ...]
    tests: tuple[TestRow, ...]
    version: str
    started_at: datetime
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether all servers give the same answers, and the answers that the self-tests expect."""
        return self.agrees and not any(answer.problem for row in self.tests for answer in row.answers.values())

    @property
    def agrees(self) -> bool:
        """Whether all servers give the same answers."""
        return all(row.worst in HOLDING for row in self.tests)


@dataclass(frozen=True)
class ModelTest:
    """A self-test, and the id of the train job whose model brought it."""

    model: str
    test: SelfTest

    @property
    def meaning(self) -> tuple[object, ...]:
        """What is equal where two models bring the same test."""
        one = self.test
        return one.name, one.content_type, one.request, one.expected, one.compares_json


class _NotServed(Exception):
    """A server was not there to be asked, and why."""


@dataclass(frozen=True)
class _Reply:
    """What came of a request: status and body, or the reason why there is none."""

    status: int | None
    body: bytes
    failure: str = ""

    def problem(self, test: SelfTest) -> str:
        return self.failure if self.status is None else test.problem(self.status, self.body) or ""

    def difference(self, test: SelfTest, reference: _Reply) -> str:
        if self.status is None or reference.status is None:
            same = self.status == reference.status
            return "" if same else f"{self._text}, and the reference {reference._text}"
        if self.status != reference.status:
            return f"answered {self.status}, and the reference {reference.status}"
        problem = test.difference(self.body, reference.body) if self.body != reference.body else None
        return problem.replace(", expected ", ", and the reference ") if problem else ""

    @property
    def _text(self) -> str:
        return f"answered {self.status}" if self.status is not None else self.failure


def compare(
    sides: Sequence[Side], tests: Sequence[ModelTest], patience: float, on_side: Callable[[str], None]
) -> ServingParity:
    """Serve each model, ask its server every test, and compare. The first side is the reference.

    patience: seconds in which a server has to answer a ping. on_side: told the name of each side before it is served. A
    KeyboardInterrupt stops the server of the moment.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    found = []
    for side in sides:
        on_side(side.name)
        found.append(_serve(side, tests, patience))
    return ServingParity(
        reference=sides[0].name,
        servers=tuple(server for server, _ in found),
        tests=tuple(_row(sides, one, [of[at] if of else None for _, of in found]) for at, one in enumerate(tests)),
        version=version("lyftlearn"),
        started_at=started_at,
        seconds=time.monotonic() - clock,
    )


def _serve(side: Side, tests: Sequence[ModelTest], patience: float) -> tuple[Server, list[_Reply] | None]:
    """Return what became of a server, and its replies if it was there."""
    job, problem, replies = None, None, None
    try:
        port = _free_port()
        job = side.start(port)
        replies = _replies(job, port, tests, patience)
    except (LyftLearnError, _NotServed) as error:
        problem = str(error)
    finally:
        if job is not None:
            _stop(job)
    job_id = job.id if job else None
    return Server(name=side.name, model=side.model, backend=side.backend, job=job_id, problem=problem), replies


def _replies(job: Job, port: int, tests: Sequence[ModelTest], patience: float) -> list[_Reply]:
    until = time.monotonic() + patience
    while not selftest.answers_ping(port):
        _check_running(job)
        if time.monotonic() > until:
            raise _NotServed(f"it answered no ping within {patience:g} s")
        time.sleep(_LOOK)
    replies = [_reply(one.test, port) for one in tests]
    _check_running(job)  # somebody else may have taken the port, which the runtime says
    return replies


def _reply(test: SelfTest, port: int) -> _Reply:
    try:
        return _Reply(*test.ask(port))
    except selftest.FAILURES as error:
        return _Reply(None, b"", selftest.failure_text(error))


def _check_running(job: Job) -> None:
    if job.status.finished:
        state = job.state
        raise _NotServed(f"it {state.status} before it was asked everything: {state.message}")


def _stop(job: Job) -> None:
    job.stop()
    job.wait(check=False, progress=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def _row(sides: Sequence[Side], one: ModelTest, replies: Sequence[_Reply | None]) -> TestRow:
    answers = {side.name: _answer(one.test, reply, replies[0]) for side, reply in zip(sides, replies, strict=True)}
    return TestRow(name=one.test.name, model=one.model, answers=answers)


def _answer(test: SelfTest, reply: _Reply | None, reference: _Reply | None) -> TestAnswer:
    if reply is None:
        return TestAnswer(verdict=Verdict.NOT_OBSERVED)
    problem = reply.problem(test)
    if reference is None:
        return TestAnswer(verdict=Verdict.NOT_OBSERVED, difference="the reference was not asked", problem=problem)
    difference = reply.difference(test, reference)
    return TestAnswer(verdict=Verdict.BROKEN if difference else Verdict.EQUAL, difference=difference, problem=problem)
