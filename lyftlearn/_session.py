"""What a client needs once it is used. Loaded then: an import of lyftlearn does not pay for it."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from lyftlearn._call.arguments import Arguments, check
from lyftlearn._contract import ids
from lyftlearn._contract.mounts import mount_of
from lyftlearn._registry import Registry
from lyftlearn._storage import set_default_region
from lyftlearn._submission.preparation import SubmissionBuilder
from lyftlearn._submission.submitter import JobSubmitter
from lyftlearn._text.display import printable_lines
from lyftlearn._text.redaction import redact, redact_causes
from lyftlearn.config import Config, load
from lyftlearn.errors import LyftLearnError
from lyftlearn.rollout import Decision, Rollout, in_use, of_caller
from lyftlearn.rollout.targeting import evaluation_context, repository_name
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._jobs.watcher import SharedWatch
    from lyftlearn._migration.recorder import MigrationRecorder
    from lyftlearn._submission.notebooks import Notebooks
    from lyftlearn.history.recorder import HistoryRecorder

Decider: TypeAlias = Callable[[Arguments], Decision]
Given: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | None


_JOB_ID = rf"(?<![a-z0-9-]){ids.PATTERN.pattern}(?![a-z0-9])"


def _redact_record(record: logging.LogRecord) -> bool:
    """Redact what is logged, tracebacks too, give it the id of the job that it names as `job_id`, and let it pass.

    Servers may have worded it, so it has nothing that a terminal would obey.
    """
    record.msg, record.args = "\n".join(printable_lines(redact(record.getMessage()))), ()
    found = re.search(_JOB_ID, record.msg)
    record.job_id = found[0] if found else ""
    if record.exc_info and record.exc_info[1] is not None:
        error = redact_causes(record.exc_info[1])
        record.exc_info = (type(error), error, error.__traceback__)
    return True


def _set_region_of_storage(config: Config) -> None:
    """Find buckets where the backends are, if the default AWS chain names no region and the configuration names one."""
    regions = {
        str(table["region"]) for table in config.tables.values() if isinstance(table, Mapping) and table.get("region")
    }
    if len(regions) == 1:
        set_default_region(*regions)


logging.getLogger("lyftlearn").addFilter(_redact_record)


class Session:
    """What a client needs once it is used: configuration, storage, backends.

    What comes after a submission is loaded after it: the platform is asked first.

    decider: says where each job goes in place of the rollout, for those who compare backends.
    """

    def __init__(self, config: Config, *, decider: Decider | None = None) -> None:
        self.config = config
        _set_region_of_storage(config)
        self.registry = Registry(config)
        self.builder = SubmissionBuilder(config, self.registry)
        self.submitter = JobSubmitter(self.builder)
        self._rollout = Rollout(config, self.registry.names)
        self._repository = repository_name(config) if config.migration_to else None
        self._decide = decider or self._decide_by_rollout
        self._history: HistoryRecorder | None = None
        self._recorder: MigrationRecorder | None = None
        self._watches: dict[str, SharedWatch] = {}
        self._lock = threading.RLock()

    @cached_property
    def notebooks(self) -> Notebooks:
        """The notebooks of the configuration's owner."""
        from lyftlearn._submission.notebooks import Notebooks  # noqa: PLC0415 - only for those who open one

        return Notebooks(self.builder, self.submitter, self.decide)

    @property
    def history(self) -> HistoryRecorder:
        """What is told of submissions and of ends."""
        with self._lock:
            if self._history is None:
                from lyftlearn.history.recorder import HistoryRecorder  # noqa: PLC0415 - as said above

                self._history = HistoryRecorder(self.config, self.registry)
            return self._history

    @property
    def recorder(self) -> MigrationRecorder:
        """What happens beside submissions."""
        with self._lock:
            if self._recorder is None:
                from lyftlearn._migration.recorder import MigrationRecorder  # noqa: PLC0415 - as said above

                self._recorder = MigrationRecorder(self.builder, self.submitter, self.history)
            return self._recorder

    def check(self, kind: JobKind, given: Mapping[str, Any]) -> Arguments:
        """Return the arguments of a call, checked. Raises InvalidJob, listing every fault."""
        return check(kind, given, self.config, self._is_seen)

    def _is_seen(self, path: str) -> bool:
        """Whether jobs of some backend in use see what is at `path` by themselves, although it is not here.

        Of a backend whose jobs see this machine's files, nothing is to be seen that is not here.
        """
        if mount_of(self.config.mounts(), path) is not None:
            return True
        for name in in_use(self.config):
            with suppress(LyftLearnError):  # whoever sends a job there is told
                capabilities = self.registry.get(name).capabilities()
                if capabilities.sees_path(path) and not capabilities.sees_this_machine:
                    return True
        return False

    def in_use(self) -> Sequence[str]:
        """Return the backends whose jobs are listed."""
        return in_use(self.config)

    def decide(self, arguments: Arguments, backend: str | None = None) -> Decision:
        """Return where a job of these arguments goes now, and why; to `backend` where it is named. Never raises."""
        return self._decide(arguments) if backend is None else of_caller(backend, self._context(arguments))

    def watch_of(self, job_id: str) -> SharedWatch:
        """Return the shared watch of the backend that the id names. Raises JobNotFound."""
        return self.watch(self.registry.of_job(job_id))

    def watch(self, name: str) -> SharedWatch:
        """Return the one watch of the backend `name`. Raises LyftLearnError if it is not installed or broken."""
        with self._lock:
            if name not in self._watches:
                from lyftlearn._jobs.watcher import SharedWatch  # noqa: PLC0415 - as said above

                self._watches[name] = SharedWatch(
                    self.registry.get(name), lambda: self.builder.storage, self.history.record_end
                )
            return self._watches[name]

    def close(self) -> None:
        """End the watchers."""
        for watch in self._watches.values():
            watch.close()

    def _decide_by_rollout(self, arguments: Arguments) -> Decision:
        return self._rollout.decide(self._context(arguments))

    def _context(self, arguments: Arguments) -> Mapping[str, Any]:
        return evaluation_context(self.config, arguments, self._repository)


def _make(given: Given) -> Session:
    return Session(load(given))


make: Callable[[Given], Session] = _make
"""Makes a client's session from its configuration. `lyftlearn.testing.Fake` has another in its place for a while."""
