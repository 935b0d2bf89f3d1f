"""The runtime's last words, as backends read them."""

from __future__ import annotations

import pytest

from lyftlearn.backend import Report, read_report
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
    "facts", ["", "{", "3", "[]", '{"reason":"weather"}', '{"attempt":"many"}', '{"exit_code":[1]}', '{"reason":[1]}']
)
def test_what_is_no_report(facts: str) -> None:
    """A program may write into the same file; whoever follows all jobs must not stumble over it."""
    assert read_report(f"lyftlearn/1 {facts}") is None
    assert read_report(f"something else {facts}") is None
