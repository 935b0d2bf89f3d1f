"""Logs of CloudWatch: late, throttled, in pages, and complete."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyftlearn.backend import LogQuery
from lyftlearn.errors import JobNotFound
from lyftlearn.runtime.log_marks import EscapedSigns
from lyftlearn.runtime.output import BlankLines, carry, carry_rest
from lyftlearn.types import JobKind
from lyftlearn_sagemaker import logs
from lyftlearn_sagemaker.api import client, patience
from lyftlearn_sagemaker.backend import SageMakerBackend
from lyftlearn_sagemaker.log_text import Writing, printed_line
from tests.backends.sagemaker.conftest import Make
from tests.backends.sagemaker.specs import spec
from tests.doubles.sagemaker import Service
from tests.doubles.sagemaker.containers import _escape
from tests.doubles.sagemaker.faults import BROKEN, EXPIRED, Fault
from tests.doubles.sagemaker.surroundings import GROUP, LogStream


@pytest.fixture
def running(
    service: Service, make: Make, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[SageMakerBackend, str]:
    """A job without containers, whose log the test writes by hand."""
    service.conduct.containers = False
    monkeypatch.setattr(logs, "_MARK_SETTLE", 2.0)
    backend = make(log_settle="2s")
    return backend, backend.submit(backend.plan(spec(storage_url, nodes=2))).id


def _write(service: Service, job_id: str, node: int, lines: list[str], epoch: int = 1) -> None:
    stream = LogStream(service.surroundings.logs, f"{job_id}/algo-{node}-{epoch}", 0)
    stream._made = bool(_streams(f"{job_id}/algo-{node}-{epoch}"))
    for line in lines:
        stream.put(line)
    stream.close()


def _streams(prefix: str) -> list[Any]:
    found: list[Any] = boto3.client("logs").describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=prefix)[
        "logStreams"
    ]
    return found


def _finish(service: Service, job_id: str) -> None:
    found = service.jobs.find(job_id)
    assert found
    found.finish()


def test_a_job_that_sagemaker_keeps_no_more(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """Whoever deletes a training job leaves its streams in CloudWatch, and they are read as they were."""
    backend, job_id = running
    _write(service, job_id, 1, ["before"], epoch=1)
    _write(service, job_id, 1, ["#400{}", "a#011tab", '#400{"event": "ended"}'], epoch=2)
    _write(service, job_id, 2, ["other"])
    _finish(service, job_id)
    boto3.client("sagemaker").delete_training_job(TrainingJobName=job_id)
    with pytest.raises(JobNotFound):
        list(backend.logs(job_id, LogQuery()))
    kept = backend.kept_log(job_id, LogQuery(follow=True))
    assert kept is not None
    assert kept.place == "CloudWatch, in /aws/sagemaker/TrainingJobs,"
    assert [(line.node, line.text) for line in kept.lines] == [(0, "before"), (0, "a\ttab"), (1, "other")]
    last = backend.kept_log(job_id, LogQuery(node=0, tail=1))
    assert last is not None
    assert [line.text for line in last.lines] == ["a\ttab"]
    assert backend.kept_log("eta-tsaaaaaaaaaaa", LogQuery()) is None


def _following(backend: SageMakerBackend, job_id: str, seen: list[tuple[int, str]]) -> threading.Thread:
    def follow() -> None:
        seen.extend((line.node, line.text) for line in backend.logs(job_id, LogQuery(follow=True)))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def test_streams_that_appear_late(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """One node speaks long before the other has a stream; nobody waits for anybody, and nothing is missed."""
    backend, job_id = running
    seen: list[tuple[int, str]] = []
    thread = _following(backend, job_id, seen)
    _write(service, job_id, 1, ["one", "two"])
    _until(lambda: len(seen) == 2)
    _write(service, job_id, 2, ["three"])
    _until(lambda: len(seen) == 3)
    _finish(service, job_id)
    thread.join(600)
    assert seen == [(0, "one"), (0, "two"), (1, "three")]


def test_lines_that_come_after_the_end(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """CloudWatch shows a job's last words some seconds after SageMaker has said that it ended."""
    backend, job_id = running
    seen: list[tuple[int, str]] = []
    _write(service, job_id, 1, ["first"])
    _finish(service, job_id)
    thread = _following(backend, job_id, seen)
    time.sleep(1)
    _write(service, job_id, 1, ["last"])
    thread.join(600)
    assert seen == [(0, "first"), (0, "last")]


