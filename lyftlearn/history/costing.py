"""What jobs have cost: counted once a job has ended, and kept with it, because prices change."""

from __future__ import annotations

import time
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lyftlearn._contract.costs import Bill, HourlyPrice, Usage, price_of
from lyftlearn._contract.options import read_options
from lyftlearn._contract.prices import PRICE_OPTIONS, Prices, take_prices
from lyftlearn._text.display import reason_of
from lyftlearn._text.small_file import read_small_text
from lyftlearn.errors import BackendUnavailable, InvalidJob, LyftLearnError
from lyftlearn.history.rows import UsageRow

if TYPE_CHECKING:
    from pathlib import Path

    from lyftlearn._contract.fault import Fault
    from lyftlearn._registry import Registry
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

_SECONDS_TO_COUNT = 30.0
_AT_ONCE = 500
_ENDED = ("succeeded", "failed", "stopped")


@dataclass
class PriceBook:
    """The prices of every backend: of the file that the configuration names, else the backend's own.

    A backend that cannot be asked is asked once, and its prices are not known.
    """

    config: Config
    registry: Registry
    _own: dict[str, Prices] = field(default_factory=dict)
    _away: dict[str, str] = field(default_factory=dict)
    _without_bills: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.config.price_file
        self._of_file = {} if path is None else _read_file(path)

    def hourly(self, backend: str, machine: str | None, resources: Mapping[str, Any] | None) -> HourlyPrice:
        """Return what a node costs for an hour; or why that is not known."""
        prices = self.prices(backend, [machine] if machine else [])
        if backend in self._away and not prices.are_known:
            return HourlyPrice(None, prices.currency, self._away[backend])
        return price_of(machine, resources, prices, backend)

    def prices(self, backend: str, machines: Collection[str] = ()) -> Prices:
        """Return the prices of a backend, of these machines at least where they are known."""
        if backend in self._of_file:
            return self._of_file[backend]
        known = self._own.get(backend)
        if known is None or any(machine not in known.instances for machine in machines):
            self._own[backend] = known = self._ask(backend, machines)
        return known

    def bill(self, row: Mapping[str, Any]) -> tuple[Bill | None, str]:
        """Return what the platform says that a job has cost; and where it should know and cannot tell, why."""
        backend, start, end = row["backend"], row["started_at"], row["finished_at"]
        if start is None or end is None or not self.prices(backend).has_bills:
            return None, ""
        if backend in self._without_bills:
            return None, self._without_bills[backend]
        try:
            return self.registry.get(backend).bill(row["job_id"], start, end), ""
        except BackendUnavailable as exc:
            self._without_bills[backend] = str(exc)
            return None, str(exc)
        except LyftLearnError as exc:
            return None, str(exc)

    def _ask(self, backend: str, machines: Collection[str]) -> Prices:
        if backend in self._away:
            return self._own.get(backend, Prices())
        try:
            return self.registry.get(backend).prices(machines)
        except LyftLearnError as exc:
            self._away[backend] = f"the prices of {backend} cannot be asked: {exc}"
            return self._own.get(backend, Prices())


def count_costs(
    history: History, book: PriceBook, since: datetime | None, seconds: float = _SECONDS_TO_COUNT
) -> tuple[tuple[str, int], ...]:
    """Count what jobs have cost that have ended since then and are not counted, the newest first, for about so long.

    Return why the cost of jobs is not known, with the number of jobs, most first.
    """
    until = time.monotonic() + seconds
    unknown, priced = _without_prices(history, book, since)
    before: tuple[datetime, str] | None = None
    while priced and time.monotonic() < until:
        rows = _uncounted_rows(history, priced, since, before)
        if not rows:
            break
        counted = [cost_of(row, book) for row in rows]
        history.record(*(one for one in counted if one.cost is not None))
        unknown.update(str(one.basis) for one in counted if one.cost is None)
        before = (rows[-1]["at"], rows[-1]["job_id"])
    return tuple(unknown.most_common())


def find(history: History, job_id: str) -> Mapping[str, Any] | None:
    """Return one job as `cost_of` takes it, with its basis; None if it is not known."""
    import sqlalchemy as sa  # noqa: PLC0415 - only for those who look back

    from lyftlearn.history.tables import details, jobs  # noqa: PLC0415 - brings SQLAlchemy

    query = sa.select(jobs, details.c.resources, details.c.basis)
    query = query.outerjoin(details, details.c.job_id == jobs.c.job_id).where(jobs.c.job_id == job_id)
    return next(iter(history.select(query)), None)


