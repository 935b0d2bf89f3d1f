"""What a JSON document says may be run next: commands that this command line takes, after each kind of answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from lyftlearn.backend import Check, Verdict
from lyftlearn.cli import _next_steps, _output, _parser
from lyftlearn.errors import (
    AccessDenied,
    BackendUnavailable,
    Conflict,
    InvalidJob,
    JobFailed,
    JobNotFound,
    QuotaExceeded,
    WaitTimeout,
)
from lyftlearn.types import JobKind, JobState, JobStatus

from .conftest import CommandLine

ID, NOW = "eta-tkabcdefghijk", datetime(2026, 1, 1, tzinfo=UTC)


def job(status: JobStatus) -> Any:
    state = JobState(status=status, reason=None, message="", exit_code=None, attempt=1, created_at=NOW,
                     started_at=None, finished_at=None)  # fmt: skip
    return SimpleNamespace(id=ID, state=state)


def guard(verdict: str, more: int | None = None) -> Any:
    models = [SimpleNamespace(model="odd name; rm -r", verdict=verdict)]
    return SimpleNamespace(verdict=verdict, worse=verdict == "worse", more_jobs=more, by_model=models)


def plan(kind: JobKind, **faults: str) -> Any:
    spec = SimpleNamespace(kind=kind, name="eta", serving=None)
    return SimpleNamespace(spec=spec, faults=tuple(faults.items()))


def switch(flags: str) -> Any:
    model = SimpleNamespace(against=(), unproven=False)
    return SimpleNamespace(written=False, models=[model], problem=None, flags=flags, target="/flags.json")


def lowered(*models: str) -> Any:
    return SimpleNamespace(dry_run=False, steps=[SimpleNamespace(action="lower", model=name) for name in models])


ANSWERS: dict[str, tuple[Callable[..., list[str]], Any, str]] = {
    "pending": (_next_steps.of_job, job(JobStatus.PENDING), "logs --follow"),
    "succeeded": (_next_steps.of_job, job(JobStatus.SUCCEEDED), "download"),
    "failed": (_next_steps.of_job, job(JobStatus.FAILED), "logs"),
    "worse": (_next_steps.of_guard, guard("worse"), "jobs --name 'odd name; rm -r' --status failed"),
    "inconclusive": (_next_steps.of_guard, guard("inconclusive", 50), "migration guard"),
    "not worse": (_next_steps.of_guard, guard("not worse"), "migration status"),
    "plan": (_next_steps.of_plan, plan(JobKind.TRAIN), "explain train eta"),
    "plan of a process job": (_next_steps.of_plan, plan(JobKind.PROCESS), "explain process eta"),
    "plan with faults": (_next_steps.of_plan, plan(JobKind.PREDICT, image="is missing"), "doctor"),
    "switch": (lambda of: _next_steps.of_switch(of, "-1 of 3 is bad"), switch("new.json"), "'--why=-1 of 3 is bad'"),
    "switch of an odd file": (lambda of: _next_steps.of_switch(of, None), switch("-new.json"), "./-new.json"),
    "lowered": (_next_steps.of_autopilot, lowered("-odd", "-odd"), "jobs --name=-odd --status failed"),
    "broken": (_next_steps.of_check, Check("x", Verdict.FAILED, ""), "doctor"),
    "denied": (_next_steps.of_error, AccessDenied("no"), "doctor"),
    "quota": (_next_steps.of_error, QuotaExceeded("no"), "doctor"),
    "unknown outcome": (_next_steps.of_error, BackendUnavailable("gone", ID), f"status {ID}"),
    "conflict": (_next_steps.of_error, Conflict("other", ID), f"status {ID}"),
    "late": (_next_steps.of_error, WaitTimeout([job(JobStatus.RUNNING)]), f"wait {ID}"),
    "failed wait": (_next_steps.of_error, JobFailed(job(JobStatus.FAILED), job(JobStatus.FAILED).state), f"logs {ID}"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_each_step_is_a_command_that_there_is(name: str) -> None:
    """A program that runs what it reads must not be told to run what fails, nor what a name smuggles in."""
    of, answer, wanted = ANSWERS[name]
    steps = of(answer)
    assert any(wanted in step for step in steps), steps
    for step in steps:
        first, *words = shlex.split(step)
        assert first == "lyftlearn"
        _parser.parser().parse_args(words)


def test_the_next_look_is_at_the_same(lyftlearn: CommandLine) -> None:
    """Without the options of this one, a program would write flags of another migration, or judge what was left out."""
    table = '[migrations.{}]\nfrom = "{}"\nto = "{}"\nflags = "{}.json"\n'
    one, other = table.format("a", "local", "local-sagemaker", "a"), table.format("b", "local-kubernetes", "local", "b")
    (lyftlearn.directory / "other.toml").write_text(f'backend = "local"\n{one}{other}')
    variants = {"unset": "unset", "live": "live"}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "unset", "targeting": {"if": [True, "live"]}}
    (lyftlearn.directory / "new.json").write_text(json.dumps({"flags": {"lyftlearn-migration-b": flag}}))
    of_b = ("--migration", "b", "--config", "other.toml", "--json")
    switched = lyftlearn("migration", "switch", "new.json", "--why", "x", *of_b).json["next_steps"]
    look = ("--since", "7d", "--level", "0.1", "--ignore", "cost", "--ignore", "shadow differences")
    judged = lyftlearn("migration", "guard", *look, *of_b).json["next_steps"]
    assert (lyftlearn.directory / "b.json").exists()
    for step in (*switched, *judged):
        assert step.endswith(" --migration b --config other.toml"), step
    assert judged == ["lyftlearn migration status --since 7d --migration b --config other.toml"]
    again = _next_steps.of_guard(guard("inconclusive", 9), "--since", "7d", judged=["--ignore", "shadow differences"])
    assert again == ["lyftlearn migration guard --ignore 'shadow differences' --since 7d"]


@pytest.mark.parametrize("error", [JobNotFound("no"), InvalidJob([("name", "is empty")])])
def test_an_error_that_only_its_call_can_mend(error: Exception) -> None:
    """No command mends a wrong argument."""
    assert _output.error_document(error)["error"]["next_steps"] == []


def test_every_document_has_them(lyftlearn: CommandLine) -> None:
    """Whoever reads the one reads the other: an object, and each object of a list."""
    submitted = lyftlearn("process", "eta", "--json", "--wait", "--", "true").json
    assert any(step.startswith("lyftlearn logs ") for step in submitted["next_steps"])
    for words in (["jobs"], ["backends"], ["config"], ["explain", "train", "eta"], ["status", submitted["id"]]):
        answer = lyftlearn(*words, "--json").json
        assert all("next_steps" in one for one in (answer if isinstance(answer, list) else [answer])), words
    refused = lyftlearn("status", "eta-tkaaaaaaaaaaa", "--json")
    assert "next_steps" in json.loads(refused.err)["error"]
