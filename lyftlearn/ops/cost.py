"""What jobs have cost, and what one would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lyftlearn._client import Client
from lyftlearn._contract.options import nearest
from lyftlearn._jobs.arguments import point_in_time
from lyftlearn.errors import InvalidJob
from lyftlearn.ops.history import open_history
from lyftlearn.types import Duration

if TYPE_CHECKING:
    from lyftlearn._jobs.job import Job
    from lyftlearn._session import Session
    from lyftlearn.backend import Plan
    from lyftlearn.history.costing import PriceBook
    from lyftlearn.history.queries import Tally
    from lyftlearn.history.store import History

BY = ("team", "model", "backend", "repository", "project", "owner", "kind", "machine", "day")
"""What costs can be added up by."""


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """What the jobs of one group have cost.

    group: the value that they share, None where it is not known. hours: of all their nodes together, while they ran.
    cost: in `currency`, of the `priced` jobs alone; None where no job has a price. unpriced: jobs that have ended, and
    whose price or time nobody knows. open: jobs without a known end.
    """

    group: str | None
    jobs: int
    priced: int
    unpriced: int
    open: int
    hours: float
    cost: float | None
    currency: str | None


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """Costs by group, dearest first. unknown: why jobs have no price, with the number of jobs, most first."""

    by: str
    since: datetime | None
    rows: tuple[CostRow, ...]
    unknown: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """What a job has cost, or would cost for an hour. amount: None where that is not known; basis says why, or how."""

    amount: float | None
    currency: str
    basis: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a planned job would cost: for an hour of all its nodes, and if it runs until its timeout.

    usual: by the median duration of `runs` earlier jobs of this model on this backend that succeeded.
    """

    hourly: JobCost
    at_most: float | None
    usual: float | None
    runs: int


def cost(by: str = "model", since: Duration | datetime | None = "30d", *, client: Client | None = None) -> CostReport:
    """Return what the jobs submitted since then have cost.

    It asks the backends how jobs ended and what was billed, for a minute at most. by: one of `BY`. Raises InvalidJob,
    and BackendUnavailable if the history cannot be read.
    """
    from lyftlearn.history import costing, settle  # noqa: PLC0415 - brings SQLAlchemy

    if by not in BY:
        guess = nearest(by, BY)
        problem = f"is {by!r}{f': did you mean {guess!r}?' if guess else ''} Write one of {', '.join(BY)}"
        raise InvalidJob([("by", problem)])
    start, session = point_in_time("since", since), (client or Client())._session  # noqa: SLF001 - its other half
    book = costing.PriceBook(session.config, session.registry)
    with open_history(session) as history:
        settle.settle(history, session.registry)
        why = costing.count_costs(history, book, start)
        return CostReport(by=by, since=start, rows=tuple(cost_rows(history, by, start)), unknown=why)


def cost_rows(history: History, by: Any, since: datetime | None, teams: Sequence[str] | None = None) -> list[CostRow]:
    """Return what a history knows of costs, dearest first, and asks nobody. teams: whose jobs, by default everybody's.

    by: one of `BY`.
    """
    from lyftlearn.history.queries import tally  # noqa: PLC0415 - brings SQLAlchemy

    where = [] if teams is None else [lambda of: of.c.team.in_(teams)]
    tallies = tally(history, (by, "currency"), since=since, where=where)
    groups: dict[Any, dict[str | None, list[Tally]]] = {}
    for one in tallies:
        groups.setdefault(one.key[0], {}).setdefault(one.key[1], []).append(one)
    rows = [row for group, of in groups.items() for row in _rows_of(group, of)]
    return sorted(rows, key=lambda row: (-(row.cost or 0.0), -row.hours, row.group or ""))


def _rows_of(group: Any, by_currency: dict[str | None, list[Tally]]) -> list[CostRow]:
    """Return a row for each currency. Jobs without a price stand in the first."""
    unpriced = by_currency.pop(None, [])
    if not by_currency:
        return [_row(group, None, unpriced)]
    first = min(str(currency) for currency in by_currency)
    return [_row(group, name, [*of, *(unpriced if name == first else [])]) for name, of in by_currency.items()]


