"""The runtime's last words, as backends read them."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime

import pytest

from lyftlearn._contract.report import read_command_times
from lyftlearn.backend import Report, read_idle, read_report
from lyftlearn.events import JobEvent
from lyftlearn.types import FailureReason, JobStatus

FAILED = 'lyftlearn/1 {"exit_code":3,"reason":"user-error","attempt":2,"started_at":1.0}\nlast words\n'


def test_a_failure() -> None:
    """The exit code, the attempt and the last words are what people ask for."""
    expected = Report(
        status=JobStatus.FAILED, reason=FailureReason.USER_ERROR, exit_code=3, attempt=2, message="last words"
    )
    assert read_report(FAILED) == expected
    assert read_report(FAILED, within=False) == expected


def test_a_substrate_that_adds_its_own_words() -> None:
    """SageMaker puts the report into a sentence; where a report stands alone, a log that quotes one is none."""
    assert read_report(f"AlgorithmError: {FAILED}") is not None
    assert read_report(f"printed: {FAILED}", within=False) is None


@pytest.mark.parametrize(("stopped", "status"), [(True, JobStatus.STOPPED), (False, JobStatus.SUCCEEDED)])
def test_an_end_that_is_no_failure(stopped: bool, status: JobStatus) -> None:
    """A stop is told apart from a success, which both have no reason."""
    found = read_report(f'lyftlearn/1 {{"exit_code":null,"reason":null,"stopped":{str(stopped).lower()}}}')
    assert found is not None
    assert (found.status, found.attempt, found.message) == (status, 1, "")


@pytest.mark.parametrize(
    "facts",
    [
        "[" * 5000,
        "",
        "{",
        "3",
        "[]",
        '{"reason":"weather"}',
        '{"attempt":"many"}',
        '{"exit_code":[1]}',
        '{"reason":[1]}',
        '{"reason":"user-error","exit_code":1000000000000}',
        '{"attempt":1e300}',
    ],
)
def test_what_is_no_report(facts: str) -> None:
    """A program may write into the same file; whoever follows all jobs must not stumble over it."""
    assert read_report(f"lyftlearn/1 {facts}") is None
    assert read_report(f"something else {facts}") is None


def test_times_without_an_end() -> None:
    """The same text is read once more, for what a job costs."""
    assert read_command_times("lyftlearn/1 " + "[" * 5000) is None


def test_it_is_spread_into_an_event() -> None:
    """Backends of others write `replace(event, **asdict(report))`: a field of a report alone would break every one."""
    assert {field.name for field in fields(Report)} <= {field.name for field in fields(JobEvent)}
    found = read_report('lyftlearn/1 {"exit_code":null,"reason":null,"stopped":true,"idle":true}\nidle for 4 hours')
    assert found is not None
    assert JobEvent(job_id="eta-x", at=datetime.now(UTC), **asdict(found)).message == "idle for 4 hours"


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ('lyftlearn/1 {"stopped":true,"idle":true}\nwords', True),
        ('AlgorithmError: lyftlearn/1 {"stopped":true,"idle":true}\nwords, exit code: 1', True),
        ('lyftlearn/1 {"stopped":true}\nwords', False),
        ('lyftlearn/1 {"stopped":true}\n{"idle":true}', False),
        ("lyftlearn/1 [true]", False),
        ('{"idle":true}', False),
        ("", False),
    ],
)
def test_an_idle_notebook(text: str, idle: bool) -> None:
    """The runtime's stop is no failure and nobody's request; only the report itself says so."""
    assert read_idle(text) is idle
