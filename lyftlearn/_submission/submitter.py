"""From a plan to an accepted job: uploads, the claim of a keyed call, and the one request that commits.

A process may die at any line. What was uploaded is named by its content and harms nobody; a claim that was taken makes
the next caller with that key finish the work; a create is repeated under the same id until it is answered.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lyftlearn._submission.preparation import Submission, SubmissionBuilder
from lyftlearn.backend import Backend, JobRecord, Plan
from lyftlearn.errors import (
    AccessDenied,
    BackendUnavailable,
    Conflict,
    InvalidJob,
    JobNotFound,
    LyftLearnError,
    QuotaExceeded,
)
from lyftlearn.events import JobEvent
from lyftlearn.types import JobStatus

if TYPE_CHECKING:
    from lyftlearn._call.arguments import Arguments
    from lyftlearn._submission.claims import Scope, Standing
    from lyftlearn.rollout import Decision

_PAUSES = (0.1, 0.5, 2.0)  # seconds between repetitions of a create whose answer never came
_REFUSALS = (AccessDenied, Conflict, InvalidJob, QuotaExceeded)
_UNSETTLED = (AccessDenied, BackendUnavailable, InvalidJob, QuotaExceeded)


@dataclass(frozen=True)
class AcceptedJob:
    """A job that was accepted, now or before. kept: whether its backend still has it. submission: the last one sent."""

    record: JobRecord
    kept: bool
    submission: Submission


class JobSubmitter:
    """Sends what a `SubmissionBuilder` built; falls back to the other backend where a live job was refused."""

    def __init__(self, builder: SubmissionBuilder) -> None:
        self._builder = builder

    def submit(self, arguments: Arguments, decision: Decision) -> AcceptedJob:
        """Submit where the decision says; with a key, once, whoever else does."""
        submission = self._prepared(arguments, decision)
        if submission.scope is None:
            return self._sent(submission)
        return self._sent_once(submission, submission.scope)

    def send(self, submission: Submission) -> JobRecord:
        """Send exactly this, without a key and without a second choice."""
        return self._upload_and_create(submission)

    def _prepared(self, arguments: Arguments, decision: Decision) -> Submission:
        """Return the submission on the decided backend, or on the other one if a live job's plan has faults."""
        try:
            return self._builder.build_valid(arguments, decision)
        except InvalidJob as refusal:
            other = decision.after_refusal(refusal)
            if other is None:
                raise
            return self._builder.build_valid(arguments, other)

    def _sent(self, submission: Submission) -> AcceptedJob:
        try:
            return AcceptedJob(self._upload_and_create(submission), True, submission)
        except _REFUSALS as refusal:
            other = submission.decision.after_refusal(refusal)
            if other is None:
                raise
            return self._sent(self._builder.build_valid(submission.arguments, other))

    def _sent_once(self, submission: Submission, scope: Scope) -> AcceptedJob:
        from lyftlearn._submission import claims  # noqa: PLC0415 - only for calls with a key

        spec = submission.spec
        own = claims.Claim(digest=spec.digest, id=spec.id, backend=submission.plan.backend)
        standing = claims.take(self._builder.storage, scope, own)
        if standing.claim.digest != spec.digest:
            raise Conflict(_other_job(scope, standing), standing.claim.id)
        try:
            backend = self._builder.registry.get(standing.claim.backend)
            if standing.settled(backend.capabilities().retention):
                return _found_or_claimed(backend, submission, standing)
            pinned = self._pinned(submission, standing, backend)
        except LyftLearnError:
            self._withdraw(scope, standing)
            raise
        return self._under_claim(pinned, scope, standing)

    def _under_claim(self, submission: Submission, scope: Scope, standing: Standing) -> AcceptedJob:
        from lyftlearn._submission import claims  # noqa: PLC0415 - only for calls with a key

        try:
            if submission.plan.faults:
                raise InvalidJob(submission.plan.faults)
            record = self._upload_and_create(submission)
        except LyftLearnError as refusal:
            if isinstance(refusal, BackendUnavailable) and refusal.job_id is not None:
                raise  # it may have been accepted: this try stays open, and the claim where it is
            return self._after_refusal(submission, scope, standing, refusal)
        with suppress(LyftLearnError):  # else the next caller finds the job and says so
            claims.accept(self._builder.storage, scope, standing)
        return AcceptedJob(record, True, submission)

    def _after_refusal(
        self, submission: Submission, scope: Scope, standing: Standing, refusal: LyftLearnError
    ) -> AcceptedJob:
        """Move a live job to the other backend, if that is this caller's to do; else give the key back and raise."""
        from lyftlearn._submission import claims  # noqa: PLC0415 - only for calls with a key

        other = submission.decision.after_refusal(refusal)
        if other is None:
            self._withdraw(scope, standing)
            raise refusal
        try:
            there = self._builder.build_valid(submission.arguments, other)
        except LyftLearnError:
            self._withdraw(scope, standing)
            raise
        moved = claims.move(self._builder.storage, scope, standing, there.plan.backend, there.spec.id)
        if moved is None:
            return self._of_another_caller(submission, scope, standing, refusal)
        return self._under_claim(there, scope, moved)

    def _of_another_caller(
        self, submission: Submission, scope: Scope, standing: Standing, refusal: LyftLearnError
    ) -> AcceptedJob:
        """Return the job if another caller got it accepted in the meantime; else raise the refusal."""
        from lyftlearn._submission import claims  # noqa: PLC0415 - only for calls with a key

        now = claims.take(self._builder.storage, scope, standing.claim)
        if now.claim.state == "accepted":
            return _found_or_claimed(self._builder.registry.get(now.claim.backend), submission, now)
        self._withdraw(scope, now)
        raise refusal

    def _withdraw(self, scope: Scope, standing: Standing) -> None:
        from lyftlearn._submission import claims  # noqa: PLC0415 - only for calls with a key

        with suppress(LyftLearnError):  # the refusal matters more; a try that is left only forbids a later fallback
            claims.withdraw(self._builder.storage, scope, standing)

    def _pinned(self, submission: Submission, standing: Standing, backend: Backend) -> Submission:
        """Return the submission as the claim has it: the first caller's backend and id, whatever was decided here."""
        if submission.spec.id == standing.claim.id:
            return submission
        decision = replace(
            submission.decision,
            backend=backend.name,
            other=None,
            stage=None,
            reason="the first call with this key chose it",
        )
        return self._builder.build(submission.arguments, decision, backend, standing.claim.id)

    def _upload_and_create(self, submission: Submission) -> JobRecord:
        self._upload(submission)
        return _create(self._builder.registry.get(submission.plan.backend), submission.plan)

    def _upload(self, submission: Submission) -> None:
        if submission.source is None and not submission.uploads:
            return
        from lyftlearn._transfer import upload_input, upload_source  # noqa: PLC0415 - only for jobs that bring files

        if submission.source is not None:
            upload_source(self._builder.storage, submission.source)
        for path, sha256 in submission.uploads:
            upload_input(self._builder.storage, path, sha256)


def _create(backend: Backend, plan: Plan) -> JobRecord:
    """Submit, and settle an answer that never came by asking again under the same id.

    What is raised after such a silence says so: a refusal then proves nothing about the first try.
    """
    try:
        return backend.submit(plan)
    except BackendUnavailable as exc:
        if exc.job_id is None:
            raise
        silence = exc
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            return backend.submit(plan)
        except _UNSETTLED as exc:
            silence = BackendUnavailable(f"{silence}; asked again: {exc}", plan.spec.id)
    raise silence


def _other_job(scope: Scope, standing: Standing) -> str:
    project, function, name, key = scope
    return (
        f"the key {key!r} of {function} {name!r} in project {project!r} belongs to {standing.claim.id}, which has "
        f"other arguments (or other content of source or inputs): take another key, or write what that job had"
    )


def _found_or_claimed(backend: Backend, submission: Submission, standing: Standing) -> AcceptedJob:
    try:
        return AcceptedJob(backend.describe(standing.claim.id), True, submission)
    except JobNotFound:
        return AcceptedJob(_record_of_claim(submission, standing), False, submission)


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
