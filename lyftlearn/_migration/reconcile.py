"""Settling: how journalled jobs have ended, and in what a shadow differed from its job.

Nobody waits for a shadow. Whoever looks at the migration next asks the backends, compares, and writes it down; so it
does not matter that the process which submitted the jobs has long ended. What cannot be asked within the time that is
given is left to the next one who looks.
"""

from __future__ import annotations

import filecmp
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import shuffle
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn._contract import ids
from lyftlearn._migration.journal import Journal, comparisons, outcomes, submissions
from lyftlearn._migration.rows import ComparisonRow, OutcomeRow
from lyftlearn._transfer.download import fetch_output
from lyftlearn.errors import BackendUnavailable, JobNotFound, LyftLearnError
from lyftlearn.events import advance

if TYPE_CHECKING:
    from lyftlearn._registry import Registry
    from lyftlearn.backend import Backend
    from lyftlearn.config import Config

_SECONDS_TO_SETTLE = 30.0
_SECONDS_TO_COMPARE = 600
_ASKED_AT_ONCE = 8
_VISIBLE_AFTER = timedelta(hours=1)  # a list that is read from a copy may lack a job that was accepted just now
_KNOWN_ENDS = ("succeeded", "failed", "stopped", "refused")


def reconcile(journal: Journal, registry: Registry, config: Config, seconds: float = _SECONDS_TO_SETTLE) -> int:
    """Write down what can be learnt in about `seconds`. Return how many jobs have no known end (yet)."""
    until = time.monotonic() + seconds
    reconcile_outcomes(journal, registry, seconds=seconds)
    reconcile_comparisons(journal, registry, config, until)
    return len(journal.select(_open_submissions(only_shadows=False)))


def reconcile_outcomes(
    journal: Journal, registry: Registry, *, only_shadows: bool = False, seconds: float = _SECONDS_TO_SETTLE
) -> None:
    """Ask for the end of journalled jobs whose end is not known, and write down what is.

    Asks in no order, so that those which cannot be answered never keep the others from being asked.
    """
    rows = journal.select(_open_submissions(only_shadows=only_shadows))
    if rows:
        shuffle(rows)
        inquiry = _OutcomeReconciler(registry, time.monotonic() + seconds)
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            answers = list(pool.map(inquiry.outcome, rows))
        journal.record(*(answer for answer in answers if answer is not None))


def reconcile_comparisons(journal: Journal, registry: Registry, config: Config, until: float) -> None:
    """Compare jobs with their shadows where both have ended and nobody has compared them, while it is before `until`.

    A comparison that has begun is brought to its end.
    """
    for row in journal.select(_pending_comparisons()):
        if time.monotonic() > until:
            return
        try:
            differences = list(_differences(row, journal, registry, config))
        except BackendUnavailable:
            continue
        journal.record(ComparisonRow(job_id=row["shadow_of"], shadow_id=row["job_id"], differences=differences))


def refusal_row(job_id: str) -> OutcomeRow:
    """Return the outcome of a shadow that was certainly not accepted."""
    return _without_history(job_id, "refused")


class _OutcomeReconciler:
    """Asks for many jobs; a backend that is away is asked once."""

    def __init__(self, registry: Registry, until: float) -> None:
        self._registry = registry
        self._until = until
        self._away: set[str] = set()

    def outcome(self, row: Mapping[str, Any]) -> OutcomeRow | None:
        """Return how a job ended; None if it runs, or its backend cannot be asked now."""
        job_id = row["job_id"]
        try:
            backend = _backend_of(job_id, self._registry)
            if backend.name in self._away or time.monotonic() > self._until:
                return None
            return self._ask(backend, job_id, row["at"])
        except Exception:  # noqa: BLE001 - one job of a broken plugin must not hide all others
            return None

    def _ask(self, backend: Backend, job_id: str, at: datetime) -> OutcomeRow | None:
        try:
            state = advance(None, backend.describe(job_id).event).state
        except BackendUnavailable:
            self._away.add(backend.name)
            return None
        except JobNotFound:
            gone = datetime.now(UTC) - at > _VISIBLE_AFTER
            return _without_history(job_id, "unknown") if gone else None
        if not state.status.finished:
            return None
        return OutcomeRow(
            job_id=job_id,
            status=str(state.status),
            reason=str(state.reason) if state.reason else None,
            exit_code=state.exit_code,
            created_at=state.created_at,
            started_at=state.started_at,
            finished_at=state.finished_at,
        )


