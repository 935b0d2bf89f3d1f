"""What stands against jobs on the new backend, commonest first: one for each kind of problem, however many name it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from lyftlearn._migration.results import Blocker
from lyftlearn._migration.rungs import UNKNOWN
from lyftlearn.history.problems import kind_of, without_ids
from lyftlearn.history.tables import Moment, problems
from lyftlearn.history.tallies import EVIDENCE, counts

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
        return tuple(sorted((self._blocker(kind, of) for kind, of in _by_kind(rows).items()), key=_order))

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
    repository = sa.func.coalesce(problems.c.repository, UNKNOWN).label("repository")
    query = sa.select(
        problems.c.kind_id,
        problems.c.repository.label("of"),
        repository,
        problems.c.model,
        sa.func.count().label("jobs"),
        sa.func.min(problems.c.text_id).label("least"),
        sa.func.max(problems.c.text_id).label("greatest"),
        sa.func.max(problems.c.at, type_=Moment).label("last"),
    ).where(*where, *([problems.c.at >= since] if since else []))
    rows = history.select(query.group_by(problems.c.kind_id, problems.c.repository, problems.c.model))
    examples = {kind_id: _example(history, where, of) for kind_id, of in _by_kind(rows).items()}
    return Blockers(rows, examples, _newest(history, backend, since, fell_back=fell_back), unrecorded or {})


def _by_kind(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    kinds: dict[str, list[_Row]] = {}
    for row in rows:
        kinds.setdefault(row["kind_id"], []).append(row)
    return kinds


def _example(history: History, where: Sequence[sa.ColumnElement[bool]], rows: Sequence[_Row]) -> tuple[str, str]:
    """Return the newest problem of a kind. rows: of its models; the index leads from those with the newest to it."""
    last = max(row["last"] for row in rows)
    models = sa.or_(*(_is_of(row) for row in rows if row["last"] == last))
    query = sa.select(problems.c.path, problems.c.problem).where(*where, problems.c.kind_id == rows[0]["kind_id"])
    query = query.where(models, problems.c.at == last).order_by(problems.c.job_id.desc()).limit(1)
    (row,) = history.select(query)
    return row["path"], without_ids(row["problem"])


def _is_of(row: _Row) -> sa.ColumnElement[bool]:
    named = problems.c.repository.is_(None) if row["of"] is None else problems.c.repository == row["of"]
    return sa.and_(named, problems.c.model == row["model"])


def standing_problems(history: History, backend: str, since: datetime) -> dict[tuple[str, str], list[str]]:
    """Return what the newest rehearsal on `backend` of each model named, if it was submitted since then, in its order.

    The index leads from a model and a moment to its problems, so those of earlier rehearsals are not read.
    """
    newest = _newest_query(history.dialect, backend, None, fell_back=False).subquery("newest")
    of = problems.c
    is_standing = (of.model == newest.c.model) & (of.at == newest.c.newest) & (of.backend == backend)
    is_standing &= (of.fell_back == sa.false()) & (sa.func.coalesce(of.repository, UNKNOWN) == newest.c.repository)
    query = sa.select(newest.c.repository, newest.c.model, of.kind_id, of.path, of.problem)
    query = query.outerjoin_from(newest, problems, is_standing)  # so problems are read last
    query = query.where(newest.c.newest >= since).order_by(of.number, of.job_id)
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in (row for row in history.select(query) if row["kind_id"] is not None):
        of_model = found[row["repository"], row["model"]]
        of_model.setdefault(row["kind_id"], f"{row['path']}: {without_ids(row['problem'])}")
    return {model: list(told.values()) for model, told in found.items()}


def _newest(
    history: History, backend: str, since: datetime | None, *, fell_back: bool
) -> Mapping[tuple[str, str], datetime]:
    rows = history.select(_newest_query(history.dialect, backend, since, fell_back=fell_back))
    return {(row["repository"], row["model"]): row["newest"] for row in rows}


def _newest_query(
    dialect: str, backend: str, since: datetime | None, *, fell_back: bool
) -> sa.Select[*tuple[Any, ...]]:
    of = counts(dialect, since, None, EVIDENCE)
    asked = of.c.fell_back if fell_back else (of.c.rehearsed_on == backend) & ~of.c.fell_back
    repository = sa.func.coalesce(of.c.repository, UNKNOWN).label("repository")
    query = sa.select(repository, of.c.model, sa.func.max(of.c.newest, type_=Moment).label("newest"))
    return query.where(asked).group_by(of.c.repository, of.c.model).having(sa.func.sum(of.c.jobs) > 0)
