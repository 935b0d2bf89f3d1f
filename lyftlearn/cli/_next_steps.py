"""What may be run next: the commands that a JSON document names, for people and for programs that read it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lyftlearn.backend import Verdict
from lyftlearn.errors import (
    AccessDenied,
    BackendUnavailable,
    Conflict,
    JobFailed,
    JobStopped,
    QuotaExceeded,
    WaitTimeout,
)
from lyftlearn.types import JobKind, JobStatus

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn._migration.results import AutopilotRun, Guard, MigrationStatus, ReadinessReport, Switch
    from lyftlearn.backend import Check, Plan


_EVERY = ""
_MOST_MODELS = 5
_kept: dict[str, tuple[str, ...]] = {}


def keep(command: str, options: Sequence[str]) -> None:
    """Give the next steps from now on the options of this call that say where it looks. command: or `_EVERY`."""
    _kept[command] = tuple(options)


def keep_configuration(path: str | None) -> None:
    """Let every next step read the configuration that this call reads."""
    keep(_EVERY, option("--config", path) if path else ())


def option(name: str, value: str) -> tuple[str, ...]:
    """Return the words that give an option a value; one that begins like an option must be joined to it."""
    return (f"{name}={value}",) if value.startswith("-") else (name, value)


def _command(*words: str) -> str:
    return shlex.join(("lyftlearn", *words, *_kept.get(words[0], ()), *_kept.get(_EVERY, ())))


def _doctor() -> str:
    return _command("doctor")


def of_job(job: Job) -> list[str]:
    """After a look at a job, as it was last observed."""
    status = job.state.status
    if not status.finished:
        return [_command("wait", job.id), _command("logs", "--follow", job.id)]
    logs = _command("logs", job.id)
    return [_command("download", job.id, "."), logs] if status is JobStatus.SUCCEEDED else [logs]


def of_plan(made: Plan) -> list[str]:
    """After a plan: with faults there is something to mend, and without any the same call submits it."""
    if made.faults:
        return [_doctor()]
    explained = made.spec.serving is None and made.spec.kind in (JobKind.TRAIN, JobKind.PROCESS)
    return [_command("explain", str(made.spec.kind), made.spec.name)] if explained else []


def of_check(check: Check) -> list[str]:
    """After a check of doctor: what was wrong is looked at again."""
    return [] if check.verdict is Verdict.OK else [_doctor()]


def of_report(found: ReadinessReport, *since: str) -> list[str]:
    """After a report: while something stands against jobs, it is asked again; then the jobs themselves are watched.

    since: the option, if it was given; here, and for others that look back.
    """
    if any(reason.standing for reason in found.reasons):
        return [_command("migration", "report", *since), _doctor()]
    return [_command("migration", "status", *since)]


def of_status(found: MigrationStatus, *since: str) -> list[str]:
    """After a status: a verdict, as soon as there are jobs on the new side."""
    return [_command("migration", "guard" if found.total.new.jobs else "report", *since)]


def of_guard(found: Guard, *since: str, judged: Sequence[str] = ()) -> list[str]:
    """After a verdict. What lowers or raises a flag is not a command of this program's, so evidence is shown first.

    judged: the options that say what is judged, and how strictly.
    """
    if not found.worse:
        again = ("guard", *judged) if found.more_jobs else ("status",)
        return [_command("migration", *again, *since)]
    worse = [model.model for model in found.by_model if model.verdict == found.verdict]
    return [_command("migration", "report", *since), *_failed_jobs(worse)]


def _failed_jobs(models: Sequence[str]) -> list[str]:
    """Return the commands that list what failed, of a few models, each once: repositories may share names."""
    some = list(dict.fromkeys(models))[:_MOST_MODELS]
    return [_command("jobs", *option("--name", model), "--status", "failed") for model in some]


def of_switch(found: Switch, why: str | None) -> list[str]:
    """After a look at other flags: what stands against them, or else the switch; once it is done, how jobs fare."""
    if found.written:
        return [_command("migration", "status"), _command("migration", "guard")]
    if any(of.against or of.unproven for of in found.models):
        return [_command("migration", "report")]
    repair = ["--replace-broken"] if found.problem else []
    path = f"./{found.flags}" if found.flags.startswith("-") else found.flags
    reason = option("--why", why or "nothing stands against it")
    written = _command("migration", "switch", path, *reason, *repair)
    return [written] if found.target and found.models else [_command("migration", "status")]


def of_autopilot(found: AutopilotRun) -> list[str]:
    """After a look of the autopilot: what was only planned is done; where something was lowered, its jobs are shown."""
    if found.dry_run:
        return [_command("migration", "autopilot", "--once")]
    lowered = [step.model for step in found.steps if step.action == "lower" and step.model != "*"]
    return [*_failed_jobs(lowered), _command("migration", "status")]


def of_error(error: BaseException) -> list[str]:
    """After an error: the look that tells more."""
    if isinstance(error, WaitTimeout):
        return [_command("wait", *(job.id for job in error.jobs))]
    if isinstance(error, JobFailed | JobStopped):
        return [_command("logs", error.job.id)]
    if isinstance(error, Conflict | BackendUnavailable) and error.job_id:
        return [_command("status", error.job_id)]
    return [_doctor()] if isinstance(error, AccessDenied | BackendUnavailable | QuotaExceeded) else []