def _row(group: Any, currency: str | None, of: list[Tally]) -> CostRow:
    jobs, priced, still_open = (sum(getattr(one, name) for one in of) for name in ("jobs", "priced", "open"))
    return CostRow(
        group=group,
        jobs=jobs,
        priced=priced,
        unpriced=jobs - priced - still_open - sum(one.refused for one in of),
        open=still_open,
        hours=sum(one.seconds for one in of) / 3600,
        cost=sum(one.cost for one in of) if priced else None,
        currency=currency,
    )


def known_costs(jobs: Sequence[Job], *, client: Client | None = None) -> dict[str, JobCost]:
    """Return by id what the history knows that jobs have cost. It asks nobody. Raises what `cost` raises."""
    from lyftlearn.history import costing  # noqa: PLC0415 - brings SQLAlchemy

    session = (client or Client())._session  # noqa: SLF001 - the client's other half
    if not jobs or not session.history.exists:
        return {}
    with open_history(session) as history:
        rows = costing.find_priced(history, [job.id for job in jobs])
    return {row["job_id"]: JobCost(amount=row["cost"], currency=row["currency"], basis="") for row in rows}


def job_cost(job: Job, *, client: Client | None = None) -> JobCost | None:
    """Return what a job has cost that has ended; None for one that goes on. Raises what `cost` raises."""
    from lyftlearn.history import costing  # noqa: PLC0415 - brings SQLAlchemy

    if not job.state.status.finished:
        return None
    session = (client or Client())._session  # noqa: SLF001 - the client's other half
    book = costing.PriceBook(session.config, session.registry)
    told = _cost_at_a_glance(session, book, job.id)
    if told is not None:
        return told
    with open_history(session) as history:
        row = costing.find(history, job.id)
        if row is None:
            return JobCost(amount=None, currency="", basis="the history does not know this job")
        if row["cost"] is not None:
            return JobCost(amount=row["cost"], currency=row["currency"], basis=row["basis"] or "")
        counted = costing.cost_of(row, book)
        history.record(counted if counted.cost is not None else replace(counted, basis=None))  # may be known later
        return JobCost(amount=counted.cost, currency=counted.currency or "", basis=counted.basis or "")


def _cost_at_a_glance(session: Session, book: PriceBook, job_id: str) -> JobCost | None:
    """Return what needs no database library: a cost in the user's own file, or that there is no price to count by."""
    from lyftlearn.history import glance  # noqa: PLC0415 - only for those who look at one job

    if not glance.is_own_file(session.config):
        return None
    known = glance.known_cost(session.config, job_id)
    if known is not None:
        return JobCost(amount=known[0], currency=known[1], basis=known[2])
    backend = session.registry.named_in(job_id)
    if backend is None or book.prices(backend).are_known:
        return None
    return JobCost(amount=None, currency="", basis=book.hourly(backend, None, None).basis)


def estimate(plan: Plan, *, client: Client | None = None) -> Estimate:
    """Return what a planned job would cost. It may ask a price list. Raises InvalidJob for a broken price file."""
    from lyftlearn.history import costing  # noqa: PLC0415 - only for those who count

    session = (client or Client())._session  # noqa: SLF001 - the client's other half
    spec, book = plan.spec, costing.PriceBook(session.config, session.registry)
    machine = session.registry.get(plan.backend).instance_type(plan)
    price = book.hourly(plan.backend, machine, vars(spec.resources))
    usual, runs = _usual_seconds(session, plan) if price.amount is not None else (None, 0)
    return Estimate(
        hourly=JobCost(amount=price.of(3600, spec.nodes), currency=price.currency, basis=price.basis),
        at_most=None if spec.notebook else price.of(spec.timeout.total_seconds(), spec.nodes),
        usual=None if usual is None else price.of(usual, spec.nodes),
        runs=runs,
    )


def _usual_seconds(session: Session, plan: Plan) -> tuple[float | None, int]:
    """Return the median duration of earlier jobs, and their number; none where the history cannot tell."""
    from lyftlearn.history import costing  # noqa: PLC0415 - as above

    if not session.history.exists:
        return None, 0
    with open_history(session) as history:
        return costing.usual_seconds(history, plan.spec.name, str(plan.spec.kind), plan.backend)
