"""A driver in this process, whose trials are files: it can be ended wherever it asks somebody, and begun anew."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lyftlearn
from lyftlearn import Choice, Objective, TuningJob, Uniform
from lyftlearn._storage._directory import DirectoryStorage
from lyftlearn.tuning.__main__ import drive

OLD = {"kinds": ["train", "tune"], "prints": "loss={rate}"}
AFTER_SIGTERM = 143


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Boundaries:
    """Every moment at which a driver has just asked, or is about to ask, the storage or the platform to keep something.

    at: what happens at each of them, which may raise.
    """

    at: Callable[[int], None] = lambda _: None
    crossed: int = 0
    submitted: list[str] = field(default_factory=list)

    def cross(self) -> None:
        self.crossed += 1
        self.at(self.crossed)

    def guard(self, action: Callable[..., Any], note: Callable[..., None] = lambda *_: None) -> Callable[..., Any]:
        def guarded(*arguments: Any) -> Any:
            self.cross()
            answer = action(*arguments)
            note(*arguments)
            self.cross()
            return answer

        return guarded

    def note(self, _: Any, spec: Any) -> None:
        self.submitted.append(spec.id)


@contextmanager
def watched(at: Callable[[int], None] = lambda _: None) -> Iterator[Boundaries]:
    """Let nothing be kept without passing these boundaries."""
    backend, boundaries = sys.modules["stores"].FileBackend, Boundaries(at)
    kept = {(owner, name): getattr(owner, name) for owner, name in _writers(backend)}
    for (owner, name), action in kept.items():
        setattr(owner, name, boundaries.guard(action, boundaries.note if owner is backend else lambda *_: None))
    try:
        yield boundaries
    finally:
        for (owner, name), action in kept.items():
            setattr(owner, name, action)


def _writers(backend: Any) -> list[tuple[Any, str]]:
    return [
        (DirectoryStorage, "create"),
        (DirectoryStorage, "write"),
        (DirectoryStorage, "replace"),
        (backend, "_commit"),
    ]


@dataclass
class Search:
    """A search that was called for, whose driver this process is as often as it is run."""

    job: TuningJob
    home: Path

    def run(self) -> int:
        """Be its driver, and return the exit code."""
        document = json.loads((self.home / "old" / self.job.id).read_text())["hyperparameters"]
        before = signal.getsignal(signal.SIGTERM)
        try:
            return drive(document)
        finally:
            signal.signal(signal.SIGTERM, before)

    def found(self) -> list[tuple[int, dict[str, Any], float | None]]:
        """What is known of its trials."""
        return [(trial.number, dict(trial.hyperparameters), trial.objective) for trial in self.job.trials()]

    def submitted(self, backend: str = "old") -> set[str]:
        """The ids of the trials' jobs that a backend has."""
        ids = set()
        for path in (self.home / backend).glob("[!.]*"):
            if json.loads(path.read_text())["labels"].get("lyftlearn/tuning") == self.job.id:
                ids.add(path.name)
        return ids


def call(client: lyftlearn.Client, home: Path, **changes: Any) -> Search:
    """Call for a search."""
    arguments: dict[str, Any] = {
        "command": "train",
        "space": {"rate": Uniform(low=0, high=1), "kind": Choice([1, "1", True])},
        "objective": Objective(name="loss", goal="minimize", pattern=r"loss=(.+)"),
        "trials": 3,
        "parallel": 2,
        "strategy": "random",
    }
    return Search(client.tune("eta", **arguments | changes), home)
