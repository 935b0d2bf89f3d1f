"""What jobs show of the other side, counted: the tallies of evidence, and the comparisons of shadows, which are few."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lyftlearn.history.tables import Moment, comparisons, jobs
from lyftlearn.history.tallies import EVIDENCE, counts, values_of_jobs


def showings(dialect: str, since: datetime | None = None) -> tuple[sa.Subquery, sa.Subquery]:
    """Return what jobs that were submitted from `since` on count, with the columns of `evidence` and three more.

    compared: jobs whose shadows were compared with them; alike: those that differed in nothing. compared_at: when such
    a job was submitted. The first table has the comparisons and the second one the rest. Each is grouped by itself,
    which takes half as long as both together; rows that have the same keys are to be added up.
    """
    of = counts(dialect, since, None, EVIDENCE)
    nobody = [sa.literal_column("0", sa.Integer).label(name) for name in ("compared", "alike")]
    rest = sa.select(*of.c, *nobody, sa.type_coerce(sa.null(), Moment).label("compared_at"))
    return _comparison_rows(dialect, since).subquery("showings"), rest.subquery("showings")


def _comparison_rows(dialect: str, since: datetime | None) -> sa.Select[*tuple[Any, ...]]:
    """Return a row for each comparison, read before its job, of which there are many more."""
    values = {column.name: column for column in values_of_jobs(dialect, EVIDENCE)}
    values["jobs"] = sa.literal(0).label("jobs")
    alike = sa.case((sa.cast(comparisons.c.differences, sa.Text) == "[]", 1), else_=0)
    more = [sa.literal(1).label("compared"), alike.label("alike"), jobs.c.at.label("compared_at")]
    query = sa.select(*values.values(), *more)
    query = query.outerjoin_from(comparisons, jobs, jobs.c.job_id == comparisons.c.job_id)
    is_known = sa.func.coalesce(jobs.c.model, "") != ""
    return query.where(is_known, *([sa.func.coalesce(jobs.c.at, comparisons.c.at) >= since] if since else []))
