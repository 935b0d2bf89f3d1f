"""The contract, fulfilled with a cluster's API."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lyftlearn.backend import Backend, DriverSettings, runtime_archive
from lyftlearn.errors import InvalidJob, LyftLearnError
from lyftlearn_kubernetes import options
from lyftlearn_kubernetes.api.cluster import SILENCE, Cluster
from lyftlearn_kubernetes.api.process_lock import ProcessLock
from lyftlearn_kubernetes.submission import planner, runtime
from lyftlearn_kubernetes.submission.submitter import JobCreator

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from lyftlearn.backend import (
        BackendSettings,
        Bill,
        Capabilities,
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
    from lyftlearn_kubernetes.status.finder import JobFinder
    from lyftlearn_kubernetes.submission.runtime import RuntimeConfigMap


class KubernetesBackend(Backend):
    """Jobs in one namespace of one cluster. What talks to it is loaded when it is first used."""

    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._options = options.read(settings)
        self._capabilities = planner.capabilities(self._options)
        self._planner = planner.Planner(settings.name, self._options, settings.storage_url, self._runtime_config_map)
        self._cluster = Cluster(self._options)
        self._creator = JobCreator(self._cluster, self._jobs, settings.storage_url, self._planner.gang)
        self._finder: JobFinder | None = None
        self._lock = ProcessLock()
        self._known: set[str] = set()
        self.silence = SILENCE
        """Seconds without a byte after which a watch counts as dead."""

    def capabilities(self) -> Capabilities:
        """What Jobs can do."""
        return self._capabilities

    def driver_settings(self, model: str) -> DriverSettings:
        """The driver is a pod, and asks the API server as its own service account."""
        del model
        outside = ("kubeconfig", "context")
        return DriverSettings(table={key: value for key, value in self._settings.table.items() if key not in outside})

    def plan(self, spec: JobSpec) -> Plan:
        """The objects of a submission; the Job carries its own bundle."""
        return self._planner.plan(spec)

    def stored_job(self, job_id: str) -> StoredJob:
        """Read the Job: its pods' template has the bundle."""
        return self._jobs().stored_job(job_id)

    def plan_server(self, spec: JobSpec, layout: str | None = None) -> Plan:
        """A Deployment and its Service, or what KServe or Seldon make one from."""
        if layout not in (None, *planner.SERVER_LAYOUTS):
            raise InvalidJob([("layout", f"{layout!r} is none of {', '.join(planner.SERVER_LAYOUTS)}")])
        return self._planner.plan(spec, layout or planner.SERVER_LAYOUTS[0])

    def submit(self, plan: Plan) -> JobRecord:
        """Create the shared objects that are missing, then the Job."""
        record = self._creator.submit(plan)
        self._known.add(record.id)
        if plan.spec.notebook:
            from lyftlearn_kubernetes import notebooks  # noqa: PLC0415 - only for those

            with suppress(LyftLearnError):  # the run is accepted; who asks for its address makes up for it, or is told
                notebooks.ensure_token(self._cluster, self._jobs().document(record.id))
        return record

    def describe(self, job_id: str) -> JobRecord:
        """Read the Job and its pods; end it if it has waited for too long."""
        record = self._jobs().record(job_id)
        self._known.add(job_id)
        return record

    def registry_logins(self, spec: JobSpec) -> Sequence[Mapping[str, Any]]:
        """The pull secrets of the job's pods, as far as they may be read."""
        from lyftlearn_kubernetes.api import pull_secrets  # noqa: PLC0415 - for those who look at images

        return pull_secrets.registry_logins(self._cluster, self._planner.options_of(spec))

    def timings(self, job_id: str) -> Timings:
        """Read the Job, its pods, and what the kubelet said of their image."""
        return self._jobs().timings(job_id)

    def prices(self, machines: Collection[str]) -> Prices:
        """Those of the configuration: what pods request is paid for."""
        del machines
        return replace(self._options.prices, has_bills=self._options.opencost is not None)

    def bill(self, job_id: str, start: datetime, end: datetime) -> Bill | None:
        """Ask OpenCost, where one is configured."""
        if self._options.opencost is None:
            return None
        from lyftlearn_kubernetes import opencost  # noqa: PLC0415 - for those who count

        return opencost.bill(self._options.opencost, self._options.prices.currency, job_id, start, end)

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        """Two lists, whatever the number of jobs."""
        return self._jobs().records(query)

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        """From the pods, and from the storage where those are gone."""
        from lyftlearn_kubernetes.logs.reader import LogReader  # noqa: PLC0415 - for those who read them

        return LogReader(self._cluster, self._settings.storage_url).lines(job_id, query)

    def stop(self, job_id: str) -> None:
        """One patch: an annotation, and a deadline that has passed."""
        self._jobs().stop(job_id)

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        """One watch of Jobs and one of pods for every followed job."""
        return self._jobs().watch(following, self._known, self.silence)

    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        """Read the run's Secret, and ask its pod's readiness."""
        from lyftlearn_kubernetes import notebooks  # noqa: PLC0415 - for those who have one

        return notebooks.address(self._cluster, self._options, job_id)

    def diagnose(self) -> Iterator[Check]:
        """Version, namespace, permissions, quotas, storage, OpenCost."""
        from lyftlearn_kubernetes import doctor  # noqa: PLC0415 - for operators

        yield from doctor.checks(self._cluster, self._options, self._settings.storage_url)
        if self._options.opencost is not None:
            from lyftlearn_kubernetes import opencost  # noqa: PLC0415 - as above

            yield opencost.check(self._options.opencost)
        if self._settings.spark is not None and self._settings.spark.on_kubernetes:
            from lyftlearn_kubernetes import spark_doctor  # noqa: PLC0415 - as above

            yield from spark_doctor.checks(self._cluster, self._settings.spark, self._options)

    def _jobs(self) -> JobFinder:
        """What finds jobs: one for each process and backend, for it remembers what it saw."""
        with self._lock:
            if self._finder is None:
                from lyftlearn_kubernetes.status.finder import JobFinder  # noqa: PLC0415 - a submission needs none

                self._finder = JobFinder(self._cluster, self._options)
            return self._finder

    @cached_property
    def _runtime(self) -> RuntimeConfigMap:
        return runtime.runtime_config_map(runtime_archive(self._settings.home / "cache"))

    def _runtime_config_map(self) -> RuntimeConfigMap:
        return self._runtime
