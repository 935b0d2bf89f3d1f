"""The fake itself: what was submitted, and what is to become of it."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn.config import load
from lyftlearn.testing.fake._backend import NAME, FakeBackend
from lyftlearn.testing.fake._outcome import Outcome
from lyftlearn.testing.fake._session import FakeSession, sessions_made_by
from lyftlearn.types import JobState

if TYPE_CHECKING:
    from typing import Self

    from lyftlearn._contract.spec import JobSpec
    from lyftlearn._jobs.job import Job
    from lyftlearn._session import Session


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted.

    function: "train", "process", "predict", "tune" or "notebook". arguments: what the caller gave, by its name, without
    what equals the default. spec: the job as a backend gets it, where no default is open.
    """

    function: str
    arguments: Mapping[str, Any]
    spec: JobSpec
    _backend: FakeBackend

    @property
    def id(self) -> str:
        """The job's id."""
        return self.spec.id

    @property
    def state(self) -> JobState:
        """What was last observed. To look here does not move the job on."""
        from lyftlearn.events import advance  # noqa: PLC0415 - only for those who ask

        return advance(None, self._backend.job(self.id).record.event).state


class Fake:
    """A context in which every client of this process submits here; see `lyftlearn.testing.fake`.

    default: what becomes of a job without a script of its own: it succeeds.
    """

    def __init__(self) -> None:
        self.default = Outcome()
        self._backend = FakeBackend(self._next_outcome)
        self._scripts: dict[str, deque[Outcome]] = {}
        self._unused: set[str] = set()
        self._jobs: dict[str, Submitted] = {}
        self._open = ExitStack()

    @property
    def jobs(self) -> list[Submitted]:
        """The jobs that were submitted, in order. A call whose key finds its job again submits none."""
        return list(self._jobs.values())

    def script(self, name: str, *outcomes: Outcome) -> None:
        """Say what becomes of the jobs of this name, the model's or the process job's: of the first, the second, ...

        The last outcome holds for all that follow. A script that no job has used is an error at the end of the context.
        """
        self._scripts[name] = deque(outcomes or (Outcome(),))
        self._unused.add(name)

    def end(self, job: Job | Submitted | str, outcome: Outcome | None = None) -> None:
        """Let a job that runs end now; by default it succeeds."""
        self._backend.end(job if isinstance(job, str) else job.id, outcome or Outcome())

    def __enter__(self) -> Self:
        """Take the place of every backend."""
        home = Path(self._open.enter_context(TemporaryDirectory(prefix="lyftlearn-fake-")))
        config = {
            "project": NAME,
            "backend": NAME,
            "storage": {"url": str(home / "storage")},
            "history": {"record": False},
        }

        def session(_: object) -> Session:
            return FakeSession(load(config), self._backend, self._remember)

        self._open.enter_context(sessions_made_by(session))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Give everything back."""
        self._open.close()
        if error is None and self._unused:
            raise AssertionError(self._unused_text())

    def _unused_text(self) -> str:
        unused = ", ".join(map(repr, sorted(self._unused)))
        names = ", ".join(sorted({job.spec.name for job in self.jobs})) or "none"
        return f"no job called {unused} was submitted, and a script waits for it; submitted: {names}"

    def _next_outcome(self, name: str) -> Outcome:
        script = self._scripts.get(name, deque((self.default,)))
        self._unused.discard(name)
        outcome = script.popleft() if len(script) > 1 else script[0]
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _remember(self, spec: JobSpec, given: Mapping[str, Any]) -> None:
        if spec.id not in self._jobs:
            self._jobs[spec.id] = Submitted(str(spec.kind), _as_written(str(spec.kind), given), spec, self._backend)


def _as_written(function: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs from the defaults of the function."""
    parameters = inspect.signature(getattr(Client, function)).parameters
    return {
        name: value
        for name, value in given.items()
        if name not in parameters or not _is_default(value, parameters[name].default)
    }


def _is_default(value: object, default: object) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))
