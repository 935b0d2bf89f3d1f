"""One job of many calls, by real processes that race, die and disagree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lyftlearn._storage import open_storage
from lyftlearn._submission.claims import Claim, take
from tests.submission.caller import SCOPE

_PROGRAM = str(Path(__file__).with_name("caller.py"))
_AT_ONCE = 16
_SECONDS = 600


def _start(url: str, jobs: Path, wanted: str, refusing: str = "nobody", death: str = "never") -> subprocess.Popen[str]:
    command = [sys.executable, _PROGRAM, url, str(jobs), wanted, refusing, death]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _race(callers: list[subprocess.Popen[str]]) -> list[str | None]:
    """Let all begin at once; return what those that lived were told."""
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    answers = [caller.communicate(timeout=_SECONDS)[0] for caller in callers]
    assert {caller.returncode for caller in callers} <= {0, 9}
    return [json.loads(answer) for answer in answers if answer]


def _jobs(jobs: Path) -> list[str]:
    return [path.name.partition("-")[2] for path in jobs.iterdir()]


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    directory = tmp_path / "jobs"
    directory.mkdir()
    return directory


def test_many_at_once_that_disagree_get_one_job(url: str, jobs: Path) -> None:
    """Half want one backend and half the other: there is one claim, one job, and everybody is told of it."""
    told = _race([_start(url, jobs, "xy"[number % 2]) for number in range(_AT_ONCE)])
    created = _jobs(jobs)
    assert len(created) == 1
    assert told == created * _AT_ONCE
    assert take(open_storage(url), SCOPE, Claim("digest", "other", "z")).claim.state == "accepted"


def test_many_at_once_that_are_refused_now_and_then_get_at_most_one_job(url: str, jobs: Path) -> None:
    """Refusals make callers fall back at the worst moments; none of them may start a second job."""
    told = _race([_start(url, jobs, "xy"[number % 2], "sometimes") for number in range(_AT_ONCE)])
    created = _jobs(jobs)
    assert len(created) <= 1
    assert {one for one in told if one} <= set(created)


def test_many_at_once_of_which_half_die_get_one_job(url: str, jobs: Path) -> None:
    """Wherever the dead ended, the living bring their work to an end, once."""
    deaths = [f"{when} {step}" for step in (1, 2, 3, 4) for when in ("before", "after")] + ["never"] * 8
    told = _race([_start(url, jobs, "xy"[number % 2], death=death) for number, death in enumerate(deaths)])
    created = _jobs(jobs)
    assert len(created) == 1
    assert set(told) == set(created)


def _deaths(steps: int) -> list[str]:
    return [f"{when} {step}" for step in range(1, steps + 1) for when in ("before", "after")]


_ACCEPTED = [pytest.param("nobody", death) for death in _deaths(4)]
_FALLING_BACK = [pytest.param("x", death, marks=pytest.mark.slow) for death in _deaths(7)]


@pytest.mark.parametrize(("refusing", "death"), _ACCEPTED + _FALLING_BACK)
def test_after_a_death_at_any_step_the_next_caller_makes_one_job(
    url: str, jobs: Path, refusing: str, death: str
) -> None:
    """The second caller wants the other backend, and finishes what the first began wherever that may be.

    Where the first backend refuses for ever and the dead left their try open, there is no job rather than two.
    """
    first, second = _start(url, jobs, "x", refusing, death), _start(url, jobs, "y", refusing)
    assert _race([first]) == []
    assert first.returncode == 9
    told = _race([second])
    created = _jobs(jobs)
    assert len(created) <= 1
    assert [one for one in told if one] == created
    if refusing == "nobody" or death == "before 1":
        assert len(created) == 1
