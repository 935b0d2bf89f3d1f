"""What has been shown of each kind of workflow: a checklist, made from the jobs of the history and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.results import Workflow
from lyftlearn._migration.showings import showings
from lyftlearn.history.lines import GPU, SECRETS, SPARK
from lyftlearn.history.makings import known_makings
from lyftlearn.history.queries import Condition, sum_if
from lyftlearn.history.tables import Moment
from lyftlearn.types import JobKind

if TYPE_CHECKING:
    from lyftlearn._migration.parity_runs import ParityRun
    from lyftlearn.history.store import History

_Row: TypeAlias = Mapping[str, Any]


def _of_kind(kind: JobKind) -> Callable[[_Row], bool]:
    return lambda row: bool(row["kind"] == kind)


def _with(feature: str) -> Callable[[_Row], bool]:
    return lambda row: feature in (row["features"] or "").split(",")


_OF_JOBS: Mapping[str, Callable[[_Row], bool]] = {
    "training": _of_kind(JobKind.TRAIN),
    "processing": _of_kind(JobKind.PROCESS),
    "prediction": _of_kind(JobKind.PREDICT),
    "tuning": _of_kind(JobKind.TUNE),
    "notebooks": _of_kind(JobKind.NOTEBOOK),
    "several nodes": lambda row: bool(row["several"]),
    "GPU": _with(GPU),
    "secrets": _with(SECRETS),
    "Spark": _with(SPARK),
    "metrics": lambda _: False,  # no submission says whether a program will send some
}
"""The workflows, and which jobs are of one."""
_SUBJECTS = {
    "training": "artifacts", "tuning": "search", "notebooks": "notebook", "several nodes": "nodes",
    "secrets": "secrets", "metrics": "statsd",
}  # fmt: skip
"""What `parity run` compares of a workflow."""
RAN, FAILED, WOULD_RUN, WOULD_NOT_RUN = "ran there", "failed there", "would run there", "would not run there"
ALIKE, NOTHING, NOT_USED = "alike in a parity run", "nothing", "not used"


def workflows(
    history: History, is_ours: Condition, since: datetime | None, new: str, runs: Sequence[ParityRun]
) -> tuple[Workflow, ...]:
    """Return what is shown of each, of jobs submitted since then. runs: comparisons that count, newest first."""
    told = [_query(of, is_ours, new) for of in showings(history.dialect, since)]
    rows = [row for query in told for row in history.select(query)]
    return tuple(_workflow(name, list(filter(of, rows)), new, runs) for name, of in _OF_JOBS.items())


def _query(of: sa.Subquery, is_ours: Condition, new: str) -> sa.Select[*tuple[Any, ...]]:
    made = known_makings()
    is_rehearsed = (of.c.rehearsed_on == new) & ~of.c.fell_back
    counted = {
        "succeeded": of.c.status == "succeeded",
        "failed": of.c.status == "failed",
        "rehearsed": is_rehearsed,
        "would_have_run": is_rehearsed & of.c.is_hindered.is_(sa.false()),
    }
    keys = (of.c.kind, of.c.is_on_several.label("several"), made.c.features, of.c.backend, of.c.is_shadow)
    query = sa.select(
        *keys,
        *(sa.func.sum(of.c[name]).label(name) for name in ("jobs", "compared", "alike")),
        *(sum_if(condition, of.c.jobs).label(name) for name, condition in counted.items()),
        sa.func.max(of.c.newest, type_=Moment).label("newest"),
    ).select_from(of.outerjoin(made, made.c.making == of.c.making))
    grouped = query.where(is_ours(of)).group_by(of.c.kind, of.c.is_on_several, *keys[2:])
    return grouped.having(sa.func.sum(of.c.jobs + of.c.compared) > 0)


def _workflow(name: str, rows: Sequence[_Row], new: str, runs: Sequence[ParityRun]) -> Workflow:
    submitted = [row for row in rows if not row["is_shadow"]]
    there = [row for row in rows if row["backend"] == new]
    count = {of: _sum(submitted, of) for of in ("jobs", "rehearsed", "would_have_run", "compared", "alike")}
    count |= {of: _sum(there, of) for of in ("succeeded", "failed")}
    newest = max((row["newest"] for row in there), default=None)
    parity, parity_at = _parity_of(_SUBJECTS.get(name), runs)
    shown = _strongest(count, parity=parity)
    return Workflow(name=name, shown=shown, **count, newest=newest, parity=parity, parity_at=parity_at)


def _sum(rows: Sequence[_Row], of: str) -> int:
    return sum(int(row[of]) for row in rows)


def _parity_of(subject: str | None, runs: Sequence[ParityRun]) -> tuple[bool | None, datetime | None]:
    """Return whether a subject was the same on both sides in the newest comparison that looked at it, and when."""
    found = ((run.subjects[subject], run.at) for run in runs if subject is not None and subject in run.subjects)
    return next(found, (None, None))


def _strongest(count: Mapping[str, int], *, parity: bool | None) -> str:
    """Return the strongest that is shown: a job that ran says more than a rehearsal, and both more than a probe."""
    if count["succeeded"]:
        return RAN
    if count["failed"]:
        return FAILED
    if count["rehearsed"]:
        return WOULD_RUN if count["would_have_run"] else WOULD_NOT_RUN
    if parity:
        return ALIKE
    return NOT_USED if parity is None and not count["jobs"] else NOTHING
