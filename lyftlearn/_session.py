"""What a client needs once it is used. Loaded then: an import of lyftlearn does not pay for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from lyftlearn._call.arguments import Arguments, check
from lyftlearn._contract import ids
from lyftlearn._jobs.watcher import Connection
from lyftlearn._migration.recorder import Beside
from lyftlearn._registry import Registry
from lyftlearn._submission.preparation import Preparer
from lyftlearn._submission.submitter import Submitter
from lyftlearn.config import Config
from lyftlearn.errors import JobNotFound
from lyftlearn.rollout import Decision, Rollout, in_use, of_caller
from lyftlearn.rollout.targeting import attributes, repository
from lyftlearn.types import JobKind


class World:
    """What a client needs once it is used: configuration, storage, backends."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.registry = Registry(config)
        self.preparer = Preparer(config, self.registry)
        self.submitter = Submitter(self.preparer)
        self.beside = Beside(self.preparer, self.submitter)
        self._rollout = Rollout(config, self.registry.names)
        self._repository = repository(config) if config.migration_to else None
        self._connections: dict[str, Connection] = {}
        self._lock = threading.Lock()

    def check(self, kind: JobKind, given: Mapping[str, Any]) -> Arguments:
        """Return the arguments of a call, checked. Raises InvalidJob, listing every fault."""
        return check(kind, given)

    def in_use(self) -> Sequence[str]:
        """Return the backends whose jobs are listed."""
        return in_use(self.config)

    def decide(self, arguments: Arguments, backend: str | None = None) -> Decision:
        """Return where a job of these arguments goes now, and why; to `backend` where it is named. Never raises."""
        told = attributes(self.config, arguments, self._repository)
        return self._rollout.decide(told) if backend is None else of_caller(backend, told)

    def connection_of(self, job_id: str) -> Connection:
        """Return the connection to the backend that the id names. Raises JobNotFound."""
        parsed = ids.parse(job_id) if isinstance(job_id, str) else None
        if parsed is None:
            raise JobNotFound(f"{job_id!r} is no job id: write it as `Job.id` gave it")
        name = self.registry.with_letter(parsed.letter)
        if name is None:
            raise JobNotFound(f"{job_id}: no installed backend has the letter {parsed.letter!r} in its ids")
        return self.connection(name)

    def connection(self, name: str) -> Connection:
        """Return the one connection to the backend `name`. Raises LyftLearnError if it is not installed or broken."""
        with self._lock:
            if name not in self._connections:
                self._connections[name] = Connection(self.registry.get(name))
            return self._connections[name]

    def close(self) -> None:
        """End the watchers."""
        for connection in self._connections.values():
            connection.close()
