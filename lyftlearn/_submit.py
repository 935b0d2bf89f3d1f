"""From a plan to an accepted job: uploads, the claim of a keyed call, and the one request that commits.

A process may die at any line. What was uploaded is named by its content and harms nobody; a claim that was taken makes
the next caller with that key finish the work; a create is repeated under the same id until it is answered.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn._prepare import Preparer, Submission, source_key
from lyftlearn.backend import Backend, JobRecord, Plan
from lyftlearn.errors import AccessDenied, BackendUnavailable, Conflict, InvalidJob, JobNotFound, QuotaExceeded
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus

if TYPE_CHECKING:
    from lyftlearn._claims import Scope, Standing

_PAUSES = (0.1, 0.5, 2.0)  # seconds between repetitions of a create whose answer never came
_REFUSALS = (AccessDenied, Conflict, InvalidJob, QuotaExceeded)


class Submitter:
    """Sends what a `Preparer` prepared."""

    def __init__(self, preparer: Preparer) -> None:
        self._preparer = preparer

    def send(self, submission: Submission) -> tuple[JobRecord, bool]:
        """Send it; with a key, once, whoever else does. Return the job, and whether its backend still keeps it."""
        if submission.scope is None:
            return self._upload_and_create(submission), True
        return self._claim_and_create(submission, submission.scope)

    def _claim_and_create(self, submission: Submission, scope: Scope) -> tuple[JobRecord, bool]:
        from lyftlearn import _claims  # noqa: PLC0415 - only for calls with a key

        storage, spec = self._preparer.storage, submission.spec
        own = _claims.Claim(digest=spec.digest, id=spec.id, backend=submission.plan.backend)
        standing = _claims.take(storage, scope, own)
        if standing.claim.digest != spec.digest:
            raise Conflict(_other_job(scope, standing), standing.claim.id)
        backend = self._preparer.registry.get(standing.claim.backend)
        if standing.settled(backend.capabilities().retention):
            return _found_or_claimed(backend, submission, standing)
        try:
            record = self._upload_and_create(self._pinned(submission, standing, backend))
        except _REFUSALS:
            _claims.withdraw(storage, scope, standing)
            raise
        _claims.accept(storage, scope, standing)
        return record, True

    def _pinned(self, submission: Submission, standing: Standing, backend: Backend) -> Submission:
        """Return the submission as the claim has it: the first caller's backend and id, whatever was decided here."""
        if submission.spec.id == standing.claim.id:
            return submission
        pinned = self._preparer.specify(submission.arguments, submission.decision, backend, standing.claim.id)
        if pinned.plan.faults:
            raise InvalidJob(pinned.plan.faults)
        return pinned

    def _upload_and_create(self, submission: Submission) -> JobRecord:
        self._upload(submission)
        return _create(self._preparer.registry.get(submission.plan.backend), submission.plan)

    def _upload(self, submission: Submission) -> None:
        storage = self._preparer.storage
        if submission.source is not None:
            storage.upload(source_key(submission.source.sha256), submission.source.path, submission.source.sha256)
        for path in submission.uploads:
            from lyftlearn._sources import upload_input  # noqa: PLC0415 - only for inputs that travel

            upload_input(storage, path)


def _create(backend: Backend, plan: Plan) -> JobRecord:
    """Submit, and settle an answer that never came by asking again under the same id."""
    for pause in _PAUSES:
        try:
            return backend.submit(plan)
        except BackendUnavailable as exc:
            if exc.job_id is None:
                raise
            time.sleep(pause)
    return backend.submit(plan)


def _other_job(scope: Scope, standing: Standing) -> str:
    project, function, name, key = scope
    return (
        f"the key {key!r} of {function} {name!r} in project {project!r} belongs to {standing.claim.id}, which has "
        f"other arguments (or other content of source or inputs): take another key, or write what that job had"
    )


def _found_or_claimed(backend: Backend, submission: Submission, standing: Standing) -> tuple[JobRecord, bool]:
    try:
        return backend.describe(standing.claim.id), True
    except JobNotFound:
        return _record_of_claim(submission, standing), False


def _record_of_claim(submission: Submission, standing: Standing) -> JobRecord:
    spec = submission.spec
    message = "accepted before; its backend does not keep it any more"
    event = JobEvent(
        job_id=standing.claim.id, status=JobStatus.PENDING, at=datetime.now(UTC) - standing.age, message=message
    )
    return JobRecord(
        id=standing.claim.id,
        kind=spec.kind,
        name=spec.name,
        labels=spec.labels,
        digest=spec.digest,
        decision=spec.decision,
        event=event,
    )