def find_priced(history: History, job_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return id, cost and currency of those of some jobs that have a cost."""
    import sqlalchemy as sa  # noqa: PLC0415 - only for those who look back

    from lyftlearn.history.tables import jobs  # noqa: PLC0415 - brings SQLAlchemy

    query, found = sa.select(jobs.c.job_id, jobs.c.cost, jobs.c.currency).where(jobs.c.cost.is_not(None)), []
    for start in range(0, len(job_ids), _AT_ONCE):
        found += history.select(query.where(jobs.c.job_id.in_(job_ids[start : start + _AT_ONCE])))
    return found


def usual_seconds(history: History, model: str, kind: str, backend: str) -> tuple[float | None, int]:
    """Return the median duration of jobs that succeeded, and their number."""
    import sqlalchemy as sa  # noqa: PLC0415 - as above

    from lyftlearn.history.queries import ordered_values  # noqa: PLC0415 - brings SQLAlchemy
    from lyftlearn.history.tables import jobs  # noqa: PLC0415 - as above

    where = [jobs.c.backend == backend, jobs.c.model == model, jobs.c.kind == kind, jobs.c.status == "succeeded"]
    (counted,) = history.select(sa.select(sa.func.count(jobs.c.duration).label("runs")).where(*where))
    runs = int(counted["runs"])
    values = ordered_values(history, jobs.c.duration, where, (runs - 1) // 2, 2 - runs % 2) if runs else []
    return (sum(values) / len(values) if values else None), runs


def cost_of(row: Mapping[str, Any], book: PriceBook) -> UsageRow:
    """Return what one job has cost. row: of `jobs`, with the resources of `details`."""
    usage = _usage(row, book.registry)
    if usage is None:
        return UsageRow(job_id=row["job_id"], basis="it is not known how long it ran")
    bill, why = book.bill(row)
    if bill is None:
        price = book.hourly(row["backend"], usage.machine, row["resources"])
        basis = "; ".join(filter(None, (price.basis, why)))
        bill = Bill(price.of(usage.seconds, usage.nodes), price.currency, basis)
    return UsageRow(
        job_id=row["job_id"],
        machine=usage.machine,
        spot=usage.spot,
        billed=usage.seconds,
        cost=bill.amount,
        currency=None if bill.amount is None else bill.currency,
        basis=bill.basis,
    )


def _usage(row: Mapping[str, Any], registry: Registry) -> Usage | None:
    """Return what the platform counted, else the time from a job's start to its end; None where that is not known."""
    with suppress(LyftLearnError):  # it is gone, or cannot be asked: its times are known
        told = registry.get(row["backend"]).usage(row["job_id"])
        if told is not None:
            return told
    never_started = row["started_at"] is None and row["status"] != "succeeded"
    seconds = 0.0 if never_started else row["duration"]
    if seconds is None:
        return None
    return Usage(seconds=seconds, nodes=row["nodes"] or 1, machine=row["machine"])


def _without_prices(history: History, book: PriceBook, since: datetime | None) -> tuple[Counter[str], list[str]]:
    """Return why jobs cannot be counted of backends without any price, with their numbers; and the other backends."""
    unknown: Counter[str] = Counter()
    priced = []
    for backend, uncounted in _uncounted_numbers(history, since).items():
        if uncounted > 0 and book.prices(backend).are_known:
            priced.append(backend)
        elif uncounted > 0:
            unknown[book.hourly(backend, None, None).basis] += uncounted
    return unknown, priced


def _uncounted_numbers(history: History, since: datetime | None) -> dict[str, int]:
    """Return by backend how many jobs have ended whose cost is not known."""
    import sqlalchemy as sa  # noqa: PLC0415 - only for those who look back

    from lyftlearn.history.tallies import counts  # noqa: PLC0415 - brings SQLAlchemy

    of = counts(history.dialect, since, None)
    number = (sa.func.sum(of.c.jobs) - sa.func.sum(of.c.priced)).label("number")
    query = sa.select(of.c.backend, number).where(of.c.status.in_(_ENDED)).group_by(of.c.backend)
    return {row["backend"]: row["number"] for row in history.select(query)}


def _is_uncounted(since: datetime | None) -> list[Any]:
    from lyftlearn.history.tables import jobs  # noqa: PLC0415 - brings SQLAlchemy

    ended = jobs.c.status.in_(_ENDED)
    return [jobs.c.cost.is_(None), ended, *([jobs.c.at >= since] if since is not None else [])]


def _uncounted_rows(
    history: History, backends: Collection[str], since: datetime | None, before: tuple[datetime, str] | None
) -> list[Mapping[str, Any]]:
    import sqlalchemy as sa  # noqa: PLC0415 - only for those who look back

    from lyftlearn.history.tables import details, jobs  # noqa: PLC0415 - brings SQLAlchemy

    query = (
        sa.select(jobs, details.c.resources)
        .outerjoin(details, details.c.job_id == jobs.c.job_id)
        .where(*_is_uncounted(since), jobs.c.backend.in_(backends))
        .order_by(jobs.c.at.desc(), jobs.c.job_id.desc())
        .limit(_AT_ONCE)
    )
    if before is not None:
        query = query.where(sa.tuple_(jobs.c.at, jobs.c.job_id) < sa.tuple_(*map(sa.literal, before)))
    return history.select(query)


def _read_file(path: Path) -> dict[str, Prices]:
    """Return the prices of a file by backend. Raises InvalidJob with every fault."""
    try:
        document = tomllib.loads(read_small_text(path))
    except (OSError, ValueError) as exc:
        raise InvalidJob([("[cost] prices", f"{path} cannot be read: {reason_of(exc)}")]) from exc
    found: dict[str, Prices] = {}
    faults: list[Fault] = []
    for backend, table in document.items():
        values, wrong = read_options(f"{path.name}: {backend}", {"prices": table}, PRICE_OPTIONS)
        faults += wrong
        found[backend] = take_prices(values, str(path))
    if faults:
        raise InvalidJob(faults)
    return found
