"""The history in its database: a SQLite file of this user by default, or one PostgreSQL that a platform shares.

Many processes write at once, and any of them may write the same again. So every write only fills what is not known
yet: neither order nor repetition changes the result. Each write is one transaction on a connection of its own, so that
nothing is shared with a forked child and a thousand notebooks hold no connection open. SQLite keeps its usual journal:
a write-ahead log would need memory that is shared, and homes are often on a network file system.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

from lyftlearn._contract.private import make_private
from lyftlearn._text.display import reason_of
from lyftlearn.history import schema
from lyftlearn.history.problems import digest_of, kind_of, without_ids
from lyftlearn.history.rows import (
    LONGEST_VERSION,
    ComparisonRow,
    OutcomeRow,
    RehearsalRow,
    Row,
    SubmissionRow,
    UsageRow,
)
from lyftlearn.history.tables import comparisons, details, jobs, leases, problems, slots
from lyftlearn.history.tallies import fold

if TYPE_CHECKING:
    from lyftlearn.config import Config

_SECONDS_TO_WAIT_FOR_A_LOCK = 30
_AT_ONCE = 500
_UNKNOWN = "unknown"
_OF_SUBMISSION = ("repository", "project", "team", "owner", "stage", "source", "shadow_of", "nodes")
_OF_OUTCOME = ("status", "reason", "exit_code", "created_at", "started_at", "finished_at", "start_up", "duration")
_OF_USAGE = ("machine", "billed", "cost", "currency")
_DIALECTS = ("sqlite", "postgresql")

_UNFIT = (DataError, IntegrityError, ArithmeticError, TypeError, ValueError)
"""What is wrong with a row, and not with the database: a number or a character that it has no room for."""
_log = logging.getLogger("lyftlearn")

_T = TypeVar("_T", bound=Row)
_Answer = TypeVar("_Answer")


class History:
    """Records and recalls. Raises what SQLAlchemy raises: whoever must not fail catches it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = sa.create_engine(
            schema.engine_url(url), connect_args=_connect_args(url), poolclass=sa.NullPool, hide_parameters=True
        )
        if self.dialect not in _DIALECTS:
            raise ValueError(f"{self.dialect} is no database for it: take SQLite or PostgreSQL")
        self._prepared = False
        self._of_thread = threading.local()

    @property
    def dialect(self) -> str:
        """The name of the database's dialect: `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def record(self, *entries: Row) -> None:
        """Write what is not known yet. Of two that say something else, the first stays."""
        self.record_all(entries)

    def record_all(self, entries: Iterable[Row]) -> None:
        """Write as `record` does, some at a time, each in one transaction: no more than these are in memory."""
        coming = iter(entries)
        while some := list(islice(coming, _AT_ONCE)):
            try:
                self._record_some(some)
            except _UNFIT:
                if not self._prepared:
                    raise
                self._record_one_by_one(some)

    def _record_one_by_one(self, entries: Sequence[Row]) -> None:
        """Write what the database can hold of rows that it refused as a whole; name the others and leave them out."""
        for entry in entries:
            try:
                self._record_some([entry])
            except _UNFIT as error:
                kind = type(entry).__name__.removesuffix("Row").lower()
                _log.warning("the history cannot hold the %s of %r: %s", kind, entry.job_id, reason_of(error))

    def _record_some(self, some: Sequence[Row]) -> None:
        with self.connection() as connection:
            self._record_submissions(connection, _of_type(SubmissionRow, some))
            self._record_outcomes(connection, _of_type(OutcomeRow, some))
            self._record_usage(connection, _of_type(UsageRow, some))
            self._record_rehearsals(connection, _of_type(RehearsalRow, some))
            self._record_comparisons(connection, _of_type(ComparisonRow, some))
            fold(connection)

    def record_in_slot(self, entry: SubmissionRow, at_most: int) -> bool:
        """Record a shadow together with one of `at_most` slots, which it holds until its outcome is written.

        Return whether a slot was free. It is a primary key, so whatever the number of processes, no more than `at_most`
        jobs ever hold one. Both are written in one transaction, so no slot is held by a job that nobody can ask about.
        """
        with self.connection() as connection:
            is_open = sa.select(jobs.c.job_id).where(jobs.c.status.is_(None), jobs.c.shadow_of.is_not(None))
            connection.execute(slots.delete().where(slots.c.job_id.not_in(is_open)))
            held = {row.slot: row.job_id for row in connection.execute(sa.select(slots))}
        if entry.job_id in held.values():
            return True
        free = [slot for slot in range(at_most) if slot not in held]
        return len(held) < at_most and any(self._write_in_slot(entry, slot) for slot in free)

    @contextmanager
    def one_connection(self) -> Iterator[None]:
        """Let all that this thread selects within the context go over one connection: for many small questions."""
        with self.connection() as connection:
            self._of_thread.connection = connection
            try:
                yield
            finally:
                del self._of_thread.connection

    @contextmanager
    def beside(self, ask: Callable[[], _Answer]) -> Iterator[Callable[[], _Answer]]:
        """Let a server answer while this process counts, and give what waits for its answer.

        SQLite is a part of this process: two threads would take turns, and be no faster than one.
        """
        if self.dialect == "sqlite":
            yield ask
            return
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(ask).result

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        connection = getattr(self._of_thread, "connection", None)
        if connection is not None:
            yield connection
            return
        with self.connection() as connection:
            yield connection

    def select(
        self,
        statement: sa.Select[*tuple[Any, ...]] | sa.CompoundSelect[*tuple[Any, ...]],
        values: Mapping[str, Any] | None = None,
    ) -> list[Mapping[str, Any]]:
        """Return the rows of a query over the tables of `tables`. values: of its bound parameters.

        What is asked of each of a thousand models is made once, with parameters: to make it takes longer than to ask.
        """
        with self._reading() as connection:
            answer = connection.execute(statement, dict(values or {}))
            names = tuple(answer.keys())
            return [dict(zip(names, row, strict=True)) for row in answer.all()]

    def stream(self, statement: sa.Select[*tuple[Any, ...]]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a query, a few at a time."""
        with self.connection() as connection:
            answer = connection.execution_options(yield_per=_AT_ONCE).execute(statement)
            names = tuple(answer.keys())
            yield from (dict(zip(names, row, strict=True)) for row in answer)

    def hold(self, lease: str, holder: str, seconds: float) -> bool:
        """Take or renew a lease for so long. Return whether `holder` has it: nobody else does until it ends."""
        now = datetime.now(UTC)
        until = now + timedelta(seconds=seconds)
        taken = self.insert(leases).values(name=lease, holder=holder, until=until)
        is_free = (leases.c.holder == holder) | (leases.c.until < now)
        with self.connection() as connection:
            changed = connection.execute(
                taken.on_conflict_do_update(
                    index_elements=["name"], set_={"holder": holder, "until": until}, where=is_free
                )
            )
            return bool(changed.rowcount)

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction, which is committed at the end."""
        if not self._prepared:
            schema.prepare(self._engine)
            self._prepared = True
        with self._engine.begin() as connection:
            yield connection

    def insert(self, table: sa.Table) -> Any:
        """Return an INSERT that can say what becomes of rows that are there. Only its own dialect is loaded."""
        return import_module(f"sqlalchemy.dialects.{self.dialect}").insert(table)

    def _fill(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows that have the same columns; of one that is there, fill what is not known."""
        if not rows:
            return
        insert = self.insert(table)
        news, known = insert.excluded, table.c
        set_: dict[str, Any] = {
            name: sa.func.coalesce(known[name], news[name]) for name in rows[0] if name not in ("job_id", "fell_back")
        }
        if "fell_back" in rows[0]:
            set_["fell_back"] = known.fell_back | news.fell_back
        connection.execute(insert.on_conflict_do_update(index_elements=["job_id"], set_=set_), _in_order(rows))

    def _record_submissions(self, connection: sa.Connection, entries: Sequence[SubmissionRow]) -> None:
        self._fill(connection, jobs, [_job(entry) for entry in entries])
        self._fill(connection, details, [_details(entry) for entry in entries])

    def _record_outcomes(self, connection: sa.Connection, entries: Sequence[OutcomeRow]) -> None:
        """Write ends, of jobs that are known. An end that nobody could tell gives way to one that somebody saw."""
        if not entries:
            return
        is_open = jobs.c.status.is_(None) | (jobs.c.status == _UNKNOWN)
        change = jobs.update().where(jobs.c.job_id == sa.bindparam("of"), is_open)
        connection.execute(
            change.values({name: sa.bindparam(f"new_{name}") for name in _OF_OUTCOME}),
            _in_order([_outcome(entry) for entry in entries], "of"),
        )
        told = [
            {"job_id": entry.job_id, "message": entry.message, "attempt": entry.attempt}
            for entry in entries
            if entry.message is not None or entry.attempt is not None
        ]
        self._fill(connection, details, told)

    def _record_usage(self, connection: sa.Connection, entries: Sequence[UsageRow]) -> None:
        if not entries:
            return
        change = jobs.update().where(jobs.c.job_id == sa.bindparam("of"))
        values = {
            name: sa.func.coalesce(jobs.c[name], sa.bindparam(f"new_{name}", type_=jobs.c[name].type))
            for name in _OF_USAGE
        }
        used = [{"of": entry.job_id} | {f"new_{name}": getattr(entry, name) for name in _OF_USAGE} for entry in entries]
        connection.execute(change.values(values), _in_order(used, "of"))
        self._fill(connection, details, [_usage_details(entry) for entry in entries])

    def _record_rehearsals(self, connection: sa.Connection, entries: Sequence[RehearsalRow]) -> None:
        if not entries:
            return
        change = jobs.update().where(jobs.c.job_id == sa.bindparam("of"), jobs.c.rehearsed_on.is_(None))
        now = datetime.now(UTC)
        self._fill(connection, details, [{"job_id": one.job_id, "rehearsed_at": now} for one in entries])
        found = [{"of": one.job_id, "backend_": one.backend, "count_": len(one.faults)} for one in entries]
        connection.execute(
            change.values(rehearsed_on=sa.bindparam("backend_"), obstacles=sa.bindparam("count_")),
            _in_order(found, "of"),
        )
        asked = sa.select(jobs.c.job_id, jobs.c.at, jobs.c.repository, jobs.c.model, jobs.c.fell_back)
        asked = asked.where(jobs.c.job_id.in_([entry.job_id for entry in entries]))
        of = {row["job_id"]: dict(row) for row in connection.execute(asked).mappings()}
        named = [row for entry in entries if entry.job_id in of for row in _problems(entry, of[entry.job_id])]
        if named:
            connection.execute(self.insert(problems).on_conflict_do_nothing(), _in_order(named))

    def _record_comparisons(self, connection: sa.Connection, entries: Sequence[ComparisonRow]) -> None:
        now = datetime.now(UTC)
        found = [
            {"job_id": one.job_id, "shadow_id": one.shadow_id, "differences": list(one.differences), "at": now}
            for one in entries
        ]
        if found:
            connection.execute(self.insert(comparisons).on_conflict_do_nothing(), _in_order(found))

    def _write_in_slot(self, entry: SubmissionRow, slot: int) -> bool:
        try:
            with self.connection() as connection:
                connection.execute(slots.insert().values(slot=slot, job_id=entry.job_id))
                self._record_submissions(connection, [entry])
        except IntegrityError:
            return False
        return True


