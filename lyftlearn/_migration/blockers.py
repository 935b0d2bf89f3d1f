"""What stands against jobs on the new backend, commonest first: one for each kind of problem, however many name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.results import Blocker
from lyftlearn.history.problems import kind_of, without_ids
from lyftlearn.history.tables import Moment, jobs, problems

if TYPE_CHECKING:
    from lyftlearn.history.store import History

_Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Blockers:
    """What was found. rows: a row for each kind of problem and model, with how many jobs name it.

    examples: the newest problem of each kind. newest: when the newest job of each model was submitted that could have
    named one. unrecorded: by model, jobs that were refused, and nobody noted why.
    """

    rows: Sequence[_Row]
    examples: Mapping[str, tuple[str, str]]
    newest: Mapping[tuple[str, str], datetime]
    unrecorded: Mapping[str, int]

    def of_all(self) -> tuple[Blocker, ...]:
        """Return the problems over all models."""
        unrecorded = Blocker(
            path="backend",
            problem="the reason was not recorded",
            count=sum(self.unrecorded.values()),
            models=tuple(sorted(self.unrecorded)),
            standing=True,
        )
        found = self._blockers(self.rows)
        return (*found, unrecorded) if self.unrecorded else found

    def of_model(self, repository: str, model: str) -> tuple[Blocker, ...]:
        """Return the problems of one model."""
        return self._blockers([row for row in self.rows if (row["repository"], row["model"]) == (repository, model)])

    def _blockers(self, rows: Sequence[_Row]) -> tuple[Blocker, ...]:
        kinds: dict[str, list[_Row]] = {}
        for row in rows:
            kinds.setdefault(row["kind_id"], []).append(row)
        return tuple(sorted((self._blocker(kind, of) for kind, of in kinds.items()), key=_order))

    def _blocker(self, kind_id: str, rows: Iterable[_Row]) -> Blocker:
        of = list(rows)
        path, example = self.examples[kind_id]
        alike = len({text for row in of for text in (row["least"], row["greatest"])}) == 1
        standing = any(row["last"] == self.newest.get((row["repository"], row["model"])) for row in of)
        return Blocker(
            path=path,
            problem=example if alike else kind_of(path, example)[1],
            count=sum(row["jobs"] for row in of),
            models=tuple(sorted({row["model"] for row in of})),
            standing=standing,
            example=None if alike else example,
        )


def _order(blocker: Blocker) -> tuple[int, str, str]:
    return -blocker.count, blocker.path, blocker.problem


def blockers(
    history: History,
    backend: str,
    since: datetime | None,
    *,
    fell_back: bool,
    unrecorded: Mapping[str, int] | None = None,
) -> Blockers:
    """Ask what stood against jobs on `backend` submitted since then: in rehearsals, or when it refused them."""
    where = [problems.c.backend == backend, problems.c.fell_back == fell_back]
    repository = sa.func.coalesce(problems.c.repository, "unknown").label("repository")
    query = sa.select(
        problems.c.kind_id,
        repository,
        problems.c.model,
        sa.func.count().label("jobs"),
        sa.func.min(problems.c.text_id).label("least"),
        sa.func.max(problems.c.text_id).label("greatest"),
        sa.func.max(problems.c.at, type_=Moment).label("last"),
    ).where(*where, *([problems.c.at >= since] if since else []))
    rows = history.select(query.group_by(problems.c.kind_id, problems.c.repository, problems.c.model))
    examples = {kind_id: _example(history, [*where, problems.c.kind_id == kind_id]) for kind_id in _kinds(rows)}
    return Blockers(rows, examples, _newest(history, backend, since, fell_back=fell_back), unrecorded or {})


def _kinds(rows: Iterable[_Row]) -> set[str]:
    return {row["kind_id"] for row in rows}


def _example(history: History, where: Sequence[sa.ColumnElement[bool]]) -> tuple[str, str]:
    newest = (problems.c.at.desc(), problems.c.job_id.desc())
    (row,) = history.select(sa.select(problems.c.path, problems.c.problem).where(*where).order_by(*newest).limit(1))
    return row["path"], without_ids(row["problem"])


def _newest(
    history: History, backend: str, since: datetime | None, *, fell_back: bool
) -> Mapping[tuple[str, str], datetime]:
    asked = jobs.c.fell_back if fell_back else (jobs.c.rehearsed_on == backend) & ~jobs.c.fell_back
    repository = sa.func.coalesce(jobs.c.repository, "unknown").label("repository")
    query = sa.select(repository, jobs.c.model, sa.func.max(jobs.c.at, type_=Moment).label("newest"))
    query = query.where(asked, *([jobs.c.at >= since] if since else [])).group_by(jobs.c.repository, jobs.c.model)
    return {(row["repository"], row["model"]): row["newest"] for row in history.select(query)}
