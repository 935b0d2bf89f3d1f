"""Whose turn it is: from a supervisor that ends, or that came too early, to the next job in the queue."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn_local.store.files import JobFiles, Lock, Store


def take_turn(store: Store, job: JobFiles, record: dict[str, Any], *, is_claimed: bool) -> Lock | None:
    """Take a slot for `job`, or None if all are taken.

    Of several supervisors that start at once any may get the last slot; the oldest job is to have it.
    """
    run = record["run"]
    while slot := store.take_slot(run):
        older = None if is_claimed or _another_is_free(store, run) else _older(store, job)
        if older is None:
            return slot
        _become_supervisor_of(older)
        slot.release()
    return None


def hand_on(store: Store) -> None:
    """Become the supervisor of the oldest job that waits. One that could not be started ends here; then the next.

    The claim is kept for as long as the successor runs. So a mark that nobody claims is left by one that never began.
    """
    for successor in store.waiting_jobs():
        claim = store.claim(successor.path.name)
        if claim is None:
            continue
        with claim:
            if successor.not_started_path.exists():
                successor.fail_to_start()
            else:
                successor.not_started_path.touch(mode=0o600)
                _become_supervisor_of(successor, claim)
        store.forget(successor.path.name)


def _another_is_free(store: Store, run: dict[str, Any]) -> bool:
    another = store.take_slot(run)
    if another:
        another.release()
    return another is not None


def _older(store: Store, job: JobFiles) -> JobFiles | None:
    oldest = next(store.waiting_jobs(), None)
    return oldest if oldest and oldest.path != job.path and not job.has_begun() else None


def _become_supervisor_of(job: JobFiles, claim: Lock | None = None) -> None:
    """Go on as another program; all locks end here but the claim. Returns only if the program cannot be run."""
    command = [*job.record()["run"]["supervisor"], str(job.path), *([str(claim.hand_over())] if claim else [])]
    job.redirect_errors()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the successor listens
    try:
        os.execv(command[0], command)  # noqa: S606 - its own recorded command
    except OSError as error:
        job.fail_to_start(f"{command[0]}: {error.strerror}")