def _of_type(kind: type[_T], entries: Iterable[Row]) -> list[_T]:
    """Return the entries of one kind, one for each job: the first stays."""
    found: dict[str, _T] = {}
    for entry in entries:
        if isinstance(entry, kind):
            found.setdefault(entry.job_id, entry)
    return list(found.values())


def _in_order(rows: Sequence[Mapping[str, Any]], key: str = "job_id") -> list[dict[str, Any]]:
    """Return rows in the one order in which all writers lock them, so that no two wait for each other."""
    return sorted(map(dict, rows), key=lambda row: row[key])


def _job(entry: SubmissionRow) -> dict[str, Any]:
    known = {name: getattr(entry, name) for name in ("job_id", "at", "model", "kind", "backend", "fell_back")}
    return known | {name: getattr(entry, name) for name in _OF_SUBMISSION}


def _details(entry: SubmissionRow) -> dict[str, Any]:
    plain = {name: getattr(entry, name) for name in ("job_id", "decision", "digest", "image")}
    tables = {name: getattr(entry, name) for name in ("labels", "resources", "outputs")}
    told = {name: None if table is None else dict(table) for name, table in tables.items()}
    plain |= {"command": None if entry.command is None else list(entry.command)}
    version = entry.version and entry.version[:LONGEST_VERSION]
    return plain | told | {"source": entry.code, "version": version, "features": _feature_text(entry.features)}


