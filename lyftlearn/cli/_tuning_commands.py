"""`tune` and `trials`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._jobs.tuning import Trial, TuningJob
from lyftlearn._text.display import printable
from lyftlearn.cli import _output, _search_values, _submit_commands, _tables
from lyftlearn.cli._exit_codes import ExitCode
from lyftlearn.errors import InvalidJob, JobNotFound, LyftLearnError

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn.cli._invocation import Invocation

_AT_ONCE = 8  # requests, each of which waits for an answer


def tune(invocation: Invocation) -> ExitCode:
    """Start a search, and do what was asked for afterwards."""
    given = dict(invocation.arguments)
    goal = "minimize" if "minimize" in given else "maximize"
    given["objective"] = _search_values.objective(given.pop(goal), goal, given.pop("pattern", None))
    return _submit_commands.run(replace(invocation, arguments=given))


def trials(invocation: Invocation) -> ExitCode:
    """List the trials of a search, the best marked."""
    job = Client(config=invocation.config).job(invocation.arguments["id"])
    if not isinstance(job, TuningJob):
        raise InvalidJob([("ID", f"{job.id} is a {job.kind} job: write the id of a search")])
    found = job.trials()
    _ask_how_they_are([trial.job for trial in found if not trial.job.state.status.finished])
    if invocation.json:
        _output.document([_document(trial) for trial in found])
    elif found:
        _tables.show(_table(found, _best(job, found)))
    else:
        _output.note("no trials yet")
    return ExitCode.DONE


def _ask_how_they_are(jobs: list[Job]) -> None:
    """Refresh the trials that have no end in the study. One that is about to be submitted stays pending."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        unknown = [error for error in pool.map(_refresh, jobs) if error is not None]
    if unknown:
        _output.note(f"how {len(unknown)} of the trials are cannot be asked now: {unknown[0]}")


def _refresh(job: Job) -> LyftLearnError | None:
    try:
        job.refresh()
    except JobNotFound:
        return None
    except LyftLearnError as exc:
        return exc
    return None


def _best(job: TuningJob, found: list[Trial]) -> int | None:
    return job.best().number if any(trial.objective is not None for trial in found) else None


def _table(found: list[Trial], best: int | None) -> _tables.Table:
    return _tables.Table(
        heads=["trial", "objective", "status", "id", "hyperparameters", "message"],
        rows=[_row(trial, is_best=trial.number == best) for trial in found],
        dispensable=("message", "status", "id"),
        free="hyperparameters",
    )


def _row(trial: Trial, *, is_best: bool) -> list[str]:
    objective = "-" if trial.objective is None else f"{trial.objective:g}"
    return [
        str(trial.number),
        f"{objective} (best)" if is_best else objective,
        str(trial.job.state.status),
        trial.job.id,
        printable(json.dumps(dict(trial.hyperparameters), sort_keys=True)),
        printable(trial.message) or "-",
    ]


def _document(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "hyperparameters": dict(trial.hyperparameters),
        "objective": trial.objective,
        "job": trial.job.id,
        "status": str(trial.job.state.status),
        "message": trial.message,
    }
