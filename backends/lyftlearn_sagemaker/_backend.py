"""The backend: plans are pure and light, everything else goes through boto3."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from lyftlearn.backend import (
    Backend,
    BackendSettings,
    Capabilities,
    Capability,
    Check,
    Following,
    JobQuery,
    JobRecord,
    LogLine,
    LogQuery,
    Plan,
    Storage,
    open_storage,
)
from lyftlearn.errors import InvalidJob
from lyftlearn.events import JobEvent
from lyftlearn_sagemaker._options import read_options
from lyftlearn_sagemaker._plan import Planner
from lyftlearn_sagemaker._record import outputs_of_job
from lyftlearn_sagemaker._told import Accepted

if TYPE_CHECKING:
    from lyftlearn.backend import JobSpec
    from lyftlearn_sagemaker._calls import Calls
    from lyftlearn_sagemaker._find import Finder
    from lyftlearn_sagemaker._logs import JobEnd
    from lyftlearn_sagemaker._submit import Submitter

CAPABILITIES = Capabilities(
    offers=frozenset(
        (
            Capability.TRAIN,
            Capability.PROCESS,
            Capability.PREDICT,
            Capability.SEVERAL_NODES,
            Capability.CONTRACT_PATHS,
        )
    ),
    lacks={
        Capability.TUNE: "tuning jobs are not built yet",
        Capability.NOTEBOOK: "notebooks are not built yet",
        Capability.RETRIES_ON_SEVERAL_NODES: "the nodes of a training job cannot be started anew together",
        Capability.LOCAL_PATHS: "its machines do not see this one's files",
        Capability.MEMORY_LIMIT: "a job may use all the memory of its instance, which is more than was asked for",
    },
)


class SageMakerBackend(Backend):
    """Jobs as SageMaker training jobs. Nothing is contacted before a method needs it."""

    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._options = read_options(settings.name, settings.table)
        self._planner = Planner(settings, self._options, self.unmet)
        self._accepted = Accepted()

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def plan(self, spec: JobSpec) -> Plan:
        return self._planner.plan(spec)

    def submit(self, plan: Plan) -> JobRecord:
        record = self._submitter.submit(plan)
        self._accepted.note(record.event)
        return record

    def describe(self, job_id: str) -> JobRecord:
        return self._finder.record(job_id)

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return self._finder.search(query)

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        from lyftlearn_sagemaker._logs import LogReader  # noqa: PLC0415

        reader = LogReader(self.calls, job_id, query, self._options.log_settle, lambda: self._end(job_id))
        return reader.lines()

    def stop(self, job_id: str) -> None:
        self._finder.job(job_id)  # a job of somebody else is not stopped
        try:
            self.calls.call("sagemaker", "stop_training_job", {"TrainingJobName": job_id}, job_id=job_id)
        except InvalidJob:
            if not self.describe(job_id).event.status.finished:
                raise

    def watch(self, following: Following) -> Iterator[JobEvent]:
        from lyftlearn_sagemaker._poll import Poller  # noqa: PLC0415
        from lyftlearn_sagemaker._watch import Queue, watch_by_polling, watch_by_queue  # noqa: PLC0415

        poller = Poller(self.calls, self._finder, self._accepted, following)
        if self._options.events:
            return watch_by_queue(poller, following, Queue(self.calls, self._options.events))
        return watch_by_polling(poller, following)

    def outputs(self, job_id: str) -> Mapping[str, str]:
        return outputs_of_job(self._finder.job(job_id))

    def link(self, job_id: str) -> str | None:
        """Return where a person sees the job in AWS's console, or None if no region is known. Asks nobody."""
        region = self._options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return (
            f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/jobs/{job_id}" if region else None
        )

    def diagnose(self) -> Iterator[Check]:
        from lyftlearn_sagemaker._diagnose import checks  # noqa: PLC0415

        return checks(self._settings, self._options, self.calls)

    @cached_property
    def calls(self) -> Calls:
        """What sends requests."""
        from lyftlearn_sagemaker._calls import Calls  # noqa: PLC0415 - loads botocore

        return Calls(self._options.region)

    @cached_property
    def _finder(self) -> Finder:
        from lyftlearn_sagemaker._find import Finder  # noqa: PLC0415

        return Finder(self.calls)

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self._settings.storage_url)

    @cached_property
    def _submitter(self) -> Submitter:
        from lyftlearn_sagemaker._submit import Submitter  # noqa: PLC0415

        return Submitter(self.calls, self._planner, lambda: self._storage, self.describe)

    def _end(self, job_id: str) -> JobEnd:
        from lyftlearn_sagemaker._logs import JobEnd  # noqa: PLC0415

        event = self.describe(job_id).event
        return JobEnd(event.at if event.status.finished else None)
