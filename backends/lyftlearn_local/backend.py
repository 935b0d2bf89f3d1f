"""The backend: plans, files and supervisors behind the contract."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import (
    Backend,
    Capabilities,
    Capability,
    DriverSettings,
    Never,
    NotYet,
    open_storage,
    runtime_archive,
)
from lyftlearn.errors import JobNotFound
from lyftlearn_local import cgroups, options
from lyftlearn_local.planning import interpreter
from lyftlearn_local.planning.planner import WRITE_BUNDLE, WRITE_RECORD, Machine, Planner
from lyftlearn_local.store import notebook, watcher
from lyftlearn_local.store.environment import clean_environment, driver_environment
from lyftlearn_local.store.files import BrokenRecord
from lyftlearn_local.store.jobs import Jobs
from lyftlearn_local.store.records import job_record, job_timings
from lyftlearn_local.store.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from lyftlearn.backend import (
        BackendSettings,
        Check,
        JobQuery,
        JobRecord,
        JobSpec,
        LogLine,
        LogQuery,
        NotebookAddress,
        Plan,
        Prices,
        StoredJob,
        Timings,
        WatchSet,
    )
    from lyftlearn.events import JobEvent
    from lyftlearn_local.store.files import JobFiles

_OFFERED = frozenset(
    (
        Capability.TRAIN,
        Capability.PROCESS,
        Capability.PREDICT,
        Capability.TUNE,
        Capability.NOTEBOOK,
        Capability.SEVERAL_NODES,
        Capability.LOCAL_PATHS,
    )
)
_THIS_MACHINE = ("/",)
_NO_TOGETHER = NotYet("the nodes would not start anew together")
_NO_REPLACEMENT = Never("a job here ends with its supervisor or this machine, and nobody starts it again")


class LocalBackend(Backend):
    """Runs jobs on this machine."""

    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self._home = settings.home
        self._storage_url = settings.storage_url
        self._jobs = Jobs(settings.name, settings.home / settings.name)
        self._options = options.read(settings)
        self._table = settings.table
        self._machine: Machine | None = None

    @property
    def machine(self) -> Machine:
        """What this machine can give; looked up on first use."""
        if self._machine is None:
            self._machine = Machine(self._options, self.name)
        return self._machine

    def capabilities(self) -> Capabilities:
        """Return what can be had on this machine."""
        lacks: dict[Capability, str] = {
            Capability.RETRIES_ON_SEVERAL_NODES: _NO_TOGETHER,
            Capability.REPLACEMENT: _NO_REPLACEMENT,
        }
        if self.machine.no_namespaces:
            lacks[Capability.CONTRACT_PATHS] = Never(self.machine.no_namespaces)
        if not self.machine.limits_memory:
            lacks[Capability.MEMORY_LIMIT] = Never(f"no control group can be made here: {cgroups.REMEDY}")
        own = {Capability.CONTRACT_PATHS, Capability.MEMORY_LIMIT} - lacks.keys()
        return Capabilities(offers=_OFFERED | own, lacks=lacks, sees=_THIS_MACHINE)

    def driver_settings(self, model: str) -> DriverSettings:
        """Return the interpreter of this very process, with all that it finds, and this user's home."""
        del model
        secrets, python = str(self._options.secrets), self.machine.python
        return DriverSettings(
            python=interpreter.find(None) or python,
            env=driver_environment(python),
            table={**self._table, "secrets": secrets, "python": python},
            home=self._home.absolute(),
        )

    def plan(self, spec: JobSpec) -> Plan:
        """Return what would be written and started."""
        return self._planner.plan(spec)

    def registry_logins(self, spec: JobSpec) -> Sequence[Mapping[str, Any]] | None:
        """An engine has what this machine has."""
        return () if self._planner.runs_in_image(spec) else None

    @property
    def _planner(self) -> Planner:
        return Planner(self.name, self._jobs.store.jobs, self._options, self.machine)

    def submit(self, plan: Plan) -> JobRecord:
        """Write the job's directory and start its supervisor."""
        bodies = {request.operation: request.body for request in plan.requests}
        record = {**bodies[WRITE_RECORD], "created_at": round(time.time(), 6)}
        environment, runtime = clean_environment(self.machine.python), runtime_archive(self._home / "cache")
        files = self._jobs.submit(Submission(record, bodies[WRITE_BUNDLE], environment, runtime))
        return self._record(files)

    def describe(self, job_id: str) -> JobRecord:
        """Read the job's files."""
        with self._jobs.absence_of(job_id):
            return self._record(self._jobs.find(job_id))

    def stored_job(self, job_id: str) -> StoredJob:
        """Read the job's bundle, and which image it ran in, if it did."""
        from lyftlearn.backend import StoredJob  # noqa: PLC0415 - a submission does without

        files = self._jobs.find(job_id)
        container = files.record()["run"].get("container") or {}
        try:
            return StoredJob(image=container.get("image"), bundle=files.bundle())
        except BrokenRecord as error:
            raise JobNotFound(f"{self.name} cannot tell what {job_id} was made from: {error}") from error

    def plan_server(self, spec: JobSpec, layout: str | None = None) -> Plan:
        """A server on this machine is a job without an end."""
        return self.plan(spec) if layout is None else super().plan_server(spec, layout)

    def timings(self, job_id: str) -> Timings:
        """Read when the job's supervisor wrote its events."""
        with self._jobs.absence_of(job_id):
            files = self._jobs.find(job_id)
            record = files.record()
            self._jobs.newest(files, record)  # settles one whose supervisor is gone
            return job_timings(record, files.events())

    def prices(self, machines: Collection[str]) -> Prices:
        """Those of the configuration, for whoever pays for this machine."""
        del machines
        return self._options.prices

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        """Yield the matching jobs, newest first."""
        for files in self._jobs.newest_first(query.since):
            try:
                record = self._record(files)
            except (BrokenRecord, OSError) as error:  # also one that is just being removed
                self._jobs.name_broken(files, error)
                continue
            if query.matches(record):
                yield record

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """Yield the lines that the supervisor kept."""
        from lyftlearn_local.logs import reader  # noqa: PLC0415 - as above

        files = self._jobs.find(job_id)
        return reader.read(files, query, lambda: self.describe(job_id).event.status.finished)

    def stop(self, job_id: str) -> None:
        """Write the wish beside the job, and wake its supervisor."""
        with self._jobs.absence_of(job_id):
            files = self._jobs.find(job_id)
            self._jobs.stop(files, files.record())

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        """Look at the followed jobs' files, seldom while nothing happens."""
        return watcher.watch(self._jobs, following)

    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        """Read what the run's runtime wrote beside it, once JupyterLab answered."""
        return notebook.address(self._jobs.find(job_id))

    def remove_finished(self, before: datetime, *, dry_run: bool = False) -> Iterator[tuple[str, int]]:
        """Remove the directories of jobs that ended before then. What they printed goes into the storage."""
        from lyftlearn_local.logs import reader  # noqa: PLC0415 - as above
        from lyftlearn_local.store import removal  # noqa: PLC0415 - as above

        keep_log = partial(reader.keep, open_storage(self._storage_url))
        return removal.remove_finished(self._jobs, before, keep_log, dry_run=dry_run)

    def diagnose(self) -> Iterator[Check]:
        """Look at what jobs here depend on."""
        from lyftlearn_local import doctor  # noqa: PLC0415 - as above

        return doctor.checks(self._jobs, self._options, self.machine)

    def _record(self, files: JobFiles) -> JobRecord:
        record = files.record()
        return job_record(record, self._jobs.newest(files, record))
