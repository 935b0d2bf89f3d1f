"""A backend that does everything as the local one does, but for one thing, which `[broken] way` names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from lyftlearn.backend import (
    Backend,
    BackendSettings,
    Capabilities,
    DriverSettings,
    JobQuery,
    JobRecord,
    JobSpec,
    LogLine,
    LogQuery,
    NotebookAddress,
    Plan,
    WatchSet,
)
from lyftlearn.errors import AccessDenied, QuotaExceeded
from lyftlearn.events import JobEvent
from lyftlearn.types import JobKind, JobStatus
from lyftlearn_local import create as create_local


class Whole(Backend):
    """Broken in no way."""

    def __init__(self, settings: BackendSettings) -> None:
        self.name = settings.name
        self.settings = settings
        table = {key: value for key, value in settings.table.items() if key != "way"}
        self.inner = create_local(replace(settings, name="local", home=settings.home / "broken", table=table))

    def capabilities(self) -> Capabilities:
        return self.inner.capabilities()

    def plan(self, spec: JobSpec) -> Plan:
        return replace(self.inner.plan(self.asked(spec)), backend=self.name)

    def submit(self, plan: Plan) -> JobRecord:
        return self.inner.submit(plan)

    def describe(self, job_id: str) -> JobRecord:
        record = self.inner.describe(job_id)
        return replace(record, event=self.told(record.event))

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return self.inner.list(query)

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        return self.read(self.inner.logs(job_id, query))

    def stop(self, job_id: str) -> None:
        self.inner.stop(job_id)

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        return map(self.told, self.inner.watch(following))

    def outputs(self, job_id: str) -> Mapping[str, str]:
        return self.inner.outputs(job_id)

    def driver_settings(self, model: str) -> DriverSettings:
        return replace(self.inner.driver_settings(model), table=self.settings.table, home=self.settings.home)

    def notebook_address(self, job_id: str) -> NotebookAddress | None:
        return self.inner.notebook_address(job_id)

    def asked(self, spec: JobSpec) -> JobSpec:
        """What becomes of a job that is asked for."""
        return spec

    def told(self, event: JobEvent) -> JobEvent:
        """What becomes of news."""
        return event

    def read(self, lines: Iterator[LogLine]) -> Iterator[LogLine]:
        """What becomes of lines."""
        return lines


def _around(spec: JobSpec, script: str) -> JobSpec:
    """The command in a shell, as `"$@"`."""
    return replace(spec, command=("/bin/sh", "-c", script.replace("$$", "$$$$"), "sh", *spec.command))


class DropsAVariable(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return replace(spec, env={name: value for name, value in spec.env.items() if name != "PARITY_SPACES"})


class AddsAVariable(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return replace(spec, env={**spec.env, "PLATFORM_VERSION": "7"})


class LeaksASecret(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return replace(spec, env={**spec.env, "GREETING": "hello $(WAREHOUSE_PASSWORD)"})


class OpensASecret(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return _around(spec, 'chmod 0644 "$LYFTLEARN_SECRETS_DIR/warehouse/WAREHOUSE_PASSWORD"; exec "$@"')


class StringifiesANumber(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        given = json.loads(spec.hyperparameters)
        return replace(spec, hyperparameters=json.dumps({**given, "whole": str(given.get("whole"))}))


class ChangesTheDirectory(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return _around(spec, 'cd /; exec "$@"')


class ChangesTheUmask(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return _around(spec, 'umask 077; exec "$@"')


class LosesEmptyDirectories(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return _around(spec, '"$@" || exit; rmdir "$LYFTLEARN_MODEL_DIR/hollow/within"')


class LosesAMode(Whole):
    def asked(self, spec: JobSpec) -> JobSpec:
        return _around(spec, '"$@" || exit; chmod 0644 "$LYFTLEARN_MODEL_DIR/run.sh"')


class SwallowsExitCodes(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, exit_code=min(event.exit_code, 1)) if event.exit_code else event


class LosesTheMessage(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, message="the job failed") if event.status is JobStatus.FAILED else event


class CallsTimeoutsStops(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, status=JobStatus.STOPPED) if event.reason == "timeout" else event


class ForgetsAttempts(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, attempt=1)


class LosesTheLastLine(Whole):
    def read(self, lines: Iterator[LogLine]) -> Iterator[LogLine]:
        own = [line for line in lines if not line.text.startswith("lyftlearn: ")]  # what the command printed
        return iter(own[:-1])


class DoublesALine(Whole):
    def read(self, lines: Iterator[LogLine]) -> Iterator[LogLine]:
        for line in lines:
            yield line
            if line.text.startswith("tab|"):
                yield line


class CutsLines(Whole):
    def read(self, lines: Iterator[LogLine]) -> Iterator[LogLine]:
        return (replace(line, text=line.text[:50_000]) for line in lines)


class RefusesEverything(Whole):
    def submit(self, plan: Plan) -> JobRecord:
        raise AccessDenied(f"batch/jobs may not be created for {plan.spec.id.partition('-')[0]}")


class NeverStarts(Whole):
    def submit(self, plan: Plan) -> JobRecord:
        return JobRecord.of(plan.spec, datetime.now(UTC))

    def describe(self, job_id: str) -> JobRecord:
        event = JobEvent(job_id=job_id, status=JobStatus.PENDING, at=datetime.now(UTC))
        kind = JobKind.TRAIN
        return JobRecord(id=job_id, kind=kind, name="", labels={}, digest="", decision="{}", event=event)

    def stop(self, job_id: str) -> None:
        """Take note of the wish, as a queue does."""


class TakesOneAtATime(Whole):
    def submit(self, plan: Plan) -> JobRecord:
        if any(not record.event.status.finished for record in self.list(JobQuery())):
            raise QuotaExceeded("1 of 1 jobs")
        return super().submit(plan)


def create(settings: BackendSettings) -> Backend:
    """What the entry point names."""
    made: Backend = globals()[settings.table["way"]](settings)
    return made
