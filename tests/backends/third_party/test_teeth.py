"""The suite refuses backends that are broken in the ways that backends break."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lyftlearn.backend import (
    Backend,
    BackendSettings,
    Capabilities,
    JobQuery,
    JobRecord,
    JobSpec,
    LogLine,
    LogQuery,
    Plan,
    WatchSet,
)
from lyftlearn.errors import JobNotFound
from lyftlearn.events import JobEvent
from lyftlearn.testing import Harness, conformance
from lyftlearn.types import JobStatus


class Whole(Backend):
    """Everything as another backend does it; subclasses break one thing each."""

    def __init__(self, inner: Backend) -> None:
        self.inner, self.name = inner, inner.name

    def capabilities(self) -> Capabilities:
        return self.inner.capabilities()

    def plan(self, spec: JobSpec) -> Plan:
        return self.inner.plan(spec)

    def submit(self, plan: Plan) -> JobRecord:
        return self.inner.submit(plan)

    def describe(self, job_id: str) -> JobRecord:
        record = self.inner.describe(job_id)
        return replace(record, event=self.told(record.event))

    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return self.inner.list(query)

    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        return self.inner.logs(job_id, query)

    def stop(self, job_id: str) -> None:
        self.inner.stop(job_id)

    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        return map(self.told, self.inner.watch(following))

    def outputs(self, job_id: str) -> Mapping[str, str]:
        return self.inner.outputs(job_id)

    def told(self, event: JobEvent) -> JobEvent:
        return event


class SwallowsExitCodes(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, exit_code=min(event.exit_code, 1)) if event.exit_code else event


class CallsStopsSuccess(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, status=JobStatus.SUCCEEDED) if event.status is JobStatus.STOPPED else event


class CallsTimeoutsStops(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, status=JobStatus.STOPPED) if event.reason == "timeout" else event


class LosesTheMessage(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, message="the job failed")


class ForgetsAttempts(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, attempt=1)


class SeesNoRunning(Whole):
    def told(self, event: JobEvent) -> JobEvent:
        return replace(event, status=JobStatus.PENDING) if event.status is JobStatus.RUNNING else event


class LosesTheLastLine(Whole):
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        lines = list(self.inner.logs(job_id, query))
        return iter(lines[:-1])


class RepeatsALine(Whole):
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        lines = list(self.inner.logs(job_id, query))
        return iter([*lines, *lines[-1:]])


class TakesASilenceForTheEnd(Whole):
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        return self.inner.logs(job_id, replace(query, follow=False))


class StripsLines(Whole):
    def logs(self, job_id: str, query: LogQuery) -> Iterator[LogLine]:
        return (replace(line, text=line.text.strip()) for line in self.inner.logs(job_id, query))


class LosesAVariable(Whole):
    def plan(self, spec: JobSpec) -> Plan:
        return self.inner.plan(replace(spec, env=dict(list(spec.env.items())[1:])))


class CutsVariables(Whole):
    def plan(self, spec: JobSpec) -> Plan:
        return self.inner.plan(replace(spec, env={name: value[:512] for name, value in spec.env.items()}))


class TurnsTruthsIntoText(Whole):
    def plan(self, spec: JobSpec) -> Plan:
        return self.inner.plan(replace(spec, hyperparameters=spec.hyperparameters.replace(": true", ': "true"')))


class TakesAnyDigest(Whole):
    def submit(self, plan: Plan) -> JobRecord:
        try:
            return self.inner.describe(plan.spec.id)
        except JobNotFound:
            return self.inner.submit(plan)


class RunsAgain(Whole):
    def submit(self, plan: Plan) -> JobRecord:
        record, own = self.inner.submit(plan), plan.spec.id
        another = own[:-1] + ("b" if own.endswith("a") else "a")
        self.inner.submit(self.inner.plan(replace(plan.spec, id=another)))
        return replace(record, id=another)


class ListsOldestFirst(Whole):
    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return reversed(list(self.inner.list(query)))


class IgnoresLabels(Whole):
    def list(self, query: JobQuery) -> Iterator[JobRecord]:
        return self.inner.list(replace(query, labels={}))


class BreaksOnUnknownJobs(Whole):
    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        for event in self.inner.watch(following):
            for job_id in following.ids:
                self.inner.describe(job_id)
            yield event


class KeepsAbsencesQuiet(Whole):
    def watch(self, following: WatchSet) -> Iterator[JobEvent]:
        following.report_absence = lambda job_id, error: None  # type: ignore[method-assign]
        return self.inner.watch(following)


class PromisesEverything(Whole):
    def plan(self, spec: JobSpec) -> Plan:
        return replace(self.inner.plan(spec), faults=())


class PlansOnDisk(Whole):
    def plan(self, spec: JobSpec) -> Plan:
        Path("plan.json").write_text("{}")
        return self.inner.plan(spec)


class KnowsEveryJob(Whole):
    def outputs(self, job_id: str) -> Mapping[str, str]:
        return {}


BREAKS: list[tuple[type[Whole], str]] = [
    (SwallowsExitCodes, "test_every_exit_code_is_the_commands_own"),
    (CallsStopsSuccess, "test_a_stopped_job_is_stopped_even_if_it_exits_well"),
    (CallsTimeoutsStops, "test_a_timeout_is_a_failure"),
    (LosesTheMessage, "test_the_message_has_the_last_words"),
    (ForgetsAttempts, "test_a_retry_may_succeed"),
    (SeesNoRunning, "test_a_long_job_is_seen_running"),
    (LosesTheLastLine, "test_the_last_lines_of_a_failure"),
    (RepeatsALine, "test_every_line_once_and_in_order"),
    (TakesASilenceForTheEnd, "test_follow_does_not_end_in_a_silence"),
    (StripsLines, "test_only_newlines_separate_lines"),
    (LosesAVariable, "test_many_variables"),
    (CutsVariables, "test_a_large_variable"),
    (TurnsTruthsIntoText, "test_hyperparameters_keep_their_types"),
    (TakesAnyDigest, "test_a_conflict_outlives_the_job"),
    (RunsAgain, "test_the_record_says_what_was_submitted"),
    (ListsOldestFirst, "test_list_is_newest_first"),
    (IgnoresLabels, "test_list_selects"),
    (BreaksOnUnknownJobs, "test_unknown_jobs_are_skipped"),
    (KeepsAbsencesQuiet, "test_an_unknown_job_is_reported"),
    (PlansOnDisk, "test_it_asks_nobody_and_writes_nothing"),
    (KnowsEveryJob, "test_an_unknown_job_is_not_found"),
    (PromisesEverything, "test_several_nodes_that_are_lacking_are_a_fault"),
]


@pytest.mark.parametrize(("broken", "test"), BREAKS, ids=[broken.__name__ for broken, _ in BREAKS])
def test_a_broken_backend_is_refused(
    broken: type[Whole],
    test: str,
    create: Callable[[BackendSettings], Backend],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A suite that passes what is broken would certify it."""
    monkeypatch.chdir(tmp_path)
    settings = BackendSettings(name="bare", table={}, home=tmp_path, storage_url=(tmp_path / "storage").as_uri())
    backend = broken(create(settings))
    harness = Harness(backend, settings.storage_url, [sys.executable], patience=20)
    given = {"harness": harness, "backend": backend, "another": backend, "method": "outputs"}
    run = getattr(conformance.BackendConformance(), test)
    wanted = run.__func__.__code__.co_varnames[1 : run.__func__.__code__.co_argcount]
    with pytest.raises((AssertionError, JobNotFound, pytest.fail.Exception)):
        run(**{name: given[name] for name in wanted})


def test_a_whole_backend_is_not_refused(create: Callable[[BackendSettings], Backend], tmp_path: Path) -> None:
    """What the tests above refuse must be the break, not the way in which it was made."""
    settings = BackendSettings(name="bare", table={}, home=tmp_path, storage_url=(tmp_path / "storage").as_uri())
    backend = Whole(create(settings))
    harness = Harness(backend, settings.storage_url, [sys.executable], patience=60)
    conformance.BackendConformance().test_a_retry_may_succeed(harness)
    harness.close()
