"""Whose turn it is: from a supervisor that ends, or that came too early, to the next job in the queue."""

from __future__ import annotations

import os
import signal

from lyftlearn_local.store import idle, start_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lyftlearn_local.store.files import JobFiles, Store
    from lyftlearn_local.store.locks import Lock


class Program:
    """What this process runs, and in which surroundings it was started."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.surroundings = idle.surroundings(command)
        self._code = idle.code()

    def fits(self, command: list[str]) -> bool:
        """Whether a job with this command can be run here: an upgrade may have come since this process began.

        All else that surrounds this process would be the same for the program that it could become.
        """
        return command == self.command and idle.code() == self._code


class Turn:
    """A job that this process is to run.

    claim: kept for as long as the job runs, so a mark that nobody claims is left by a supervisor that never began.
    """

    def __init__(self, job: JobFiles, claim: Lock | None = None) -> None:
        self.job = job
        self.claim = claim


def take_turn(store: Store, turn: Turn, run: dict[str, Any], program: Program) -> Lock | Turn | None:
    """Take a slot for the job of `turn`, or None if all are taken. Another turn is of a job that is to be run instead.

    Of several supervisors that start at once any may get the last slot; the oldest job is to have it.
    """
    slot = store.take_slot(run)
    if slot is None or turn.claim or _another_is_free(store, run):
        return slot
    older = _older(store, turn.job, program)
    if older is None:
        return slot
    slot.release()
    return Turn(older)


def next_turn(store: Store, program: Program) -> Turn | None:
    """Return the oldest job that waits, for this process to go on with, or None.

    A job with another command makes another program of this process. One that could not be started ends here.
    """
    for successor in store.waiting_jobs():
        claim = store.claim(successor.path.name)
        if claim is None:
            continue
        if turn := _succeed(successor, program, claim):
            return turn
        claim.release()
        if successor.has_begun():
            store.forget(successor.path.name)
    return None


def _succeed(job: JobFiles, program: Program, claim: Lock) -> Turn | None:
    mark = start_mark.look(job)
    if mark and mark.has_words:
        job.fail_to_start()
    elif not mark or _fits(job, program):
        start_mark.write(job, start_mark.HANDED_OVER)
        return _go_on(job, program, claim)
    return None


def _another_is_free(store: Store, run: dict[str, Any]) -> bool:
    another = store.take_slot(run)
    if another:
        another.release()
    return another is not None


def _older(store: Store, job: JobFiles, program: Program) -> JobFiles | None:
    """The oldest job that waits. One of another program gets its own turn: if that cannot begin, `job` still can."""
    oldest = next(store.waiting_jobs(), None)
    if oldest is None or oldest.path == job.path or job.has_begun():
        return None
    return oldest if _fits(oldest, program) else None


def _fits(job: JobFiles, program: Program) -> bool:
    return program.fits(job.record()["run"]["supervisor"])


def _go_on(job: JobFiles, program: Program, claim: Lock) -> Turn | None:
    """Go on with `job`: here, or as another program, where all locks end but the claim.

    Returns None only if that program cannot be run.
    """
    own = job.record()["run"]["supervisor"]
    if program.fits(own):
        return Turn(job, claim)
    job.redirect_errors()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the successor listens
    try:
        words = [*own, str(job.path), str(claim.hand_over())]
        os.execv(words[0], words)  # noqa: S606 - its own recorded command
    except OSError as error:
        job.fail_to_start(f"{own[0]}: {error.strerror}")
    return None
