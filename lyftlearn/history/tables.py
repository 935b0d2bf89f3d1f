"""The tables of the history, as they are today. `versions/` leads every earlier state to them.

`jobs` has what is filtered, grouped and added up, and nothing else: its rows are narrow and its indexes hold whole
answers, so that a million jobs are aggregated without reading them. What is shown of one job is in `details`.
A later version only adds tables, and columns that may be empty: older clients go on writing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

meta = sa.MetaData()


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, also in databases without time zones."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Return a moment as it is kept."""
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Return what was kept as a moment."""
        return value.replace(tzinfo=UTC) if value else None


_DIALECTS = ("sqlite", "postgresql")
_indexes: list[tuple[sa.Index, sa.ColumnElement[bool], Collection[str]]] = []


def _index_some(
    name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], on: Collection[str] = _DIALECTS
) -> None:
    """Make an index of some rows, on some dialects. What it is of is said as it is made: to say it loads a dialect."""
    _indexes.append((sa.Index(name, *columns), where, on))


@event.listens_for(meta, "before_create")
def _narrow_indexes(_: sa.MetaData, connection: sa.Connection, **__: Any) -> None:
    for index, where, on in _indexes:
        if connection.dialect.name in on:
            index.dialect_options[connection.dialect.name]["where"] = where


jobs = sa.Table(
    "jobs",
    meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("at", Moment, nullable=False),  # of the submission
    sa.Column("repository", sa.Text),
    sa.Column("project", sa.Text),
    sa.Column("team", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("backend", sa.String(63), nullable=False),
    sa.Column("stage", sa.String(16)),
    sa.Column("source", sa.Text),
    sa.Column("fell_back", sa.Boolean, nullable=False, default=False),
    sa.Column("shadow_of", sa.String(64)),
    sa.Column("nodes", sa.Integer),
    sa.Column("rehearsed_on", sa.String(63)),
    sa.Column("obstacles", sa.Integer),  # how many problems a rehearsal or a refusal named
    sa.Column("status", sa.String(16)),  # None while no end is known
    sa.Column("reason", sa.String(32)),
    sa.Column("exit_code", sa.Integer),
    sa.Column("created_at", Moment),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("start_up", sa.Float),  # seconds from created to started
    sa.Column("duration", sa.Float),  # seconds from started to finished
    sa.Column("machine", sa.Text),
    sa.Column("billed", sa.Float),
    sa.Column("cost", sa.Float),
    sa.Column("currency", sa.String(3)),
    sa.Column("day", sa.String(10)),  # of `at`, in UTC; the database fills it in
    sa.Column("making", sa.String(16)),  # the row of `makings` that has what `details` says; the database fills it in
)
sa.Index("ix_jobs_at", jobs.c.at, jobs.c.job_id)
_index_some("ix_jobs_open", jobs.c.at, jobs.c.job_id, where=jobs.c.status.is_(None))
_index_some("ix_jobs_shadows", jobs.c.shadow_of, jobs.c.job_id, where=jobs.c.shadow_of.is_not(None))
sa.Index(
    "ix_jobs_counts",
    *(jobs.c[name] for name in ("repository", "model", "backend", "shadow_of", "status", "reason", "fell_back")),
    *(jobs.c[name] for name in ("stage", "kind", "rehearsed_on", "obstacles", "at")),
)
_index_some("ix_jobs_uncounted", jobs.c.at, jobs.c.job_id, where=jobs.c.cost.is_(None))
# Times in their order, by side of a migration and by model on it.
_timed = (jobs.c.at, jobs.c.shadow_of)
_model = (jobs.c.backend, jobs.c.repository, jobs.c.model)
sa.Index("ix_jobs_start_up", jobs.c.backend, jobs.c.start_up, *_timed)
sa.Index("ix_jobs_duration", jobs.c.backend, jobs.c.status, jobs.c.duration, *_timed)
sa.Index("ix_jobs_model_start_up", *_model, jobs.c.start_up, *_timed)
sa.Index("ix_jobs_model_duration", *_model, jobs.c.status, jobs.c.duration, *_timed)
sa.Index(
    "ix_jobs_sizes",
    *(jobs.c[name] for name in ("repository", "model", "kind", "backend", "day", "status", "at")),
    *(jobs.c[name] for name in ("start_up", "duration", "cost")),
)

# How many jobs of a day have these in common; `lyftlearn.history.tallies` says who writes it.
TALLIED_KEYS = (
    *("day", "repository", "project", "team", "owner", "model", "kind", "backend", "stage", "source", "is_shadow"),
    *("machine", "currency", "status", "reason", "fell_back"),
)
TALLIED = ("jobs", "priced", "started", "timed", "start_up", "duration", "seconds", "cost")
tallies = sa.Table(
    "tallies",
    meta,
    sa.Column("day", sa.String(10), nullable=False),
    *(sa.Column(name, jobs.c[name].type) for name in TALLIED_KEYS if name not in ("day", "is_shadow")),
    sa.Column("is_shadow", sa.Boolean, nullable=False),
    *(sa.Column(name, sa.Integer, nullable=False) for name in ("jobs", "priced", "started", "timed")),
    *(sa.Column(name, sa.Float, nullable=False) for name in ("start_up", "duration", "seconds", "cost")),
    sa.Column("newest", Moment),
    sa.Column("folded", sa.Boolean, nullable=False),
)
sa.Index("ix_tallies_day", tallies.c.day)
_index_some("ix_tallies_loose", tallies.c.day, where=~tallies.c.folded)

# What jobs were made with, and what they use. The database adds a row for what `details` says first of any job: jobs
# that have all of it in common share one. Two writers at once may add the same row twice.
makings = sa.Table(
    "makings",
    meta,
    sa.Column("making", sa.String(16), nullable=False),  # on PostgreSQL a digest of the others, on SQLite a lot
    sa.Column("image", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("version", sa.String(32)),
    sa.Column("features", sa.Text),
)
sa.Index("ix_makings_making", makings.c.making)
_values = (makings.c.source, makings.c.image, makings.c.version, makings.c.features)
_index_some("ix_makings_values", *_values, where=sa.false(), on=["postgresql"])  # it asks for digests: never too long
# How many jobs of a day have these in common, by which it is told what is shown of the other side. It is no part of
# `tallies`: clients of an earlier version add up its loose rows by the keys that they know, and would lose others.
EVIDENCE_KEYS = (
    *("day", "repository", "model", "kind", "backend", "stage", "source", "is_shadow", "status", "fell_back"),
    *("rehearsed_on", "is_hindered", "is_on_several", "making"),
)
evidence = sa.Table(
    "evidence",
    meta,
    sa.Column("day", sa.String(10), nullable=False),
    *(sa.Column(name, jobs.c[name].type) for name in EVIDENCE_KEYS if name in jobs.c and name != "day"),
    sa.Column("is_shadow", sa.Boolean, nullable=False),
    sa.Column("is_hindered", sa.Boolean),  # whether a rehearsal or a refusal named a problem; None: nobody asked
    sa.Column("is_on_several", sa.Boolean, nullable=False),  # nodes
    sa.Column("jobs", sa.Integer, nullable=False),
    sa.Column("newest", Moment),
    sa.Column("folded", sa.Boolean, nullable=False),
)
sa.Index("ix_evidence_day", evidence.c.day)
_index_some("ix_evidence_loose", evidence.c.day, where=~evidence.c.folded)

details = sa.Table(
    "details",
    meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("labels", sa.JSON(none_as_null=True)),
    sa.Column("decision", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("resources", sa.JSON(none_as_null=True)),
    sa.Column("outputs", sa.JSON(none_as_null=True)),
    sa.Column("command", sa.JSON(none_as_null=True)),
    sa.Column("image", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("attempt", sa.Integer),
    sa.Column("spot", sa.Boolean),
    sa.Column("basis", sa.Text),  # by which prices the cost was counted, or why it is not known
    sa.Column("timings", sa.JSON(none_as_null=True)),
    sa.Column("source", sa.Text),  # a digest of the code that the job brought
    sa.Column("version", sa.String(32)),  # of the lyftlearn that submitted it
    sa.Column("rehearsed_at", Moment),
    sa.Column("features", sa.Text),  # what only some jobs use, sorted and joined by commas; None: nobody noted it
)
# What stood against a job on the other backend. `kind` is the problem without what names one job's own things;
# `kind_id` and `text_id` are digests of it and of the problem, which are short enough to be grouped by.
problems = sa.Table(
    "problems",
    meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("problem", sa.Text, nullable=False),
    sa.Column("kind_id", sa.String(16), nullable=False),
    sa.Column("text_id", sa.String(16), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("repository", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("backend", sa.String(63), nullable=False),
    sa.Column("fell_back", sa.Boolean, nullable=False),
)
sa.Index(
    "ix_problems_kinds",
    *(problems.c[name] for name in ("backend", "fell_back", "kind_id", "repository", "model", "at", "text_id")),
)
sa.Index(
    "ix_problems_newest",  # of a model's newest rehearsal
    *(problems.c[name] for name in ("backend", "fell_back", "model", "at", "repository")),
)
comparisons = sa.Table(
    "comparisons",
    meta,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("shadow_id", sa.String(64), nullable=False),
    sa.Column("differences", sa.JSON, nullable=False),
    sa.Column("at", Moment),
)
slots = sa.Table(
    "shadow_slots",
    meta,
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job_id", sa.String(64), nullable=False),
)
leases = sa.Table(
    "leases",
    meta,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", Moment, nullable=False),
)
# How far an old journal, by a digest of its URL, was carried over.
carried = sa.Table(
    "carried",
    meta,
    sa.Column("journal", sa.String(16), primary_key=True),
    sa.Column("until", Moment, nullable=False),
)
# Comparisons of backends. `subjects`: of what was compared, each with whether it is the same on all of them.
parity_runs = sa.Table(
    "parity_runs",
    meta,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("backends", sa.JSON, nullable=False),
    sa.Column("holds", sa.Boolean, nullable=False),
    sa.Column("subjects", sa.JSON, nullable=False),
    sa.Column("image", sa.Text),
    sa.Column("source", sa.Text),  # a digest of the code that its command brought
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("partial", sa.Boolean),  # whether only a part of the subjects was looked at; None: nobody noted it
)
sa.Index("ix_parity_runs_at", parity_runs.c.at)
# The audit log of flags: every change that a command or the autopilot was about to make, and what became of it.
# `repository` and `model` are empty where a change concerns many.
flag_changes = sa.Table(
    "flag_changes",
    meta,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("flags", sa.Text, nullable=False),  # the file, or the provider
    sa.Column("state", sa.String(16), nullable=False),  # planned, written, done, refused or dropped
    sa.Column("repository", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("rung_before", sa.String(16)),
    sa.Column("rung_after", sa.String(16)),
    sa.Column("evidence", sa.JSON(none_as_null=True)),
)
sa.Index("ix_flag_changes_at", flag_changes.c.at, flag_changes.c.number)
sa.Index("ix_flag_changes_state", flag_changes.c.state)
# Where the autopilot has each model, and what it last decided of it. `model` is `*` for a whole repository.
autopilot = sa.Table(
    "autopilot",
    meta,
    sa.Column("flags", sa.Text, primary_key=True),  # the file, or the provider: one migration has one
    sa.Column("repository", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("rung", sa.String(16), nullable=False),
    sa.Column("since", Moment, nullable=False),  # when it came to the rung
    sa.Column("judged_since", Moment),  # jobs before that say nothing any more
    sa.Column("decided_at", Moment, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("worse_with", sa.JSON(none_as_null=True)),  # image, source and version of what was found worse
)
