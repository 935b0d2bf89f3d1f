"""Settling shadows: when a job and its shadow have both ended, say in what they differ.

Nobody waits for a shadow. Whoever looks at the migration next asks both backends, compares, and writes it down; so it
does not matter that the process which submitted them has long ended.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn import _ids
from lyftlearn._download import fetch_output
from lyftlearn._journal import Compared, Journal, Outcome, comparisons, outcomes, submissions
from lyftlearn.errors import LyftLearnError
from lyftlearn.events import advance

if TYPE_CHECKING:
    from lyftlearn._registry import Registry
    from lyftlearn.backend import Backend
    from lyftlearn.config import Config

_SECONDS_TO_COMPARE = 600


def unfinished(journal: Journal, registry: Registry) -> list[str]:
    """Return the ids of shadows that still run, after asking for those whose end is not known yet."""
    settle_outcomes(journal, registry, only_shadows=True)
    return [row["job_id"] for row in journal.select(_unsettled(only_shadows=True))]


def settle_outcomes(journal: Journal, registry: Registry, *, only_shadows: bool = False) -> None:
    """Ask for the end of every journalled job whose end is not known, and write down what is."""
    for row in journal.select(_unsettled(only_shadows=only_shadows)):
        outcome = _outcome(row["job_id"], registry)
        if outcome is not None:
            journal.record(outcome)


def settle_comparisons(journal: Journal, registry: Registry, config: Config) -> None:
    """Compare every job with its shadow where both have ended and nobody has compared them."""
    for row in journal.select(_uncompared()):
        differences = list(_differences(row, journal, registry, config))
        journal.record(Compared(job_id=row["shadow_of"], shadow_id=row["job_id"], differences=differences))


def _unsettled(*, only_shadows: bool) -> sa.Select[Any]:
    known = sa.select(outcomes.c.job_id)
    query = sa.select(submissions.c.job_id).where(submissions.c.job_id.not_in(known))
    return query.where(submissions.c.shadow_of.is_not(None)) if only_shadows else query


def _uncompared() -> sa.Select[Any]:
    ended = sa.select(outcomes.c.job_id)
    done = sa.select(comparisons.c.job_id)
    return sa.select(submissions.c.job_id, submissions.c.shadow_of, submissions.c.model).where(
        submissions.c.shadow_of.is_not(None),
        submissions.c.job_id.in_(ended),
        submissions.c.shadow_of.in_(ended),
        submissions.c.shadow_of.not_in(done),
    )


def _backend_of(job_id: str, registry: Registry) -> Backend:
    parsed = _ids.parse(job_id)
    name = registry.with_letter(parsed.letter) if parsed else None
    return registry.get(name or "unknown")


def _outcome(job_id: str, registry: Registry) -> Outcome | None:
    """Return how a job ended; None if it runs, or its backend cannot be asked now."""
    try:
        event = _backend_of(job_id, registry).describe(job_id).event
    except LookupError:
        return Outcome(
            job_id=job_id,
            status="unknown",
            reason=None,
            exit_code=None,
            created_at=None,
            started_at=None,
            finished_at=None,
        )
    except LyftLearnError:
        return None
    state = advance(None, event).state
    if not state.status.finished:
        return None
    return Outcome(
        job_id=job_id,
        status=str(state.status),
        reason=str(state.reason) if state.reason else None,
        exit_code=state.exit_code,
        created_at=state.created_at,
        started_at=state.started_at,
        finished_at=state.finished_at,
    )


def _differences(row: Mapping[str, Any], journal: Journal, registry: Registry, config: Config) -> Iterator[str]:
    job_id, shadow_id = row["shadow_of"], row["job_id"]
    found = {one["job_id"]: one for one in journal.select(sa.select(outcomes))}
    for field in ("status", "reason", "exit_code"):
        if found[job_id][field] != found[shadow_id][field]:
            yield f"{field}: {found[job_id][field]} and {found[shadow_id][field]}"
    if found[job_id]["status"] == found[shadow_id]["status"] == "succeeded":
        yield from _differing_artifacts(job_id, shadow_id, registry, config.compare.get(row["model"]))


def _differing_artifacts(job_id: str, shadow_id: str, registry: Registry, command: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        old, new = Path(directory, "old"), Path(directory, "new")
        try:
            for one, dest in ((job_id, old), (shadow_id, new)):
                for output, uri in _backend_of(one, registry).outputs(one).items():
                    fetch_output(uri, dest / output)
        except LyftLearnError as exc:
            yield f"artifacts cannot be read: {exc}"
            return
        yield from _judged(command, old, new) if command else _differing_files(old, new)


def _differing_files(old: Path, new: Path) -> Iterator[str]:
    """Name each file whose bytes differ, or that one side lacks."""
    both = sorted({path.relative_to(side) for side in (old, new) for path in side.rglob("*") if path.is_file()})
    for path in both:
        one, other = old / path, new / path
        if not (one.is_file() and other.is_file()):
            yield f"{path}: only on the {'old' if one.is_file() else 'new'} side"
        elif one.read_bytes() != other.read_bytes():
            yield f"{path}: other bytes"


def _judged(command: str, old: Path, new: Path) -> Iterator[str]:
    """Let the model's own comparison decide: it gets both directories, and exits 0 if they are as good as equal."""
    argv = [*shlex.split(command), str(old), str(new)]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS_TO_COMPARE, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        yield f"the comparison {command!r} could not be run: {exc}"
        return
    if answer.returncode != 0:
        yield f"{command}: {(answer.stdout or answer.stderr).strip()[-500:] or f'exit code {answer.returncode}'}"
