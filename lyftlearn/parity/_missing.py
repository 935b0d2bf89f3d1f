"""Facts of a job that did not tell them are not observed, and one row says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lyftlearn.parity._model import Cell, Observation, Parity, Row, Verdict
from lyftlearn.parity._run import OBSERVED, TrialResult

JOBS, SUBMISSION = "jobs", "submission"


@dataclass(frozen=True)
class Run:
    """One run on one backend. results: of each job, by its name."""

    observation: Observation
    results: Mapping[str, TrialResult]

    def has_observed(self, job: str) -> bool:
        """Whether a job has told anything; of SUBMISSION, whether any job has."""
        if job == SUBMISSION:
            return any(one.end == OBSERVED for one in self.results.values())
        return self.results[job].end == OBSERVED


def mark_missing(parity: Parity, runs: Sequence[Run]) -> Parity:
    """Return `parity` with missing facts told from missing jobs. runs: the reference's two first."""
    jobs = _jobs_of(runs)
    return replace(parity, rows=tuple(_mark_row(row, jobs.get(row.path), runs) for row in parity.rows))


def _jobs_of(runs: Sequence[Run]) -> dict[str, str]:
    """Which job tells each path."""
    found = {f"{JOBS} {SUBMISSION}": SUBMISSION}
    for run in runs:
        found |= {path: job for job, result in run.results.items() for path in (f"{JOBS} {job}", *result.facts)}
        found |= {path: "command" for path in run.observation.facts if path.startswith("command ")}
    return found


def _mark_row(row: Row, job: str | None, runs: Sequence[Run]) -> Row:
    if job is None:
        return row
    references, others = runs[:2], {run.observation.backend: run for run in runs[2:]}
    by_reference = all(run.has_observed(job) for run in references)
    cells = {
        name: cell
        if by_reference and others[name].has_observed(job)
        else _missing_cell(row, job, cell, [*references, others[name]])
        for name, cell in row.cells.items()
    }
    return replace(row, cells=cells)


def _missing_cell(row: Row, job: str, cell: Cell, runs: Sequence[Run]) -> Cell:
    silent = next(run for run in runs if not run.has_observed(job))
    name = silent.observation.backend
    if row.path != f"{JOBS} {job}":
        why = f"not observed on {name}: see the rows of `{JOBS}`"
    elif job != SUBMISSION and not silent.has_observed(SUBMISSION):
        why = f"no job was observed on {name}: see `{JOBS} {SUBMISSION}`"
    else:
        end = (
            next(one.end for one in silent.results.values() if one.end != OBSERVED)
            if job == SUBMISSION
            else silent.results[job].end
        )
        return Cell(verdict=Verdict.UNKNOWN, value=cell.value, reason=f"{name}: {end}")
    return replace(cell, verdict=Verdict.NOT_OBSERVED, reason=why)