def test_a_node_that_was_started_anew(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """After a spot interruption the node has a second stream: both are read, in their order."""
    backend, job_id = running
    _write(service, job_id, 1, ["before"], epoch=1)
    _write(service, job_id, 1, ["after", "end"], epoch=2)
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["before", "after", "end"]
    assert [line.text for line in backend.logs(job_id, LogQuery(tail=3))] == ["before", "after", "end"]
    assert [line.text for line in backend.logs(job_id, LogQuery(tail=1))] == ["end"]


def test_pages(service: Service, running: tuple[SageMakerBackend, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that comes back unchanged is the end of what is there, and nothing else is."""
    monkeypatch.setattr(logs, "_PAGE", 7)
    backend, job_id = running
    lines = [f"line {number}" for number in range(100)]
    _write(service, job_id, 1, lines)
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == lines
    assert [line.text for line in backend.logs(job_id, LogQuery(tail=30))] == lines[-30:]


@pytest.mark.parametrize("tail", [None, 9])
@pytest.mark.parametrize(
    "member", ["nextForwardToken", "nextBackwardToken", "events", "message", "timestamp", "logStreams", "logStreamName"]
)
def test_every_member_of_an_answer_is_optional(
    service: Service, running: tuple[SageMakerBackend, str], member: str, tail: int | None
) -> None:
    """The service model requires none of them; what is not there is no line, and no error."""
    backend, job_id = running
    _write(service, job_id, 1, ["one", '#400{"event": "ended"}'])
    _finish(service, job_id)

    def take_out(parsed: dict[str, Any], **_: Any) -> None:
        for part in (parsed, *parsed.get("events", ()), *parsed.get("logStreams", ())):
            part.pop(member, None)

    backend.aws.client("logs").meta.events.register("after-call.cloudwatch-logs", take_out)
    lines = [line.text for line in backend.logs(job_id, LogQuery(node=0, tail=tail))]
    assert lines == ([] if member in ("events", "message", "logStreams", "logStreamName") else ["one"])


def test_since_before_there_was_anything(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """CloudWatch takes no moment before 1970, by its service model."""
    backend, job_id = running
    _write(service, job_id, 1, ["one", '#400{"event": "ended"}'])
    _finish(service, job_id)
    asked: list[Any] = []
    events = backend.aws.client("logs").meta.events
    events.register("provide-client-params.cloudwatch-logs.GetLogEvents", lambda params, **_: asked.append(params))
    lines = backend.logs(job_id, LogQuery(node=0, since=datetime(1, 1, 1, tzinfo=UTC)))
    assert [line.text for line in lines] == ["one"]
    assert {one["startTime"] for one in asked} == {0}


class _Ahead(datetime):
    """The clock of a machine that is eleven minutes ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(minutes=11)


def test_a_clock_that_is_ahead(
    service: Service,
    running: tuple[SageMakerBackend, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether a log may still change is told by AWS's time: by the reader's it would have ended long ago."""
    backend, job_id = running
    for module in (logs, client):
        monkeypatch.setattr(module, "datetime", _Ahead)
    _write(service, job_id, 1, ["one"])
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["one"]
    assert "lines may come until" in caplog.text


def test_a_reader_with_older_news(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """The end is told once. A second reader that had asked before it, and began after it, hears of it all the same."""
    backend, job_id = running
    older = backend.describe(job_id).event
    ends = backend._ends
    ends.add(older)
    _finish(service, job_id)
    _until(lambda: ends.end(job_id) is not None)
    ends.add(older)
    assert ends.end(job_id) is not None
    ends.discard(job_id)
    assert ends.end(job_id) is not None


def test_throttling(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """GetLogEvents throttles too; what was given is not given again."""
    from botocore.exceptions import ClientError

    backend, job_id = running
    _write(service, job_id, 1, ["one", "two", "three"])
    _finish(service, job_id)
    client = backend.aws.client("logs")
    asked = 0

    def sometimes(**_: Any) -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "GetLogEvents")

    client.meta.events.register("before-call.cloudwatch-logs.GetLogEvents", sometimes)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["one", "two", "three"]
    assert asked > 2


NOTE = '{"event": "running", "attempt": 2, "at": 1767225600.5}'


def test_notes_of_the_runtime_are_no_lines(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """They tell SageMaker the attempt; what a command prints is given as it is, even if it looks like one."""
    backend, job_id = running
    _write(service, job_id, 1, [f"#400{NOTE}", "one", NOTE, f"#043400{NOTE}", '#400{"event": "ended"}'])
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery(node=0))] == ["one", NOTE, f"#400{NOTE}"]


def test_logs_of_version_1_0(service: Service, running: tuple[SageMakerBackend, str]) -> None:
    """A runtime of version 1.0.0 marked nothing: its notes are left out where it made them, and nothing is undone."""
    backend, job_id = running
    job = service.jobs.find(job_id)
    assert job
    lines = ["one", NOTE, "tab#011or not"]
    _write(service, job_id, 1, lines)
    job.request["Environment"]["LYFTLEARN_SUBSTRATE_PROGRESS"] = "-"
    job.finish()
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["one", "tab#011or not"]
    del job.request["Environment"]["LYFTLEARN_SUBSTRATE_PROGRESS"]
    assert [line.text for line in backend.logs(job_id, LogQuery())] == lines


ODD = [
    "tab\tseparated\tmetrics",
    "10%|#         |\r100%|##########|\r",
    "\x1b[31mred\x1b[0m \x07bell \x00 zero \x7f delete",
    "#011 is no tab, #015#015 no returns, #000000 is black, #043 is a sign, ##011, #01",
    "#400 is no mark, nor is #777, #03300a",
    "#",
    '{"event": "running", "attempt": 1, "at": 12.5}',
    '{"event": "running", "attempt": 2, "at": 12.5}',
    "José \u2028 日本",
    "",
    "   ",
    "\t",
    "the end without a newline #01",
]


@pytest.mark.parametrize("retries", [0, 1])
def test_what_a_command_prints_is_what_is_read(service: Service, make: Make, storage_url: str, retries: int) -> None:
    """Progress bars, colours, tabs, and text that only looks like what stands for them: all as on every platform."""
    backend = make()
    code = f"import sys; [sys.stdout.write(part) or sys.stdout.flush() for part in {chr(10).join(ODD)!r}]"
    job = spec(storage_url, kind=JobKind.PROCESS, command=("python3", "-c", code), retries=retries)
    backend.submit(backend.plan(job))
    assert [line.text for line in backend.logs(job.id, LogQuery(follow=True))] == ODD
    assert [line.text for line in backend.logs(job.id, LogQuery(tail=3))] == ODD[-3:]


PIECES = ["#", "0", "1", "4", "3", "7", "\t", "\r", "a", " ", "\n", "\x1b", "\x7f", "é", "#400", "#043", "#011"]


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join), st.lists(st.integers(0, 30), max_size=6))
def test_any_output_survives(text: str, cuts: list[int]) -> None:
    """Wherever the pipe cuts it, and whatever it looks like: escaped, carried, and read back, it is the same."""
    output, carriers, carried = text.encode(), (EscapedSigns(), BlankLines()), b""
    for start, end in itertools.pairwise([0, *sorted(cuts), len(output)]):
        carried += carry(carriers, output[start:end])
    carried += carry_rest(carriers)
    messages = [_escape(line).decode() for line in carried.removesuffix(b"\n").split(b"\n")] if output else []
    lines = [printed_line(message, Writing.MARKED) for message in messages]
    assert lines == (text.removesuffix("\n").split("\n") if text else [])


def test_a_log_that_comes_late(
    service: Service,
    make: Make,
    storage_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A traceback after a silence, told by CloudWatch after SageMaker told the end: the log says where it ends."""
    service.conduct.log_delay = 3.0
    monkeypatch.setattr(logs, "_MARK_SETTLE", 60.0)  # for a busy machine
    backend = make(log_settle="1s")
    script = "echo first; sleep 5; echo Traceback; echo last; exit 1"
    job = spec(storage_url, command=("sh", "-c", script))
    backend.submit(backend.plan(job))
    assert [line.text for line in backend.logs(job.id, LogQuery(follow=True))] == ["first", "Traceback", "last"]
    assert caplog.text == ""


def test_a_log_that_may_go_on(
    service: Service, running: tuple[SageMakerBackend, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that was taken away says nothing more; who reads its log soon is told that it may not be whole."""
    backend, job_id = running
    _write(service, job_id, 1, ["one"])
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery())] == ["one"]
    assert "lines may come until" in caplog.text


def test_followers_of_logs_do_not_ask_for_each_job(service: Service, make: Make, storage_url: str) -> None:
    """Ten quiet jobs are one list now and then, whatever the number of those who read."""
    service.conduct.containers = False
    backend = make()
    ids = [backend.submit(backend.plan(spec(storage_url))).id for _ in range(10)]
    threads = [_following(backend, job_id, []) for job_id in ids]
    _until(lambda: service.count("DescribeTrainingJob") >= len(ids))
    _until(lambda: service.count("ListTrainingJobs") >= 4)
    assert service.count("DescribeTrainingJob") <= 2 * len(ids)
    for job_id in ids:
        _finish(service, job_id)
    for thread in threads:
        thread.join(600)
        assert not thread.is_alive()


@pytest.mark.parametrize("code", ["ExpiredTokenException", "AccessDeniedException", "ServiceUnavailableException"])
def test_a_follower_outlives_what_passes(
    service: Service, running: tuple[SageMakerBackend, str], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Whoever follows a log of hours does not lose it to a token that is renewed, or to an outage of seconds."""
    from botocore.exceptions import ClientError

    monkeypatch.setattr(patience, "_PAUSE", 0.2)
    backend, job_id = running
    backend.aws.retry_budget.unanswered = 0.1
    seen: list[tuple[int, str]] = []
    thread = _following(backend, job_id, seen)
    _write(service, job_id, 1, ["one"])
    _until(lambda: len(seen) == 1)
    left = iter(range(6))

    def fail(**_: Any) -> None:
        if next(left, None) is not None:
            status: Any = {"HTTPStatusCode": 503 if code.startswith("Service") else 400}
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": status}, "GetLogEvents")

    backend.aws.client("logs").meta.events.register("before-call.cloudwatch-logs", fail)
    _until(lambda: next(left, None) is None)
    _write(service, job_id, 1, ["two"])
    _until(lambda: len(seen) == 2)
    _finish(service, job_id)
    thread.join(600)
    assert seen == [(0, "one"), (0, "two")]


@pytest.mark.parametrize("fault", [Fault(EXPIRED, before=True), BROKEN], ids=["expired", "broken"])
def test_following_begins_in_an_outage(
    service: Service, running: tuple[SageMakerBackend, str], monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Who has a handle on a job may follow it at a bad moment, too."""
    monkeypatch.setattr(patience, "_PAUSE", 0.05)
    backend, job_id = running
    backend.aws.retry_budget.unanswered = 0.0
    service.faults.add("DescribeTrainingJob", fault, times=5)
    _write(service, job_id, 1, ["one"])
    _finish(service, job_id)
    assert [line.text for line in backend.logs(job_id, LogQuery(follow=True))] == ["one"]


def _until(reached: Any) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