def _without_history(job_id: str, status: str) -> OutcomeRow:
    return OutcomeRow(
        job_id=job_id,
        status=status,
        reason=None,
        exit_code=None,
        created_at=None,
        started_at=None,
        finished_at=None,
    )


def _open_submissions(*, only_shadows: bool) -> sa.Select[*tuple[Any, ...]]:
    known = sa.select(outcomes.c.job_id)
    query = sa.select(submissions.c.job_id, submissions.c.at).where(submissions.c.job_id.not_in(known))
    return query.where(submissions.c.shadow_of.is_not(None)) if only_shadows else query


def _pending_comparisons() -> sa.Select[*tuple[Any, ...]]:
    ended = sa.select(outcomes.c.job_id).where(outcomes.c.status.in_(_KNOWN_ENDS))
    done = sa.select(comparisons.c.job_id)
    return sa.select(submissions.c.job_id, submissions.c.shadow_of, submissions.c.model).where(
        submissions.c.shadow_of.is_not(None),
        submissions.c.job_id.in_(ended),
        submissions.c.shadow_of.in_(ended),
        submissions.c.shadow_of.not_in(done),
    )


def _backend_of(job_id: str, registry: Registry) -> Backend:
    parsed = ids.parse(job_id)
    name = registry.with_letter(parsed.letter) if parsed else None
    return registry.get(name or "unknown")


def _differences(row: Mapping[str, Any], journal: Journal, registry: Registry, config: Config) -> Iterator[str]:
    job_id, shadow_id = row["shadow_of"], row["job_id"]
    both = journal.select(sa.select(outcomes).where(outcomes.c.job_id.in_((job_id, shadow_id))))
    found = {one["job_id"]: one for one in both}
    for field in ("status", "reason", "exit_code"):
        if found[job_id][field] != found[shadow_id][field]:
            yield f"{field}: {found[job_id][field]} and {found[shadow_id][field]}"
    if found[job_id]["status"] == found[shadow_id]["status"] == "succeeded":
        yield from _differing_artifacts(job_id, shadow_id, registry, config.compare.get(row["model"]))


def _differing_artifacts(job_id: str, shadow_id: str, registry: Registry, command: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        old, new = Path(directory, "old"), Path(directory, "new")
        try:
            _fetch_all(job_id, old, registry)
            _fetch_all(shadow_id, new, registry)
        except BackendUnavailable:
            raise
        except (LyftLearnError, OSError) as exc:
            yield f"artifacts cannot be read: {exc}"
            return
        yield from _command_differences(command, old, new) if command else _differing_files(old, new)


def _fetch_all(job_id: str, dest: Path, registry: Registry) -> None:
    dest.mkdir()
    for output, uri in _backend_of(job_id, registry).outputs(job_id).items():
        fetch_output(uri, dest / output, absent_is_empty=True)


def _differing_files(old: Path, new: Path) -> Iterator[str]:
    """Name each file whose bytes differ, or that one side lacks."""
    both = sorted({path.relative_to(side) for side in (old, new) for path in side.rglob("*") if path.is_file()})
    for path in both:
        one, other = old / path, new / path
        if not (one.is_file() and other.is_file()):
            yield f"{path}: only on the {'old' if one.is_file() else 'new'} side"
        elif not filecmp.cmp(one, other, shallow=False):
            yield f"{path}: other bytes"


def _command_differences(command: str, old: Path, new: Path) -> Iterator[str]:
    """Let the model's own comparison decide: it gets both directories, and exits 0 if they are as good as equal."""
    try:
        argv = [*shlex.split(command), str(old), str(new)]
        answer = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=_SECONDS_TO_COMPARE, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        yield f"the comparison {command!r} could not be run: {exc}"
        return
    if answer.returncode != 0:
        yield f"{command}: {(answer.stdout or answer.stderr).strip()[-500:] or f'exit code {answer.returncode}'}"