def _feature_text(features: Sequence[str] | None) -> str | None:
    return None if features is None else ",".join(sorted(features))


def _outcome(entry: OutcomeRow) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in _OF_OUTCOME if name not in ("start_up", "duration")}
    values["start_up"] = _seconds(entry.created_at, entry.started_at)
    values["duration"] = _seconds(entry.started_at, entry.finished_at)
    return {"of": entry.job_id} | {f"new_{name}": value for name, value in values.items()}


def _usage_details(entry: UsageRow) -> dict[str, Any]:
    timings = dict(entry.timings) or None
    return {"job_id": entry.job_id, "spot": entry.spot, "basis": entry.basis, "timings": timings}


def _problems(entry: RehearsalRow, of: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each kind of problem: a job that names it twice has it once."""
    kinds = {digest_of(*kind_of(*fault)): fault for fault in reversed(entry.faults)}
    for number, (kind_id, (path, problem)) in enumerate(reversed(kinds.items())):
        yield dict(of) | {
            "number": number,
            "path": path,
            "problem": problem,
            "kind_id": kind_id,
            "text_id": digest_of(without_ids(problem)),
            "backend": entry.backend,
        }


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds between two times; None where one is missing, or where clocks that differ make it negative."""
    if start is None or end is None:
        return None
    seconds = (end - start).total_seconds()
    return seconds if seconds >= 0 else None


def _connect_args(url: str) -> dict[str, Any]:
    return {"timeout": _SECONDS_TO_WAIT_FOR_A_LOCK} if url.startswith("sqlite") else {}


def open_history(config: Config) -> History:
    """Return the history of a configuration. Nothing is connected yet."""
    make_private(config.home)
    return History(config.history_url)
