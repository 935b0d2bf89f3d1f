"""The contract, fulfilled with a cluster's API."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lyftlearn.backend import Backend, runtime_archive
from lyftlearn_kubernetes import _doctor, _jobs, _listing, _names, _observed, _options, _plan, _program
from lyftlearn_kubernetes._cluster import JOBS, Cluster
from lyftlearn_kubernetes._errors import translated
from lyftlearn_kubernetes._follow import Follower
from lyftlearn_kubernetes._jobs import Judge
from lyftlearn_kubernetes._logs import LogReader
from lyftlearn_kubernetes._submit import Submitter
from lyftlearn_kubernetes._watch import SILENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lyftlearn.backend import (
        BackendSettings,
        Capabilities,
        Check,
        Following,
        JobQuery,
        JobRecord,
        JobSpec,
        LogLine,
        LogQuery,
        Plan,
    )
    from lyftlearn.events import JobEvent
    from lyftlearn_kubernetes._program import Program


class KubernetesBackend(Backend):
    """Jobs in one namespace of one cluster. What talks to it is loaded when it is first used."""

    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._options = _options.read(settings)
        self._capabilities = _plan.capabilities(self._options)
        self._planner = _plan.Planner(settings.name, self._options, settings.storage_url, self._program)
        self._cluster = Cluster(self._options)
        self._judge = Judge(self._cluster, self._options)
        self._submitter = Submitter(self._cluster, self._judge, settings.storage_url)
        self._known: set[str] = set()
        self.silence = SILENCE
        """Seconds without a byte after which a watch counts as dead."""

    def capabilities(self) -> Capabilities:
        return self._capabilities

    def plan(self, spec: JobSpec) -> Plan:
        return self._planner.plan(spec)

    def submit(self, plan: Plan) -> JobRecord:
        record = self._submitter.submit(plan)
        self._known.add(record.id)
        return record

    def describe(self, job_id: str) -> JobRecord:
        document = _jobs.fetch(self._cluster, job_id)
        pods = _jobs.pods_of(self._cluster, job_id)
        job = self._judge.end_if_overdue(_observed.job(document), pods)
        self._known.add(job_id)
        return _jobs.record(document, self._judge.event(job, pods))

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return _listing.matching(self._cluster, query)

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        return LogReader(self._cluster, self._settings.storage_url).lines(job_id, query)

    def stop(self, job_id: str) -> None:
        job = _observed.job(_jobs.fetch(self._cluster, job_id))
        if job.finished or job.stop is not None:
            return
        wish = _jobs.ending({_names.STOP: f"{_jobs.now():%Y-%m-%dT%H:%M:%S.%fZ}"})
        with translated("stopping jobs"):
            self._cluster.patch(JOBS, job_id, wish)

    def watch(self, following: Following) -> Iterator[JobEvent]:
        return Follower(self._cluster, self._judge, self._known, self.silence).events(following)

    def outputs(self, job_id: str) -> Mapping[str, str]:
        return _jobs.outputs(_jobs.fetch(self._cluster, job_id))

    def diagnose(self) -> Iterator[Check]:
        return _doctor.checks(self._cluster, self._options, self._settings.storage_url)

    @cached_property
    def _archive(self) -> Program:
        return _program.program(runtime_archive(self._settings.home / "cache"))

    def _program(self) -> Program:
        return self._archive
