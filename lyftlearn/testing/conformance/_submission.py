"""Submitting: what makes one job of many calls, and what is known of it afterwards."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lyftlearn.backend import Backend, Capability, JobQuery
from lyftlearn.errors import Conflict
from lyftlearn.testing.conformance._fixtures import Fixtures
from lyftlearn.testing.conformance._harness import Harness
from lyftlearn.types import JobKind, JobStatus

CALLERS = 6


class SubmissionConformance(Fixtures):
    """`submit`: one request is the commit point, and it may be repeated."""

    def test_the_record_says_what_was_submitted(self, harness: Harness) -> None:
        """The client makes its handle from this record alone."""
        spec = harness.spec("print('hello')", labels={"team": "eta", "empty": ""})
        record = harness.submit(spec)
        assert (record.id, record.kind, record.name) == (spec.id, spec.kind, spec.name)
        assert (record.digest, record.decision) == (spec.digest, spec.decision)
        assert dict(record.labels) == {"team": "eta", "empty": ""}
        assert record.event.job_id == spec.id

    def test_submitting_again_returns_the_same_job(self, harness: Harness, another: Backend) -> None:
        """The answer to the first try may have been lost: its repetition finds the job and starts no second one."""
        spec = harness.spec("print('ran')")
        harness.submit(spec)
        assert another.submit(another.plan(spec)).id == spec.id
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert harness.backend.submit(harness.backend.plan(spec)).event.status is JobStatus.SUCCEEDED
        assert harness.lines(spec.id) == ["ran"], "the command ran more often than once"

    def test_callers_at_once_get_one_job(self, harness: Harness, another: Backend) -> None:
        """Two processes of one cron may both believe that they are the only one."""
        spec = harness.spec("print('ran')")
        with ThreadPoolExecutor(CALLERS) as pool:
            backends = [harness.backend, another] * (CALLERS // 2)
            records = list(pool.map(lambda backend: backend.submit(backend.plan(spec)), backends))
        assert {(record.id, record.digest) for record in records} == {(spec.id, spec.digest)}
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert harness.lines(spec.id) == ["ran"], "the command ran more often than once"

    def test_jobs_from_several_threads_do_not_mix(self, harness: Harness) -> None:
        """One client submits a job per region in parallel; each must get its own arguments and lines."""
        specs = [harness.spec(f"print('region {number}')") for number in range(CALLERS)]
        with ThreadPoolExecutor(CALLERS) as pool:
            records = list(pool.map(harness.submit, specs))
        assert [record.id for record in records] == [spec.id for spec in specs]
        for number, spec in enumerate(specs):
            assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
            assert harness.lines(spec.id) == [f"region {number}"]

    @pytest.mark.parametrize("kind", [JobKind.TRAIN, JobKind.PROCESS])
    def test_kinds_that_are_offered_run(self, harness: Harness, kind: JobKind) -> None:
        """What the capabilities promise must be true."""
        harness.need(Capability(kind))
        assert harness.output_lines(harness.spec("print('done')", kind=kind)) == ["done"]


class KeyConformance(Fixtures):
    """The same id with other content: a key that is used for two different jobs."""

    def test_another_digest_is_a_conflict(self, harness: Harness, another: Backend) -> None:
        """A stale result must never be taken for that of the call that was just made."""
        spec = harness.spec("print('first')")
        harness.submit(spec)
        other = harness.spec("print('second')", id=spec.id, name=spec.name)
        for backend in (harness.backend, another):
            with pytest.raises(Conflict) as caught:
                backend.submit(backend.plan(other))
            assert caught.value.job_id == spec.id, "Conflict.job_id names the job that holds the key"
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert harness.lines(spec.id) == ["first"], "the refused call must not touch the job that is there"

    def test_a_conflict_outlives_the_job(self, harness: Harness) -> None:
        """A finished job holds its key as long as it is kept."""
        spec = harness.succeed(harness.spec())
        with pytest.raises(Conflict):
            harness.submit(replace(spec, digest=secrets.token_hex(32)))

    def test_of_two_digests_at_once_one_wins(self, harness: Harness, another: Backend) -> None:
        """Whoever comes second is told so, also when both come together."""
        spec = harness.spec("print('one')")
        other = harness.spec("print('two')", id=spec.id, name=spec.name)
        with ThreadPoolExecutor(2) as pool:
            calls = [
                pool.submit(backend.submit, backend.plan(wanted))
                for backend, wanted in ((harness.backend, spec), (another, other))
            ]
        refused = [call.exception() for call in calls if call.exception() is not None]
        assert [type(error) for error in refused] == [Conflict]
        accepted = next(call.result() for call in calls if call.exception() is None)
        assert harness.wait(spec.id).status is JobStatus.SUCCEEDED
        assert harness.lines(spec.id) == ["one" if accepted.digest == spec.digest else "two"]


class FindingConformance(Fixtures):
    """`describe` and `list`: any process finds a job from what the substrate keeps."""

    def test_another_process_finds_the_job(self, harness: Harness, another: Backend) -> None:
        """A handle is made from an id alone, long after the process that submitted is gone."""
        spec = harness.spec(labels={"team": "eta"})
        submitted = harness.submit(spec)
        found = another.describe(spec.id)
        listed = next(another.list(JobQuery(name=spec.name)))
        for record in (found, listed):
            assert replace(record, event=submitted.event) == submitted

    def test_the_end_is_told_alike_by_everyone(self, harness: Harness, another: Backend) -> None:
        """`refresh`, `wait` and `jobs` must not disagree about how a job ended."""
        spec = harness.spec("raise SystemExit(37)")
        state = harness.run(spec)
        for event in (another.describe(spec.id).event, next(another.list(JobQuery(name=spec.name))).event):
            assert (event.status, event.reason, event.exit_code) == (state.status, state.reason, state.exit_code)
            assert (event.at, event.started_at, event.created_at) == (
                state.finished_at,
                state.started_at,
                state.created_at,
            )

    def test_times_are_in_order(self, harness: Harness) -> None:
        """Durations are shown and paid for; they must not be negative, nor differ by a time zone."""
        before = datetime.now(UTC)
        state = harness.run(harness.spec())
        assert state.started_at is not None
        assert state.finished_at is not None
        slack = timedelta(seconds=2)  # clocks of substrates tick in seconds
        assert before - slack <= state.created_at <= state.started_at + slack
        assert state.started_at <= state.finished_at <= datetime.now(UTC) + slack

    def test_list_is_newest_first(self, harness: Harness) -> None:
        """`jobs(limit=1)` is how people look for their last job."""
        name = _name()
        ids = [harness.succeed(harness.spec(name=name, labels={"n": str(number)})).id for number in range(3)]
        listed = list(harness.backend.list(JobQuery(name=name)))
        created = [record.event.created_at or record.event.at for record in listed]
        assert {record.id for record in listed} == set(ids)
        assert created == sorted(created, reverse=True), f"not newest first: {created}"

    def test_list_selects(self, harness: Harness) -> None:
        """Each condition must hold, alone and together with the others."""
        name = _name()
        good = harness.succeed(harness.spec(name=name, labels={"region": "sfo", "team": "eta"})).id
        failing = harness.spec("raise SystemExit(1)", name=name, labels={"region": "nyc", "team": "eta"})
        harness.run(failing)
        bad = failing.id
        assert _ids(harness, JobQuery(name=name)) == {good, bad}
        assert _ids(harness, JobQuery(name=_name())) == set()
        assert _ids(harness, JobQuery(name=name, kind=JobKind.TRAIN)) == {good, bad}
        assert _ids(harness, JobQuery(name=name, kind=JobKind.PROCESS)) == set()
        assert _ids(harness, JobQuery(name=name, status=JobStatus.SUCCEEDED)) == {good}
        assert _ids(harness, JobQuery(name=name, status=JobStatus.FAILED)) == {bad}
        assert _ids(harness, JobQuery(name=name, labels={"region": "sfo"})) == {good}
        assert _ids(harness, JobQuery(name=name, labels={"team": "eta"})) == {good, bad}
        assert _ids(harness, JobQuery(name=name, labels={"team": "eta", "region": "nyc"})) == {bad}
        assert _ids(harness, JobQuery(name=name, status=JobStatus.FAILED, labels={"region": "sfo"})) == set()

    def test_list_since(self, harness: Harness) -> None:
        """`since` is about creation; the moment itself belongs to it."""
        name = _name()
        spec = harness.spec(name=name)
        harness.succeed(spec)
        created = harness.backend.describe(spec.id).event.created_at
        assert created is not None, "a record says when its job was created"
        assert _ids(harness, JobQuery(name=name, since=created)) == {spec.id}
        assert _ids(harness, JobQuery(name=name, since=created - timedelta(hours=1))) == {spec.id}
        assert _ids(harness, JobQuery(name=name, since=created + timedelta(hours=1))) == set()

    def test_a_running_job_is_listed_as_running(self, harness: Harness) -> None:
        """A job is looked for by its status most often while it runs."""
        spec = harness.spec("import time; print('up', flush=True); time.sleep(600)")
        harness.submit(spec)
        harness.until_line(spec.id, "up")
        harness.watcher.until(harness.patience, spec.id, lambda state: state.status is JobStatus.RUNNING)
        assert _ids(harness, JobQuery(name=spec.name, status=JobStatus.RUNNING)) == {spec.id}
        harness.backend.stop(spec.id)
        harness.wait(spec.id)
        assert _ids(harness, JobQuery(name=spec.name, status=JobStatus.RUNNING)) == set()


def _ids(harness: Harness, query: JobQuery) -> set[str]:
    return {record.id for record in harness.backend.list(query)}


def _name() -> str:
    return f"conformance-{secrets.token_hex(4)}"
