"""What a client has in place of a session while a fake is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lyftlearn import _client, _session
from lyftlearn._jobs.watcher import SharedWatch
from lyftlearn._registry import Registry
from lyftlearn._session import Session
from lyftlearn._submission.preparation import Content, Submission, SubmissionBuilder, content_digest
from lyftlearn._submission.submitter import JobSubmitter
from lyftlearn.rollout import Decision
from lyftlearn.testing.fake._backend import NAME, FakeBackend

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn._contract.spec import JobSpec
    from lyftlearn.backend import Backend, JobRecord
    from lyftlearn.config import Config
    from lyftlearn.types import JobKind


class _OneBackend(Registry):
    """Knows the fake, and nothing that is installed."""

    def __init__(self, config: Config, backend: FakeBackend) -> None:
        super().__init__(config)
        self._backend = backend

    def names(self) -> list[str]:
        return [NAME]

    def get(self, name: str) -> Backend:
        return self._backend if name == NAME else super().get(name)


class _UnpackedBuilder(SubmissionBuilder):
    """Reads no file of the call: it was checked, and nothing is to be sent."""

    def read(self, arguments: Arguments, *, as_first_version: bool = False) -> Content:  # noqa: ARG002 - its contract
        digest = content_digest(arguments, None, {})
        return Content(arguments=arguments, scope=self.scope(arguments), source=None, local={}, digest=digest)


class _Submitter(JobSubmitter):
    """Hands the plan to the fake. An error that its script raises is the caller's, and settled at once."""

    def __init__(self, builder: SubmissionBuilder, backend: FakeBackend, on_job: Callable[[Submission], None]) -> None:
        super().__init__(builder)
        self._backend = backend
        self._on_job = on_job

    def upload(self, submission: Submission) -> None:
        """Keep everything where it is."""

    def create(self, submission: Submission) -> JobRecord:
        record = self._backend.submit(submission.plan)
        self._on_job(submission)
        return record


class FakeSession(Session):
    """A session whose jobs go to a fake. remember: is given each job, with what its caller wrote."""

    def __init__(
        self, config: Config, backend: FakeBackend, remember: Callable[[JobSpec, Mapping[str, Any]], None]
    ) -> None:
        super().__init__(config, decider=_decide)
        self._remember = remember
        self._given: list[tuple[Arguments, Mapping[str, Any]]] = []
        self.registry = _OneBackend(config, backend)
        self.builder = _UnpackedBuilder(config, self.registry)
        self.submitter = _Submitter(self.builder, backend, self._note)

    def check(self, kind: JobKind, given: Mapping[str, Any]) -> Arguments:
        """Return the arguments, checked as always."""
        arguments = super().check(kind, given)
        self._given.append((arguments, given))
        return arguments

    def watch(self, name: str) -> SharedWatch:
        """Return the watch, which may be asked as often as anybody likes."""
        watch = super().watch(name)
        watch.pace = 0.0
        return watch

    def _note(self, submission: Submission) -> None:
        arguments = submission.content.arguments
        about = (arguments.kind, arguments.name)  # a notebook's arguments are those of the call with a key
        mine = (given for made, given in reversed(self._given) if (made.kind, made.name) == about)
        self._remember(submission.spec, next(mine, {}))
        self._given.clear()


def _decide(_: Arguments) -> Decision:
    return Decision(backend=NAME, reason="a test's fake takes every job", source="lyftlearn.testing", attributes={})


@contextmanager
def sessions_made_by(make: Callable[[object], Session]) -> Iterator[None]:
    """Give every client of this process a session that `make` makes, and its own back in the end."""
    before, _session.make = _session.make, make
    kept = {client: _take_session(client) for client in list(_client._clients)}  # noqa: SLF001 - a friend of clients
    try:
        yield
    finally:
        _session.make = before
        for client in list(_client._clients):  # noqa: SLF001 - as above
            _give_back(client, kept.get(client, {}))


def _take_session(client: _client.Client) -> dict[str, Any]:
    with client._lock:  # noqa: SLF001 - as above
        kept = {name: client.__dict__.get(name) for name in ("_made", "_closing")}
        client._made = None  # noqa: SLF001 - as above
        return kept


def _give_back(client: _client.Client, kept: Mapping[str, Any]) -> None:
    with client._lock:  # noqa: SLF001 - as above
        if client._made is not None:  # noqa: SLF001 - as above
            client._closing()  # noqa: SLF001 - as above
        client.__dict__.update({"_made": None, **kept})
