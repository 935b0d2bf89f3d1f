"""The backend: plans are pure and light, everything else goes through boto3."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from typing_extensions import override

from lyftlearn.backend import Backend, Capabilities, Capability, DriverSettings, Never, WatchSet, open_storage
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus
from lyftlearn_sagemaker.api.errors import AwsError, translate_errors
from lyftlearn_sagemaker.log_text import writing_of
from lyftlearn_sagemaker.options import read_table
from lyftlearn_sagemaker.status.tracked import RecentSubmissions
from lyftlearn_sagemaker.submission.channels import bundle_uri_of
from lyftlearn_sagemaker.submission.planner import Planner
from lyftlearn_sagemaker.submission.regions import console_link

if TYPE_CHECKING:
    from datetime import timedelta

    from lyftlearn.backend import (
        BackendSettings,
        Check,
        JobQuery,
        JobRecord,
        JobSpec,
        KeptLog,
        LogLine,
        LogQuery,
        NotebookAddress,
        Plan,
        Prices,
        Storage,
        StoredJob,
        Timings,
        Usage,
    )
    from lyftlearn_sagemaker.api.client import AwsClient
    from lyftlearn_sagemaker.status.ends import JobEnds
    from lyftlearn_sagemaker.status.finder import Finder
    from lyftlearn_sagemaker.status.poller import Poller
    from lyftlearn_sagemaker.submission.submitter import JobCreator

_LARGEST_BUNDLE = 64 << 20  # bytes: hyperparameters alone may have a quarter
CAPABILITIES = Capabilities(
    offers=frozenset(
        (
            Capability.TRAIN,
            Capability.PROCESS,
            Capability.PREDICT,
            Capability.TUNE,
            Capability.NOTEBOOK,
            Capability.SEVERAL_NODES,
            Capability.REPLACEMENT,
            Capability.CONTRACT_PATHS,
        )
    ),
    lacks={
        Capability.RETRIES_ON_SEVERAL_NODES: Never("the nodes of a training job cannot be started anew together"),
        Capability.LOCAL_PATHS: Never("its machines do not see this one's files"),
        Capability.MEMORY_LIMIT: Never(
            "a job may use all the memory of its instance, which is more than was asked for"
        ),
    },
)


class SageMakerBackend(Backend):
    """Jobs as SageMaker training jobs. Nothing is contacted before a method needs it."""

    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._options = read_table(settings.name, settings.table, settings.models, settings.mounts)
        self._capabilities = replace(CAPABILITIES, sees=tuple(mount.path for mount in self._options.mounts))
        self._planner = Planner(settings, self._options, self.unmet)
        self._recent = RecentSubmissions()
        self._ends_by_process: dict[int, JobEnds] = {}

    @override
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @override
    def driver_settings(self, model: str) -> DriverSettings:
        return DriverSettings(python=self._options.of(model).python)

    @override
    def plan(self, spec: JobSpec) -> Plan:
        return self._planner.plan(spec)

    @override
    def plan_server(self, spec: JobSpec, layout: str | None = None) -> Plan:
        return self._planner.plan_endpoint(spec) if layout is None else super().plan_server(spec, layout)

    @override
    def stored_job(self, job_id: str) -> StoredJob:
        from lyftlearn.backend import StoredJob  # noqa: PLC0415 - loads what a submission does not need

        with translate_errors(job_id):
            described, _ = self._finder.job(job_id)
            uri = bundle_uri_of(described)
            stored = uri and self._storage.read(uri.removeprefix(f"{self._storage.url}/"), _LARGEST_BUNDLE)
        if not stored:
            raise JobNotFound(f"the bundle of {job_id} is not at {uri or 'any place that it names'}")
        return StoredJob(image=described["AlgorithmSpecification"].get("TrainingImage"), bundle=json.loads(stored.data))

    @override
    def submit(self, plan: Plan) -> JobRecord:
        with translate_errors():
            record = self._creator.submit(plan)
        self._recent.add(record.event)
        return record

    @override
    def describe(self, job_id: str) -> JobRecord:
        with translate_errors(job_id):
            return self._finder.record(job_id)

    @override
    def timings(self, job_id: str) -> Timings:
        from lyftlearn_sagemaker.status.timings import timings  # noqa: PLC0415

        with translate_errors(job_id):
            described, record = self._finder.job(job_id)
            return timings(described, warm=self._finder.is_warm(described, record))

    @override
    def prices(self, machines: Collection[str]) -> Prices:
        from lyftlearn_sagemaker.pricing import PriceList, own_prices  # noqa: PLC0415 - for those who count

        own = own_prices(self.name, self._settings.table)
        if all(machine in own.instances for machine in machines):
            return own
        with translate_errors("prices"):
            listed = PriceList(self._settings.home / "cache" / "prices", self.aws.region).prices(machines)
        return replace(listed, instances={**listed.instances, **own.instances})

    @override
    def instance_type(self, plan: Plan) -> str | None:
        from lyftlearn_sagemaker.submission.instances import first_instance  # noqa: PLC0415 - as above

        create = next((one.body for one in plan.requests if "ResourceConfig" in one.body), None)
        return None if create is None else first_instance(create["ResourceConfig"])

    @override
    def usage(self, job_id: str) -> Usage | None:
        from lyftlearn_sagemaker.pricing import usage  # noqa: PLC0415 - as above

        with translate_errors(job_id):
            return usage(self._finder.job(job_id)[0])

    @override
    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        with translate_errors():
            yield from self._finder.search(query)

    @override
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        from lyftlearn_sagemaker.api.patience import Patience  # noqa: PLC0415
        from lyftlearn_sagemaker.logs import LoggedJob, LogReader  # noqa: PLC0415

        with translate_errors(job_id):
            found = partial(self._finder.job, job_id)
            described, record = Patience().bear(found) if query.follow else found()
            nodes, writing = described["ResourceConfig"]["InstanceCount"], writing_of(described.get("Environment", {}))
            ends = self._ends
            names = partial(self._finder.training_jobs, job_id)
            job = LoggedJob(job_id, names, nodes, writing, lambda soon: ends.end(job_id, soon=soon))
            ends.add(record.event)
            try:
                yield from LogReader(self.aws, job, query, self._options.log_settle).lines()
            finally:
                ends.discard(job_id)

    @override
    def kept_log(self, job_id: str, query: LogQuery) -> KeptLog | None:
        from lyftlearn_sagemaker.kept_log import kept_log  # noqa: PLC0415

        with translate_errors("the log of a job that is gone"):
            names = self._finder.training_jobs_left(job_id)
        return kept_log(self.aws, job_id, names, query)

    @override
    def stop(self, job_id: str) -> None:
        with translate_errors(job_id):
            if self._is_ending(job_id):  # of somebody else's job this raises JobNotFound
                return
            try:
                if self._finder.service_jobs.queues_of(frozenset((job_id,))):
                    self._finder.service_jobs.terminate(job_id)
                else:
                    self.aws.call("sagemaker", "stop_training_job", {"TrainingJobName": job_id})
            except AwsError:
                if not self._is_ending(job_id):
                    raise

    @override
    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        from lyftlearn_sagemaker.status.watcher import (  # noqa: PLC0415
            SHARED_FOR,
            Queue,
            watch_by_polling,
            watch_by_queue,
        )

        with translate_errors():
            if self._options.events:
                poller = self._poller(following, recent_age=SHARED_FOR / 2)
                yield from watch_by_queue(poller, following, Queue(self.aws, self._options.events))
            else:
                yield from watch_by_polling(self._poller(following), following)

    @override
    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        from lyftlearn_sagemaker import notebooks  # noqa: PLC0415

        with translate_errors(job_id):
            described, record = self._finder.job(job_id)
            return notebooks.address(self.aws.region, described, record)

    @override
    def link(self, job_id: str) -> str | None:
        """Return where a person sees the job in AWS's console, or None if no region is known. Asks nobody."""
        region = self._options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return console_link(region, job_id) if region else None

    @override
    def diagnose(self) -> Iterator[Check]:
        from lyftlearn_sagemaker.doctor import checks  # noqa: PLC0415

        return checks(self._settings, self._options, self.aws.impatient())

    @cached_property
    def aws(self) -> AwsClient:
        """What sends requests."""
        from lyftlearn_sagemaker.api.client import AwsClient  # noqa: PLC0415 - loads botocore

        return AwsClient(self._options.region)

    @cached_property
    def _finder(self) -> Finder:
        from lyftlearn_sagemaker.status.finder import Finder  # noqa: PLC0415
        from lyftlearn_sagemaker.status.service_jobs import ServiceJobs  # noqa: PLC0415

        return Finder(self.aws, ServiceJobs(self.aws, self._options.queues))

    def _poller(self, following: WatchSet, recent_age: timedelta | None = None) -> Poller:
        from lyftlearn_sagemaker.status.poller import Poller  # noqa: PLC0415
        from lyftlearn_sagemaker.status.shared_lists import SharedLists  # noqa: PLC0415
        from lyftlearn_sagemaker.status.tracked import RECENT  # noqa: PLC0415

        rate = self._options.lists_per_second
        shared = SharedLists(lambda: self._storage, rate) if rate else None
        return Poller(self.aws, self._finder, self._recent, following, recent_age=recent_age or RECENT, shared=shared)

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self._settings.storage_url, self._options.region)

    @cached_property
    def _creator(self) -> JobCreator:
        from lyftlearn_sagemaker.submission.submitter import JobCreator  # noqa: PLC0415

        finder = self._finder
        return JobCreator(
            self.aws,
            self._planner,
            lambda: self._storage,
            describe=finder.recent_record,
            remember=finder.service_jobs.remember,
        )

    @property
    def _ends(self) -> JobEnds:
        """Of this process: a child must not wait for a lock that its parent held."""
        from lyftlearn_sagemaker.status.ends import JobEnds  # noqa: PLC0415

        if os.getpid() not in self._ends_by_process:
            watched = WatchSet()
            ends = JobEnds(self._poller(watched), watched)
            self._ends_by_process = {os.getpid(): ends}
        return self._ends_by_process[os.getpid()]

    def _is_ending(self, job_id: str) -> bool:
        """Whether a stop is not needed any more, whatever AWS says to it."""
        status = self._finder.record(job_id).event.status
        return status.finished or status is JobStatus.STOPPING
