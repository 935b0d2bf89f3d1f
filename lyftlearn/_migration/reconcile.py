"""Settling a migration: how its jobs have ended, and in what a shadow differed from its job.

Nobody waits for a shadow. Whoever looks at the migration next asks the backends, compares, and writes it down.
"""

from __future__ import annotations

import filecmp
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from lyftlearn._transfer.download import fetch_output
from lyftlearn.errors import BackendUnavailable, LyftLearnError
from lyftlearn.history.rows import ComparisonRow
from lyftlearn.history.settle import count_open, settle
from lyftlearn.history.tables import comparisons, jobs
from lyftlearn.history.timings import backend_of

if TYPE_CHECKING:
    from lyftlearn._registry import Registry
    from lyftlearn.config import Config
    from lyftlearn.history.store import History

_SECONDS_TO_SETTLE = 30.0
_SECONDS_TO_COMPARE = 600
_MOST_COMPARED = 1000
_KNOWN_ENDS = ("succeeded", "failed", "stopped", "refused")


def reconcile(history: History, registry: Registry, config: Config, seconds: float = _SECONDS_TO_SETTLE) -> int:
    """Write down what can be learnt in about `seconds`. Return how many jobs have no known end (yet)."""
    until = time.monotonic() + seconds
    settle(history, registry, seconds=seconds)
    reconcile_comparisons(history, registry, config, until)
    return count_open(history)


def reconcile_comparisons(history: History, registry: Registry, config: Config, until: float) -> None:
    """Compare jobs with their shadows where both have ended and nobody has compared them, while it is before `until`.

    A comparison that has begun is brought to its end.
    """
    for row in history.select(_pending_comparisons()):
        if time.monotonic() > until:
            return
        try:
            differences = list(_differences(row, history, registry, config))
        except BackendUnavailable:
            continue
        history.record(ComparisonRow(job_id=row["shadow_of"], shadow_id=row["job_id"], differences=differences))


def _pending_comparisons() -> sa.Select[*tuple[Any, ...]]:
    shadow, job = jobs.alias("shadow"), jobs.alias("job")
    done = sa.select(comparisons.c.job_id)
    return (
        sa.select(shadow.c.job_id, shadow.c.shadow_of, shadow.c.model)
        .join(job, job.c.job_id == shadow.c.shadow_of)
        .where(
            shadow.c.shadow_of.is_not(None),
            shadow.c.status.in_(_KNOWN_ENDS),
            job.c.status.in_(_KNOWN_ENDS),
            shadow.c.shadow_of.not_in(done),
        )
        .limit(_MOST_COMPARED)
    )


def _differences(row: Mapping[str, Any], history: History, registry: Registry, config: Config) -> Iterator[str]:
    job_id, shadow_id = row["shadow_of"], row["job_id"]
    both = history.select(sa.select(jobs).where(jobs.c.job_id.in_((job_id, shadow_id))))
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
    for output, uri in backend_of(job_id, registry).outputs(job_id).items():
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
